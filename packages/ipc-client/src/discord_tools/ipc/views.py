"""Views of a session: the same methods, with options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

from msgspec import Raw

from discord_tools.ipc.errors import UnknownEndpoint, Unsupported
from discord_tools.ipc.streams import Stream
from discord_tools.ipc.subscriptions import Event, EventInfo, Subscription, checked_filter, described_events
from discord_tools.ipc.wire.frames import DISCOVER, TICKET, ActingAs
from discord_tools.ipc.wire.users import checked_acting_as

if TYPE_CHECKING:
    from discord_tools.ipc_server import Route

__all__ = ("SessionView", "ticket")

T = TypeVar("T")


class Session(Protocol):
    """What a view needs of its session. Implemented by :class:`ClientSession`."""

    def request_as(
        self, user: ActingAs, route: str | Route[Any], type: Any, data: Mapping[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Calls a route."""
        ...

    def stream_as(
        self, user: ActingAs | None, route: str | Route[Any], type: Any, data: Mapping[str, Any]
    ) -> Stream[Any]:
        """Calls a route that streams."""
        ...

    def subscribe_as(
        self,
        user: ActingAs | None,
        events: tuple[str, ...],
        after: int | Mapping[str, int] | Event | None,
        epoch: str | None,
        overflow: Literal["gap", "drop"],
        wanted: dict[str, Any],
    ) -> Subscription:
        """Subscribes to events."""
        ...


class SessionView:
    """The methods of a :class:`ClientSession` that call the bot, for a Discord user.
    :meth:`ClientSession.acting_as` makes it.

    It has no connection of its own and needs no closing. It works as long as its session does.

    .. versionadded:: 1.2

    .. container:: operations

        .. describe:: await x(route, **data)

            The same as :meth:`request`.
    """

    __slots__ = ("_session", "_user")

    def __init__(self, session: Session, user: ActingAs) -> None:
        self._session = session
        #: The user for whom its calls are made.
        self._user = user

    def __repr__(self) -> str:
        # A token is secret.
        return f"<SessionView user_id={self.user_id} token={'***' if self._user.token else None}>"

    @property
    def user_id(self) -> int | None:
        """Optional[:class:`int`]: The id that was given, or ``None`` where only the token says who it is."""
        return None if self._user.user_id is None else int(self._user.user_id)

    def acting_as(self, user_id: int | str | None = None, /, *, token: str | None = None) -> SessionView:
        """Returns a view of the same session for another user; see :meth:`ClientSession.acting_as`."""
        return SessionView(self._session, checked_acting_as(user_id, token))

    @overload
    async def request(self, route: str | Route[Any], /, **data: Any) -> Any: ...

    @overload
    async def request(self, route: str | Route[Any], type: type[T], /, **data: Any) -> T: ...

    async def request(self, route: str | Route[Any], type: Any = Any, /, **data: Any) -> Any:
        """|coro|

        Calls a route and waits for its answer; see :meth:`ClientSession.request`.
        """
        return await self._session.request_as(self._user, route, type, data)

    @overload
    def __call__(self, route: str | Route[Any], /, **data: Any) -> Coroutine[Any, Any, Any]: ...

    @overload
    def __call__(self, route: str | Route[Any], type: type[T], /, **data: Any) -> Coroutine[Any, Any, T]: ...

    def __call__(self, route: str | Route[Any], type: Any = Any, /, **data: Any) -> Coroutine[Any, Any, Any]:
        return self._session.request_as(self._user, route, type, data)

    @overload
    def stream(self, route: str | Route[Any], /, **data: Any) -> Stream[Any]: ...

    @overload
    def stream(self, route: str | Route[Any], type: type[T], /, **data: Any) -> Stream[T]: ...

    def stream(self, route: str | Route[Any], type: Any = Any, /, **data: Any) -> Stream[Any]:
        """Calls a route that streams, for ``async for``; see :meth:`ClientSession.stream`."""
        return self._session.stream_as(self._user, route, type, data)

    def subscribe(
        self,
        *events: str,
        after: int | Mapping[str, int] | Event | None = None,
        epoch: str | None = None,
        overflow: Literal["gap", "drop"] = "gap",
        filter: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Subscription:
        """Subscribes to events, for ``async for``; see :meth:`ClientSession.subscribe`.

        Only events that the user may see come: see :doc:`/guides/acting-users`.
        """
        wanted = checked_filter(filter, keywords)
        return self._session.subscribe_as(self._user, events, after, epoch, overflow, wanted)

    async def ticket(
        self, *, origin: str, scopes: Collection[str] | None = None, expires_in: float = 60
    ) -> str:
        """|coro|

        Asks the bot for a ticket for a page in a browser, whose calls are then made for the same user; see
        :meth:`ClientSession.ticket`.
        """
        return await ticket(self.request, origin, scopes, expires_in)

    async def events(self) -> list[EventInfo]:
        """|coro|

        Asks the bot which events there are; see :meth:`ClientSession.events`.
        """
        return described_events(await self.request(DISCOVER, Raw))


async def ticket(
    request: Callable[..., Coroutine[Any, Any, str]],
    origin: str,
    scopes: Collection[str] | None,
    expires_in: float,
) -> str:
    """Asks for a ticket with ``request()`` of a session or a view; see :meth:`ClientSession.ticket`."""
    if isinstance(scopes, str):
        raise TypeError(f"scopes must be a collection of strings, not one string: [{scopes!r:.100}]")
    wanted = None if scopes is None else sorted(scopes)
    try:
        return await request(TICKET, str, origin=origin, scopes=wanted, expires_in=expires_in)
    except UnknownEndpoint as error:
        raise Unsupported(TICKET, "it makes no tickets") from error
