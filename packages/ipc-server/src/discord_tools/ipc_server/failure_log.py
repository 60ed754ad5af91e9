"""Logs failures of routes and of judging their users, of which clients can cause any number."""

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
    """Failures that were logged lately."""

    def __init__(self) -> None:
        #: Logs what clients can cause any number of times.
        self._incidents = Incidents(log)
        #: Failures since :attr:`_since`, by what has failed and class of the exception.
        self._counts: Counter[tuple[str, type[Exception]]] = Counter()
        #: When the present minute began, by the monotonic clock.
        self._since = time.monotonic()

    def failure(self, call: IncomingCall, error: Exception) -> RouteFailed:
        """Logs a failure of a route, and returns what the caller gets."""
        number = self._number(f"Route {call.endpoint!r:.200}", call, error)
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

    def judging(self, call: IncomingCall, error: Exception) -> RouteFailed:
        """The same for an acting user that could not be judged, because of an ``is_owner()`` of the bot's own."""
        number = self._number(f"Judging the acting user of {call.endpoint!r:.200}", call, error)
        more = "" if number is None else f"; the bot's log has more under {number}"
        data = None if number is None else {"error_id": number}
        return RouteFailed(f"the acting user could not be judged{more}", data=data)

    def _number(self, what: str, call: IncomingCall, error: Exception) -> str | None:
        """Logs that something has failed, and returns its id. Returns ``None`` where it has done so too often."""
        now, kind = time.monotonic(), (what, type(error))
        if now - self._since >= INCIDENT_PERIOD:
            self._counts.clear()
            self._since = now
        self._counts[kind] += 1
        if self._counts[kind] > MAX_FAILURES:
            self._incidents.warning(
                what,
                "%s fails so often that further failures are not logged for a minute",
                what,
                label=call.caller.label,
            )
            return None
        number = secrets.token_hex(4)
        log.error("[%s] %s failed (error id %s)", call.caller.label, what, number, exc_info=error)
        return number
