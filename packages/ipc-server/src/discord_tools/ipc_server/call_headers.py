"""What the calls of one client carry beside their data: headers, and how long the client waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from discord_tools.ipc.wire.handshake import Hello
from discord_tools.ipc.wire.received import CallReceived
from discord_tools.ipc_server.call import without_key
from discord_tools.ipc_server.clock import CallerClock

__all__ = ("CallHeaders",)


class CallHeaders:
    """Headers and the time of the calls of one client.

    Parameters
    ----------
    hello: :class:`Hello`
        The client's first message.
    call_timeout: :class:`float`
        The longest time that a call may take, in seconds.
    """

    def __init__(self, hello: Hello, call_timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        #: Headers that all calls of the client carry.
        self.common: Mapping[str, Any] = without_key(hello.headers)
        #: How long a call may take, in seconds.
        self.timeout: float = call_timeout if hello.timeout is None else min(call_timeout, hello.timeout)
        #: How old calls are that are read now.
        self.clock: CallerClock = CallerClock()
        self._loop = loop

    def of(self, call: CallReceived) -> tuple[Mapping[str, Any], float]:
        """Returns the headers of a call, and how long it may take, in seconds."""
        headers = {} if call.headers is UNSET else call.headers
        # Clients of 1.0 and 1.1 know no other place for it.
        timeout = headers.pop("timeout", None)
        if call.meta is not UNSET:
            timeout = call.meta.timeout if call.meta.timeout is not None else timeout
            if call.meta.clock is not None:
                self.clock.compare(call.meta.clock, self._loop.time())
        if not isinstance(timeout, int | float) or timeout >= self.timeout:
            timeout = self.timeout
        return {**self.common, **without_key(headers)} if headers else self.common, timeout
