"""What travels in a subscription: the parameters of ``rpc.subscribe`` and the items of its stream."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

__all__ = ("EventItem", "Subscribe", "Subscribed", "decode_subscribe")


class Subscribe(Struct, omit_defaults=True):
    """Parameters of ``rpc.subscribe``.

    ``after`` is the last sequence number that was seen of each event, and ``epoch`` the run of the bot that these
    numbers belong to. Where ``epoch`` is missing, it is the present one. ``drop`` asks to be ended when the reader
    falls behind, instead of missing events.
    """

    events: list[str]
    after: dict[str, int] = {}
    epoch: str | None = None
    filter: dict[str, Any] = {}
    drop: bool = False


#: Reads these parameters.
decode_subscribe = msgspec.json.Decoder(Subscribe).decode


class Subscribed(Struct):
    """The first item: the present run of the bot, and the last sequence number of each event.

    ``unknown`` has the names that the bot neither forwards nor has published so far, each with the most similar one
    that it does, or ``null``. Bots of 1.1 do not say so.
    """

    epoch: str
    seq: dict[str, int]
    unknown: dict[str, str | None] | UnsetType = UNSET


class EventItem(Struct):
    """Every further item: an event, or, with ``missed``, how many events before this place are lost.

    ``missed`` is ``null`` where the number cannot be known: the bot has been restarted.
    """

    event: str
    seq: int
    time: float = 0.0
    data: Raw = Raw(b"null")
    missed: int | UnsetType | None = UNSET
