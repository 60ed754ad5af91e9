"""Serve the dashboard: ``python -m dashboard``, with the bot's key in IPC_SECRET_KEY."""

import argparse
import asyncio
import logging
import sys

from aiohttp import web

from discord_tools.ipc import IPCError

from .app import make_app
from .words import explain


async def serve(host: str, port: int, names: list[str]) -> None:
    runner = web.AppRunner(make_app({host, "127.0.0.1", "localhost", "::1", *names}), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        # The real address: port 0 has become a free one by now.
        host, port = runner.addresses[0][:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
        await asyncio.Event().wait()  # until Ctrl-C
    finally:
        await runner.cleanup()


def main() -> int | str:
    parser = argparse.ArgumentParser(prog="dashboard", description="A web dashboard for the bot.")
    # Everyone who reaches the page can speak as the bot. Put a log-in in front before you open it to others.
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this machine only")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one; default: %(default)s")
    parser.add_argument("--name", action="append", default=[], help="a host name it has, such as a proxy's")
    options = parser.parse_args()
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(options.host, options.port, options.name))
    except KeyboardInterrupt:
        return 0
    except IPCError as error:
        return explain(error)[1]  # a key that the bot refuses; a bot that is away is waited for
    except OSError as error:
        return f"cannot listen on {options.host}:{options.port}: {error.strerror}"
    return 0


sys.exit(main())
