"""What all conversations of a server share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.logs import Incidents
from discord_tools.ipc_server.admission import Admission
from discord_tools.ipc_server.budget import MemoryBudget
from discord_tools.ipc_server.dispatch import Dispatcher
from discord_tools.ipc_server.encoding import STANDARD
from discord_tools.ipc_server.events import Hub
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.routes import RouteTable
from discord_tools.ipc_server.turns import TurnBudget
from discord_tools.ipc_server.values.encoder import Encoder

__all__ = ("Shared", "shared_by")


@dataclass(frozen=True, slots=True)
class Shared:
    """Parts of a server that its conversations use.

    Attributes
    ----------
    dispatcher: :class:`Dispatcher`
        Runs calls.
    hub: :class:`Hub`
        Hands events to subscribers.
    admission: :class:`Admission`
        Decides whether calls may start.
    budget: :class:`MemoryBudget`
        Bounds the memory that is held for all clients.
    turns: :class:`TurnBudget`
        Bounds what is decoded and encoded in one turn of the event loop.
    incidents: :class:`~discord_tools.ipc.logs.Incidents`
        Logs what clients can cause any number of times.
    was_blocked_for: Callable[[:class:`float`], :class:`bool`]
        Returns whether the event loop was blocked lately for at least that long.
    limits: :class:`ServerLimits`
        Sizes and timeouts.
    encoder: :class:`Encoder`
        Writes answers and events as JSON.
    """

    dispatcher: Dispatcher
    hub: Hub
    admission: Admission
    budget: MemoryBudget
    turns: TurnBudget
    incidents: Incidents
    was_blocked_for: Callable[[float], bool]
    limits: ServerLimits
    encoder: Encoder = STANDARD


def shared_by(
    server: Any,
    routes: RouteTable,
    gate: Gate,
    budget: MemoryBudget,
    was_blocked_for: Callable[[float], bool],
    limits: ServerLimits,
    encoder: Encoder,
) -> Shared:
    """Makes what the conversations of a server share."""
    hub = Hub(limits, encoder)
    return Shared(
        dispatcher=Dispatcher(
            server.client, routes, hub.known, server, hub.scopes.opened, gate.tickets.issue
        ),
        hub=hub,
        admission=Admission(limits, budget),
        budget=budget,
        turns=TurnBudget(limits.backlog_bytes),
        incidents=gate.incidents,
        was_blocked_for=was_blocked_for,
        limits=limits,
        encoder=encoder,
    )
