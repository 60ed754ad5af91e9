"""How long the event loop was blocked."""

from __future__ import annotations

import asyncio
import time

from discord_tools.ipc_server.watchdog import BEAT, THRESHOLD, Watchdog

BLOCK = THRESHOLD + 2 * BEAT


async def test_a_block_counts_from_its_end_on() -> None:
    watchdog = Watchdog(dict)
    watchdog.start()
    try:
        assert not watchdog.was_blocked_for(0)
        time.sleep(BLOCK)  # noqa: ASYNC251 (this is what it is about)
        assert watchdog.was_blocked_for(BLOCK)  # before any timer of the loop has fired
        assert not watchdog.was_blocked_for(BLOCK + 60)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert watchdog.was_blocked_for(BLOCK)  # and afterwards
    finally:
        watchdog.stop()
