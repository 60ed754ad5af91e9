"""Run where only the client's wheel is installed: no discord.py, quick to import, clear about the server."""

import importlib.util
import subprocess
import sys

IMPORT_LIMIT = 0.2  # seconds beyond aiohttp's own import
MEASURE = """
import time
import aiohttp
began = time.perf_counter()
from discord_tools.ipc import ClientSession
print(time.perf_counter() - began)
"""


def import_seconds() -> float:
    """The quickest of some fresh processes: the others measure what else the machine does."""
    command = [sys.executable, "-c", MEASURE]
    return min(float(subprocess.check_output(command, text=True)) for _ in range(5))


def main() -> None:
    assert importlib.util.find_spec("discord") is None, "discord.py came along with the client"

    import discord_tools.ipc as ipc

    assert "Server" not in ipc.__all__
    assert ipc.ClientSession is not None
    try:
        ipc.Server  # noqa: B018
    except ImportError as error:
        assert "ipc-server" in str(error), error
        print(f"Server: {error}")
    else:
        raise AssertionError("Server came from nowhere")

    seconds = import_seconds()
    print(f"import: {seconds:.3f} s beyond aiohttp")
    assert seconds < IMPORT_LIMIT, f"more than {IMPORT_LIMIT} s"


if __name__ == "__main__":
    main()
