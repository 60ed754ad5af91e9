"""Loggers that tell connections and conversations apart."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from typing import Any, Final

__all__ = ("Incidents", "LabelledLogger", "connection_id", "conversation_id")

#: Seconds in which an incident of one kind is logged once.
INCIDENT_PERIOD: Final = 60.0

#: Maximum number of kinds of incidents in that time. Further kinds count as one.
INCIDENT_KINDS: Final = 32

#: The kind that these count as: in place of the caller and of the message.
OTHERS: Final = ("others", "more kinds of incidents")

_connections: Iterator[int] = itertools.count(1)
_conversations: Iterator[int] = itertools.count(1)


def connection_id() -> str:
    """A short id for a connection, unique in this process."""
    return f"conn-{next(_connections)}"


def conversation_id() -> str:
    """A short id for a conversation, unique in this process."""
    return f"conv-{next(_conversations)}"


class LabelledLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts a label in front of every line: ids, the address of the other side, the name of the key.

    A line whose level is off costs what it costs without the label.
    """

    def __init__(self, logger: logging.Logger, label: str) -> None:
        super().__init__(logger, {})
        self.label: str = label

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            # The caller's line, not this one. The label is an argument, since an IPv6 address may hold a %.
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            self.logger.log(level, f"[%s] {msg}", self.label, *args, **kwargs)  # noqa: G004 (a constant per line)


class Incidents:
    """Logs what another side can cause any number of times: one line per kind and minute, and then a count.

    Parameters
    ----------
    logger: :class:`logging.Logger`
        Where the lines go.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        #: When the present period began, by the monotonic clock.
        self._began = -INCIDENT_PERIOD
        #: Incidents of this period by kind: the caller and the message. The first one's level and line, and their
        #: number.
        self._kinds: dict[tuple[str, str], tuple[int, str, int]] = {}

    def warning(
        self,
        caller: str,
        message: str,
        *args: object,
        label: str | None = None,
        level: int = logging.WARNING,
    ) -> None:
        """Logs an incident, unless one of its kind was logged in this period: one of the same caller and message.

        ``label`` precedes the line in place of the caller. It may name the connection.
        """
        now = time.monotonic()
        if now - self._began >= INCIDENT_PERIOD:
            self._summarise()
            self._began = now
        kind = caller, message
        if kind not in self._kinds and len(self._kinds) >= INCIDENT_KINDS:
            kind = OTHERS
        if kind in self._kinds:
            level, line, count = self._kinds[kind]
            self._kinds[kind] = level, line, count + 1
        else:
            line = message % args if args else message
            self._kinds[kind] = level, OTHERS[1] if kind is OTHERS else line, 1
            self._logger.log(level, "[%s] %s", label or caller, line)

    def _summarise(self) -> None:
        for (caller, _), (level, line, count) in self._kinds.items():
            if count > 1:
                self._logger.log(level, "[%s] %d more within a minute: %s", caller, count - 1, line)
        self._kinds.clear()
