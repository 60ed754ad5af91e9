"""What listeners of ``on_ipc_audit`` get: who called what, with which outcome."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from discord_tools.ipc.errors import BadData, RemoteError
from discord_tools.ipc.wire.codec import UNREADABLE
from discord_tools.ipc.wire.events import decode_subscribe
from discord_tools.ipc.wire.frames import SUBSCRIBE
from discord_tools.ipc_server.call import IncomingCall
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.routes import Route

__all__ = ("AuditEntry", "entry_of", "protocol_entry", "subscription_entry")

#: The kinds of calls.
Kind: TypeAlias = Literal["request", "stream", "subscription", "protocol"]

#: The outcome of a call that got its answer.
OK: Final = "ok"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One call, for :func:`on_ipc_audit`.

    .. versionadded:: 1.2

    .. container:: operations

        .. describe:: str(x)

            Returns one line for a log. What the caller wrote is quoted and shortened.

    Attributes
    ----------
    caller: :class:`Caller`
        Who called.
    kind: :class:`str`
        What kind of call it was: ``request``, ``stream``, ``subscription``, or ``protocol`` for other methods of the
        protocol, such as the one that lists routes and events.
    endpoint: :class:`str`
        What was called, as the caller wrote it, with a leading ``/``: a route, unless there is none of that name. For a
        subscription ``rpc.subscribe``, and for a method of the protocol its name, such as ``rpc.discover``.
    outcome: :class:`str`
        ``ok``, or the name of the exception that the caller got, such as ``Forbidden`` or ``RouteFailed``.
    code: Optional[:class:`int`]
        The :attr:`~RemoteError.code` of this exception.
    duration: :class:`float`
        Seconds from the start of the call to its end. 0 for one that was not admitted.
    route: Optional[:class:`Route`]
        The route, if there is one of this name.
    events: Tuple[:class:`str`, ...]
        The names of the events of a subscription.
    guild_id: Optional[:class:`int`]
        The guild that the data names, as for :attr:`Request.guild`. The bot need not know it.
    user: Optional[:class:`int`]
        The acting user for whom the call was made. The bot has verified it if the call was admitted and the key is for
        verified users only.
    """

    caller: Caller
    kind: Kind
    endpoint: str
    outcome: str
    code: int | None
    duration: float
    route: Route[Any] | None = None
    events: tuple[str, ...] = ()
    guild_id: int | None = None
    user: int | None = None

    def __str__(self) -> str:
        user = "" if self.user is None else f" for user {self.user}"
        what = f"{self.kind} {self.endpoint!r:.200}{user}"
        return f"[{self.caller.label}] {what}: {self.outcome} in {self.duration:.3f} s"


def entry_of(
    call: IncomingCall, route: Route[Any] | None, request: Request | None, duration: float
) -> AuditEntry:
    """Makes the entry for a call that has ended. ``request`` is ``None`` for one that was not admitted."""
    try:
        guild = None if request is None else request.named_guild()
    except BadData:
        guild = None
    outcome, code = call.failure or (OK, None)
    kind: Kind = "stream" if call.streams else "request"
    return AuditEntry(
        call.caller, kind, call.endpoint, outcome, code, duration, route, guild_id=guild, user=_user(call)
    )


def subscription_entry(call: IncomingCall) -> AuditEntry:
    """Makes the entry for a subscription, which has begun or was refused."""
    events: tuple[str, ...] = ()
    with suppress(*UNREADABLE):
        events = tuple(decode_subscribe(call.params).events)
    outcome, code = call.failure or (OK, None)
    return AuditEntry(
        call.caller, "subscription", SUBSCRIBE, outcome, code, 0.0, events=events, user=_user(call)
    )


def protocol_entry(caller: Caller, method: str, error: RemoteError | None) -> AuditEntry:
    """Makes the entry for a call of another method of the protocol."""
    if error is None:
        return AuditEntry(caller, "protocol", method, OK, None, 0.0)
    return AuditEntry(caller, "protocol", method, type(error).__name__, error.code, 0.0)


def _user(call: IncomingCall) -> int | None:
    return None if call.acting is None else call.acting.id
