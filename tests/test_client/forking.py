"""``python -X dev tests/test_client/forking.py PORT``: a program with calls in progress that forks.

It writes a line for each step, and ends only with a signal. Its child makes a request for each line on stdin, and ends
with the end of stdin.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys

from discord_tools.ipc import ClientSession

CALLS = 20


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def child(ipc: ClientSession) -> None:
    asyncio.get_running_loop().slow_callback_duration = 60.0
    say("child", os.getpid(), await ipc.request("child", number=0))
    gc.collect()
    loop = asyncio.get_running_loop()
    number = 0
    while await loop.run_in_executor(None, sys.stdin.readline):
        number += 1
        say("child", os.getpid(), await ipc.request("child", number=number))
    await ipc.close()


async def main(port: int) -> None:
    asyncio.get_running_loop().slow_callback_duration = 60.0  # a slow machine is no fault
    ipc = ClientSession("127.0.0.1", port, timeout=None)
    await ipc.start()
    tasks = [asyncio.create_task(ipc.request("held", int, number=number)) for number in range(CALLS)]
    items = ipc.stream("items", int)
    tasks.append(asyncio.create_task(anext(items)))  # pyright: ignore[reportArgumentType]
    await asyncio.sleep(0)  # all of them begin
    await ipc.request("sent")
    if os.fork() == 0:
        status = 1
        try:
            asyncio.run(child(ipc))
            del items
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    say("parent", await asyncio.gather(*tasks))
    await ipc.request("more")
    say("parent", "more")
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
