"""Loggers that tell connections and conversations apart."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

__all__ = ("LabelledLogger", "connection_id", "conversation_id")

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
