"""``python -X dev tests/test_client/forking_older.py PORT KEY``: forks with requests in progress at an older server.

It forks at the first line on stdin, writes what it gets, and ends only with a signal. Its child makes one request, and
ends with the next line.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys

from discord_tools.ipc import ClientSession

CALLS = 3


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def child(ipc: ClientSession) -> None:
    asyncio.get_running_loop().slow_callback_duration = 60.0
    say("child", os.getpid(), await ipc.request("text"))
    gc.collect()
    sys.stdin.readline()
    await ipc.close()


async def main(port: int, key: str) -> None:
    asyncio.get_running_loop().slow_callback_duration = 60.0  # a slow machine is no fault
    ipc = ClientSession("127.0.0.1", port, secret_key=key, timeout=None, older_servers=True)
    tasks = [asyncio.create_task(ipc.request("text")) for _ in range(CALLS)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    if os.fork() == 0:
        status = 1
        try:
            asyncio.run(child(ipc))
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    say("parent", await asyncio.gather(*tasks))
    say("parent", await ipc.request("text"))
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
