"""The contestants. Each module has one or two; what they need is imported only when they take part."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from benchmarks.sides.base import Side

__all__ = ("SIDES", "make_side")

#: In the order in which they take turns: name, and where it is.
SIDES: Final = {
    "limit": "limit:Limit",
    "ours": "ours:Ours",
    "ours-unbatched": "ours:Unbatched",
    "ours-uvloop": "ours:OnUvloop",
    "nats": "nats_py:Nats",
    "http": "http_post:HttpPost",
    "grpc": "grpc_aio:GrpcAio",
    "new-socket": "new_socket:NewSocket",
    "ipcx": "ipcx:Ipcx",
}


def make_side(name: str) -> Side:
    """The side of that name.

    Raises
    ------
    ImportError
        What it needs is not installed.
    """
    module, _, attribute = SIDES[name].partition(":")
    side: Side = getattr(import_module(f"benchmarks.sides.{module}"), attribute)()
    return side
