"""Logs failures of routes, of which clients can cause any number."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from typing import Final

from discord_tools.ipc.errors import ConverterError, RouteFailed
from discord_tools.ipc.logs import INCIDENT_PERIOD, Incidents
from discord_tools.ipc_server.call import IncomingCall

__all__ = ("MAX_FAILURES", "FailureLog")

log = logging.getLogger(__name__)

#: Maximum number of failures of one route with exceptions of one class that are logged within a minute. A caller may
#: know data with which a route fails, and send it any number of times.
MAX_FAILURES: Final = 10


class FailureLog:
    """Failures of routes that were logged lately."""

    def __init__(self) -> None:
        #: Logs what clients can cause any number of times.
        self._incidents = Incidents(log)
        #: Failures since :attr:`_since`, by route and class of the exception.
        self._counts: Counter[tuple[str, type[Exception]]] = Counter()
        #: When the present minute began, by the monotonic clock.
        self._since = time.monotonic()

    def failure(self, call: IncomingCall, error: Exception) -> RouteFailed:
        """Logs a failure, and returns what the caller gets."""
        number = self._number(call, error)
        what, data = "the route", {} if number is None else {"error_id": number}
        if isinstance(error, ConverterError):
            what, data = f"the converter of {error.parameter!r}", {**data, "parameter": error.parameter}
        more = (
            "the bot's log has no more about it, since the route has failed too often within a minute"
            if number is None
            else f"the bot's log has more under {number}"
        )
        failure = RouteFailed(f"{what} failed; {more}", data=data or None)
        failure.__cause__ = error  # older clients are told its class
        return failure

    def _number(self, call: IncomingCall, error: Exception) -> str | None:
        """Logs it, and returns its id. Returns ``None`` where the route has had too many of them."""
        now, kind = time.monotonic(), (call.endpoint, type(error))
        if now - self._since >= INCIDENT_PERIOD:
            self._counts.clear()
            self._since = now
        self._counts[kind] += 1
        if self._counts[kind] > MAX_FAILURES:
            self._incidents.warning(
                f"route {call.endpoint:.200}",
                "Route %.200r fails so often that further failures are not logged for a minute",
                call.endpoint,
                label=call.caller.label,
            )
            return None
        number = secrets.token_hex(4)
        log.error(
            "[%s] Route %.200r failed (error id %s)", call.caller.label, call.endpoint, number, exc_info=error
        )
        return number
