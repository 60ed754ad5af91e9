"""The client's public interface."""

from __future__ import annotations

import asyncio
import math
import os
import ssl as tls
import weakref
from collections.abc import Collection, Coroutine, Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

import aiohttp
import msgspec
from msgspec import Raw

from discord_tools.ipc.address import Address, checked_address, checked_tls
from discord_tools.ipc.connectors.base import Connector
from discord_tools.ipc.connectors.websocket import WebSocketConnector
from discord_tools.ipc.conversation import Conversation
from discord_tools.ipc.environment import client_settings
from discord_tools.ipc.errors import (
    ConnectionLost,
    DecodeError,
    EncodeError,
    SessionClosed,
    WrongEventLoop,
)
from discord_tools.ipc.limits import ClientLimits
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.settings import (
    checked_flag,
    checked_headers,
    checked_key,
    checked_port,
    checked_seconds,
)
from discord_tools.ipc.streams import Feed, Stream
from discord_tools.ipc.subscriptions import (
    Event,
    EventInfo,
    Subscription,
    checked_filter,
    described_events,
)
from discord_tools.ipc.supervisor import State, Supervisor
from discord_tools.ipc.views import SessionView, ticket
from discord_tools.ipc.wire.codec import encode_given
from discord_tools.ipc.wire.events import Subscribe
from discord_tools.ipc.wire.frames import DISCOVER, ActingAs
from discord_tools.ipc.wire.users import checked_acting_as

if TYPE_CHECKING:
    from typing import Self

    from discord_tools.ipc_server import Route

__all__ = ("ClientSession",)

T = TypeVar("T")

#: The defaults of what a connector replaces.
_REPLACED: Final = ("localhost", MISSING, 20000, MISSING, MISSING, None, None, False)

_ONLY_CONNECTOR: Final = "connector replaces host, port, secret_key, session, url and the like: give it alone"


class ClientSession:
    """A simple wrapper around an :class:`aiohttp.ClientSession` for easy handling with an IPC server.

    One connection carries any number of requests at a time. It is opened by ``async with`` or by the first request,
    and opened again by itself when it breaks: a session outlives restarts of the bot. A session may be constructed
    anywhere, even where no event loop runs; from then on it belongs to the loop that uses it first.

    .. versionadded:: 1.0

    .. container:: operations

        .. describe:: async with x

            Asynchronously starts this client session, and closes it at the end. See :meth:`start`.

        .. describe:: await x(route, **data)

            The same as :meth:`request`.

    Parameters
    ----------
    host: :class:`str`
        The host to connect to. Defaults to ``localhost``.
    port: :class:`int`
        The port to connect to. If missing, uses the multicast port.
    multicast_port: :class:`int`
        The multicast port to connect to. Defaults to ``20000``.
    secret_key: :class:`str`
        The secret key to use on the ``Authorization`` header on request.
        This must have the same value as :attr:`Server.secret_key`, or be a value of one of the :attr:`Server.keys`.
    session: :class:`aiohttp.ClientSession`
        The session to use with this handler, which is never closed by it. If not provided creates a new one.
    timeout: Optional[:class:`float`]
        How long a request may take in all, in seconds; ``None`` for no limit. The bot stops working on a request whose
        time is over. Defaults to 30: longer than any healthy route takes, shorter than a person waits.
        For a single request, put ``async with asyncio.timeout(...)`` around it.
    connect_timeout: :class:`float`
        How long a request waits for a connection when there is none, in seconds. Meanwhile attempts go on in the
        background, with growing pauses. 0 fails at once. Defaults to 5: a bot restarts within that. A request in
        progress outlives its connection for as long.
    headers: Optional[Mapping[:class:`str`, Any]]
        What routes find in :attr:`Request.headers`. Defaults to nothing.
    limits: :class:`ClientLimits`
        Sizes and timeouts that seldom need a change.
    url: Optional[:class:`str`]
        The address in place of ``host`` and ``port``: ``wss://bot.example/ipc/``, also with ``ws``, ``http`` or
        ``https``, or ``unix:///run/bot.sock`` for a Unix socket. Without a port it has the one of its scheme, 80 or
        443. Defaults to ``None``.

        .. versionadded:: 1.2
    ssl: Optional[:class:`ssl.SSLContext`]
        How to check the server's certificate, and which one to show. ``host`` and ``port`` are then used with TLS.
        :func:`discord_tools.ipc.tls.client_context` makes one. Defaults to ``None``: a URL with ``wss`` or ``https``
        accepts the certificates that the system trusts, and ``host`` and ``port`` are used without TLS.

        .. versionadded:: 1.2
    connector: Optional[Connector]
        Opens the connections in place of ``host``, ``port``, ``multicast_port``, ``secret_key``, ``session``, ``url``,
        ``ssl`` and ``older_servers``, which then must not be given. With
        ``discord_tools.ipc.connectors.memory.MemoryConnector(server.serve)`` the session and a server in the same
        process meet without a port. Defaults to WebSockets.

        .. versionadded:: 1.2
    older_servers: :class:`bool`
        Whether the session shows the secret key in clear to servers of older libraries, and to the multicast port of
        ipc-server 1.0 and 1.1: they read it nowhere else. Any program that takes their port gets it, too. Defaults to
        ``False``: the multicast port must prove that it knows the key, and :exc:`UnprovenServer` is raised where it
        does not. Without a secret key nothing is shown, and older servers are always accepted.

        .. versionadded:: 1.2

    Raises
    ------
    TypeError
        A setting is of a wrong type.
    ValueError
        The host is a URL or has a port or a path, a port is out of range, ``url`` is no URL of a bot or stands beside
        ``host`` or ``port``, ``ssl`` or a Unix socket stands beside ``session``, the secret key is empty or ``None`` or
        cannot be carried by an HTTP header, a timeout is negative, the headers have an ``Authorization``, or
        ``connector`` stands beside what it replaces. The text names the setting and the value, and says what to write
        instead.
    EncodeError
        The headers cannot be written as JSON.
    """

    def __init__(
        self,
        host: str = "localhost",
        port: int = MISSING,
        multicast_port: int = 20000,
        secret_key: str = MISSING,
        *,
        session: aiohttp.ClientSession = MISSING,
        timeout: float | None = 30.0,
        connect_timeout: float = 5.0,
        headers: Mapping[str, Any] | None = None,
        limits: ClientLimits = ClientLimits(),  # noqa: B008 (it is frozen)
        url: str | None = None,
        ssl: tls.SSLContext | None = None,
        connector: Connector | None = None,
        older_servers: bool = False,
    ) -> None:
        #: The address that was given.
        self._address = address = checked_address(host, port, url, checked_tls(ssl))
        self._multicast_port = checked_port(multicast_port, "multicast_port")
        self._timeout = None if timeout is None else checked_seconds(timeout, "timeout")
        self._connect_timeout = checked_seconds(connect_timeout, "connect_timeout", zero=True)
        headers = checked_headers(headers)
        self._secret_key = checked_key(secret_key)
        self._limits = limits
        #: Whether :meth:`close` was called.
        self._closed = False
        #: Held while the session is closing.
        self._closing = asyncio.Lock()
        #: Decoders of the types that answers were decoded into.
        self._decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
        #: The connector for :attr:`url`. ``None`` where another one was given.
        self._websocket: WebSocketConnector | None = None
        if connector is None:
            _check_given(session, address, ssl)
            http = None if session is MISSING else session
            connector = self._websocket = WebSocketConnector(
                address,
                self._multicast_port,
                self._secret_key,
                limits,
                http,
                ssl,
                older_servers=checked_flag(older_servers, "older_servers"),
            )
        elif (host, port, multicast_port, secret_key, session, url, ssl, older_servers) != _REPLACED:
            raise ValueError(_ONLY_CONNECTOR)
        self._connector = connector
        #: The event loop that the session belongs to, from its first use on.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._headers = headers
        encode_given(headers)  # an error here is better than one in the background
        #: Names of events that the bot did not know, and that were warned of.
        self._unknown_events: set[str] = set()
        #: Keeps the conversation with the bot going.
        self._supervisor = self._supervise()
        _sessions.add(self)

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Makes a session with the address and the key of environment variables.

        - ``IPC_URL``: the ``url``; or ``IPC_HOST`` and ``IPC_PORT``: the ``host`` and the ``port``.
        - ``IPC_SECRET_KEY``: the key; or ``IPC_SECRET_KEY_FILE``: a file with it, such as a container's secret.

        Variables that are not set leave the defaults.

        .. versionadded:: 1.2

        Parameters
        ----------
        **settings: Any
            Other settings of the session. They replace those of variables.

        Raises
        ------
        TypeError
            There is no such setting, or it is of a wrong type.
        ValueError
            A variable is empty or not valid, the file cannot be read, or there are two variables for the same thing.
        """
        return cls(**client_settings(settings))

    @property
    def host(self) -> str:
        """:class:`str`: The host to connect to. With a Unix socket, ``localhost``."""
        return self._address.host

    @property
    def port(self) -> int | None:
        """Optional[:class:`int`]: The port that was given, perhaps by the URL, or ``None``."""
        return self._address.port or None

    @property
    def multicast_port(self) -> int:
        """:class:`int`: The multicast port to ask where no port was given."""
        return self._multicast_port

    @property
    def timeout(self) -> float | None:
        """Optional[:class:`float`]: How long a request may take in all, in seconds."""
        return self._timeout

    @property
    def connect_timeout(self) -> float:
        """:class:`float`: How long a request waits for a connection, in seconds."""
        return self._connect_timeout

    @property
    def resolved_port(self) -> int:
        """:class:`int`: Returns the resolved port to connect to, this is either the ``port`` parameter
        or the ``multicast_port`` parameter if no value was provided on the previous one.
        """
        return self.multicast_port if self.port is None else self.port

    @property
    def secret_key(self) -> str | None:
        """Optional[:class:`str`]: Returns the secret key used for requests, or ``None``."""
        return self._secret_key

    @property
    def url(self) -> str:
        """:class:`str`: Returns the WebSocket URL of the bot: with the port that the multicast port told, once it was
        asked, and with :attr:`resolved_port` before. With a Unix socket, ``unix://`` and its path.
        """
        websocket = self._websocket
        address = replace(self._address, port=self.resolved_port) if websocket is None else websocket.address
        return address.short_url

    def is_connected(self) -> bool:
        """:class:`bool`: Returns whether there is a connection to the bot at the moment."""
        return self._supervisor.conversation is not None

    def is_closed(self) -> bool:
        """:class:`bool`: Returns whether the session was closed."""
        return self._closed

    @property
    def state(self) -> State:
        """:class:`str`: Returns the connection state: ``connecting`` until the first connection, then ``ready`` or
        ``bot not ready``, ``lost`` while there is no connection, and ``closed`` at the end.

        .. versionadded:: 1.1
        """
        return self._supervisor.state

    async def wait_until_ready(self) -> None:
        """|coro|

        Waits until there is a connection and the bot is ready, however long that takes. Connects if need be.

        .. versionadded:: 1.1

        Raises
        ------
        Unauthorized
            The server does not accept the secret key.
        SessionClosed
            The session was closed.
        """
        self._belong()
        await self._supervisor.ready()

    async def start(self) -> None:
        """|coro|

        Connects, and keeps the connection from then on.

        A bot that cannot be reached is no error here, since a dashboard may start before its bot: attempts go on in
        the background. Calling it again does nothing; requests call it by themselves.

        Raises
        ------
        Unauthorized
            The server does not accept the secret key.
        SessionClosed
            The session was closed.
        """
        self._belong()
        await self._supervisor.first_attempt()

    async def close(self) -> None:
        """|coro|

        Closes the connection. Requests in progress raise :exc:`SessionClosed`.
        A session that was given by the caller stays open. Calling it again does nothing.
        """
        if not self._closed:
            self._belong()
        self._closed = True
        async with self._closing:  # all that close it return when it is closed
            try:
                await self._supervisor.close()
            finally:
                await self._connector.close()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @overload
    async def request(self, route: str | Route[Any], /, **data: Any) -> Any: ...

    @overload
    async def request(self, route: str | Route[Any], type: type[T], /, **data: Any) -> T: ...

    async def request(self, route: str | Route[Any], type: Any = Any, /, **data: Any) -> Any:
        """|coro|

        Calls a route and waits for its answer. Any number of requests may be in progress at a time.

        Cancelling it is safe and cancels the route, too.

        Parameters
        ----------
        route: Union[:class:`str`, :class:`Route`]
            The route to call, with or without the leading ``/``.
        type: Type
            What to decode the answer into: a builtin type, a dataclass, a :class:`typing.TypedDict`, a
            :class:`msgspec.Struct`, ... Defaults to plain dicts, lists, strings and numbers. It can only be given
            by position, so that the data may have a ``type`` of its own.
        **data: Any
            The data to send to the route: whatever can be written as JSON.

        Raises
        ------
        ConnectError
            There is no connection to the bot, and none came within :attr:`connect_timeout`. Nothing was sent.
        Unauthorized
            The server does not accept the secret key.
        RequestTimeout
            No answer came within :attr:`timeout`.
        ConnectionLost
            The connection was gone for too long while the request waited for its answer, or the bot was restarted;
            the route may have run.
        RemoteError
            The bot answered with an error; the subclass tells which.
        EncodeError
            The data cannot be written as JSON.
        RequestTooLarge
            The data does not fit into one message.
        DecodeError
            The answer is not of the type asked for.
        SessionClosed
            The session was closed.
        WrongEventLoop
            The session belongs to another event loop, which is open. Nothing was sent.
        """
        # A type that nothing can be decoded into is found out before the route runs.
        decode = msgspec.json.decode if type is Any else self._decoder(type).decode
        timeout = None if self._timeout == math.inf else self._timeout
        conversation = self._supervisor.conversation
        if conversation is None or self._closed or conversation.loop is not asyncio.get_running_loop():
            self._belong()
            raw = await self._call_once_connected(_name(route), Raw(encode_given(data)), timeout)
        else:
            raw = await conversation.call(_name(route), data, timeout)
        try:
            return decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _not_asked_for(route, error) from error

    @overload
    def __call__(self, route: str | Route[Any], /, **data: Any) -> Coroutine[Any, Any, Any]: ...

    @overload
    def __call__(self, route: str | Route[Any], type: type[T], /, **data: Any) -> Coroutine[Any, Any, T]: ...

    def __call__(self, route: str | Route[Any], type: Any = Any, /, **data: Any) -> Coroutine[Any, Any, Any]:
        return self.request(route, type, **data)

    @overload
    def stream(self, route: str | Route[Any], /, **data: Any) -> Stream[Any]: ...

    @overload
    def stream(self, route: str | Route[Any], type: type[T], /, **data: Any) -> Stream[T]: ...

    def stream(self, route: str | Route[Any], type: Any = Any, /, **data: Any) -> Stream[Any]:
        """Calls a route that streams, for ``async for``. The session's timeout does not apply to it.

        .. versionadded:: 1.1

        Parameters
        ----------
        route: Union[:class:`str`, :class:`Route`]
            The route to call, with or without the leading ``/``.
        type: Type
            What to decode each item into. Defaults to plain dicts, lists, strings and numbers. It can only be given
            by position.
        **data: Any
            The data to send to the route: whatever can be written as JSON.

        Raises
        ------
        EncodeError
            The data cannot be written as JSON. Iterating raises the other exceptions of :meth:`request`,
            :exc:`InvalidRequest` where the route does not stream, and :exc:`Unsupported` where the bot's library is
            older.

        Returns
        -------
        :class:`Stream`
            The items, as they come.
        """
        return self.stream_as(None, route, type, data)

    def subscribe(
        self,
        *events: str,
        after: int | Mapping[str, int] | Event | None = None,
        epoch: str | None = None,
        overflow: Literal["gap", "drop"] = "gap",
        filter: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> Subscription:
        """Subscribes to events that the bot publishes, for ``async for``.

        A name that the bot neither forwards nor has published so far is logged once, with the most similar one. The
        subscription works: events come once the bot publishes them.

        .. versionadded:: 1.1

        .. versionchanged:: 1.2
            The parameter ``filter``. ``guild_id``, ``channel_id``, ``user_id`` and ``message_id`` match whatever the
            data of an event is.

        Parameters
        ----------
        *events: :class:`str`
            The names of the events.
        after: Optional[Union[:class:`int`, Mapping[:class:`str`, :class:`int`], :class:`Event`]]
            The sequence number of the last event that is known already, for each name, or that event itself: the bot
            sends those after it first, as far as it has kept them. Defaults to ``None``: only what happens from now
            on.
        epoch: Optional[:class:`str`]
            The :attr:`Event.epoch` that the sequence numbers belong to, so that a restart of the bot is noticed and
            told by a :class:`Gap`. An :class:`Event` brings its own. Defaults to ``None``: the present one.
        overflow: :class:`str`
            What happens when the reader is so slow that events have to be left out: ``gap``, the default, goes on and
            yields a :class:`Gap` in their place; ``drop`` ends the subscription with :exc:`FellBehind`.
        filter: Optional[Mapping[:class:`str`, Any]]
            Conditions whose names are no Python names, such as ``{"author.bot": False}``: dots lead to inner objects.
            An array has the values of its elements. Defaults to none.

            .. versionadded:: 1.2
        **keywords: Any
            Only events with these values: the ids ``guild_id``, ``channel_id``, ``user_id`` (the author, or who did
            it) and ``message_id``, or members of the data. A list means one of its elements. Ids may be given as
            :class:`int` or :class:`str`. The bot evaluates all conditions.

        Raises
        ------
        TypeError
            No name was given, ``after`` is one number for several events, or ``filter`` is no mapping or has a name
            that is a keyword, too.
        EncodeError
            A name or the filter cannot be written as JSON. Iterating raises :exc:`BadData` where the bot refuses the
            filter, such as one with more than 1024 values.

        Returns
        -------
        :class:`Subscription`
            The events, as they happen.
        """
        return self.subscribe_as(None, events, after, epoch, overflow, checked_filter(filter, keywords))

    async def events(self) -> list[EventInfo]:
        """|coro|

        Asks the bot which events there are: those that it forwards, has declared or has published so far.

        .. versionadded:: 1.2

        Raises
        ------
        Unsupported
            The bot's library is older than 1.2.
        IPCError
            As for :meth:`request`.

        Returns
        -------
        List[:class:`EventInfo`]
            The events, by their names.
        """
        return described_events(await self.request(DISCOVER, Raw))

    async def ticket(
        self, *, origin: str, scopes: Collection[str] | None = None, expires_in: float = 60
    ) -> str:
        """|coro|

        Asks the bot for a ticket, with which a page in a browser may connect once, in place of a key.

        The page offers it as a subprotocol beside ``jsonrpc``: ``new WebSocket(url, ["jsonrpc", ticket])``.

        .. versionadded:: 1.2

        Parameters
        ----------
        origin: :class:`str`
            The origin of the page, such as ``https://panel.example``. It must be among the ``origins`` of the server.
        scopes: Optional[Collection[:class:`str`]]
            What the ticket opens: routes and events that name one of these scopes. Defaults to ``None``, all that the
            key of this session opens.
        expires_in: :class:`float`
            Seconds in which the page has to connect, at most 3600. Defaults to 60. The connection may last longer.

        Raises
        ------
        TypeError
            ``scopes`` is one string.
        BadData
            The bot does not allow the origin, or a parameter is out of range.
        Forbidden
            The key of this session does not have one of the scopes.
        Unsupported
            The bot's library is older than 1.2.
        IPCError
            As for :meth:`request`.

        Returns
        -------
        :class:`str`
            The ticket. It is secret until it was used.
        """
        return await ticket(self.request, origin, scopes, expires_in)

    # -- views

    def acting_as(self, user_id: int | str | None = None, /, *, token: str | None = None) -> SessionView:
        """Returns a view of this session whose calls are made for a Discord user.

        The bot judges what the user may do, by its own knowledge of the guild that a call is about: see
        :func:`requires`. A view has the methods of the session that call the bot, and costs nothing: make one for each
        request of a dashboard.

        The guide :doc:`/guides/acting-users` has examples.

        .. versionadded:: 1.2

        Parameters
        ----------
        user_id: Optional[Union[:class:`int`, :class:`str`]]
            The id of the user. The bot believes the key that it is this user, unless there is a token.
        token: Optional[:class:`str`]
            An access token of the user, which Discord gave for the scope ``identify`` when the user logged in. The bot
            asks Discord whose it is. If there is also an id, the token must be of this user. It is secret: nothing of
            this library writes it to a log.

        Raises
        ------
        TypeError
            There is neither an id nor a token, or one of them is of a wrong type.
        ValueError
            The id cannot be one of Discord's, or the token is empty, too long, or has characters that no token has.

        Returns
        -------
        :class:`SessionView`
            The view. Its calls raise the exceptions of this session's, and:

            - :exc:`Forbidden` and its subclasses where the user may not do this.
            - :exc:`InvalidToken` where Discord does not accept the token, and :exc:`FetchFailed` where it did not say.
            - :exc:`Unsupported` where the bot's library is older than 1.2. Nothing was sent.
        """
        return SessionView(self, checked_acting_as(user_id, token))

    async def request_as(
        self, user: ActingAs, route: str | Route[Any], type: Any, data: Mapping[str, Any]
    ) -> Any:
        """The same as :meth:`request`, for a user.

        :meta private:
        """
        decoder = self._decoder(type)
        timeout = None if self._timeout == math.inf else self._timeout
        self._belong()
        raw = await self._call_once_connected(_name(route), Raw(encode_given(data)), timeout, user)
        try:
            return decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise _not_asked_for(route, error) from error

    def stream_as(
        self, user: ActingAs | None, route: str | Route[Any], type: Any, data: Mapping[str, Any]
    ) -> Stream[Any]:
        """The same as :meth:`stream`, for a user.

        :meta private:
        """
        params, items = Raw(encode_given(data)), self._limits.stream_items
        feed: Feed[Raw] = Feed(_name(route), params, items, user)
        return Stream(self._connected, feed, self._decoder(type))

    def subscribe_as(
        self,
        user: ActingAs | None,
        events: tuple[str, ...],
        after: int | Mapping[str, int] | Event | None,
        epoch: str | None,
        overflow: Literal["gap", "drop"],
        wanted: dict[str, Any],
    ) -> Subscription:
        """The same as :meth:`subscribe`, for a user. ``wanted`` is the whole filter.

        :meta private:
        """
        if not events:
            raise TypeError("subscribe() needs the name of an event")
        if isinstance(after, int):
            if len(events) > 1:
                raise TypeError("after must be a mapping where there are several events")
            after = dict.fromkeys(events, after)
        elif isinstance(after, Event):
            after, epoch = {after.name: after.seq}, after.epoch
        subscribe = Subscribe(list(events), dict(after or {}), epoch, wanted, overflow == "drop")
        encode_given(subscribe)
        items, unknown = self._limits.stream_items, self._unknown_events
        return Subscription(self._connected, subscribe, items, self.timeout, unknown, user)

    # -- inside

    async def _call_once_connected(
        self, endpoint: str, params: Raw, timeout: float | None, user: ActingAs | None = None
    ) -> Raw:
        loop = asyncio.get_running_loop()
        began = loop.time()
        wait = self._connect_timeout if timeout is None else min(self._connect_timeout, timeout)
        while not self._closed:
            conversation = await self._supervisor.connected(wait)
            left = timeout and max(0.0, timeout - (loop.time() - began))
            try:
                return await conversation.call(endpoint, params, left, user)
            except ConnectionLost:
                if not self._closed:
                    raise
        raise SessionClosed

    async def _connected(self) -> Conversation:
        self._belong()
        return self._supervisor.conversation or await self._supervisor.connected(self._connect_timeout)

    def _belong(self) -> None:
        """Makes the session belong to the running event loop, or checks that it does.

        Raises
        ------
        SessionClosed
            The session was closed.
        WrongEventLoop
            It belongs to another loop, which is open.
        """
        if self._closed:
            raise SessionClosed
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            if not self._loop.is_closed():
                raise WrongEventLoop
            self._begin_again()
            self._loop = loop

    def _begin_again(self) -> None:
        """Forgets everything that belongs to an event loop that is closed, or to the parent process."""
        self._connector.abandon()
        self._supervisor, self._closing, self._loop = self._supervise(), asyncio.Lock(), None

    def _supervise(self) -> Supervisor:
        limits, timeout, headers = self._limits, self._timeout, self._headers
        return Supervisor(
            self._connector, limits, lambda: Conversation(limits, timeout, headers), self._connect_timeout
        )

    def _decoder(self, type_: Any) -> msgspec.json.Decoder[Any]:
        decoder = self._decoders.get(type_)
        if decoder is None:
            decoder = self._decoders[type_] = msgspec.json.Decoder(type_)
        return decoder


def _not_asked_for(route: str | Route[Any], error: Exception) -> DecodeError:
    return DecodeError(f"the answer of {str(route)!r} is not what was asked for: {error}")


def _name(route: str | Route[Any]) -> str:
    name = str(route)
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"the name {name!r} cannot be written as JSON") from error
    return name


def _check_given(session: aiohttp.ClientSession, address: Address, ssl: tls.SSLContext | None) -> None:
    """Refuses settings that a session which was given cannot follow."""
    if session is not MISSING and (ssl is not None or address.unix is not None):
        raise ValueError(
            "session has its own connector: give ssl to that, as aiohttp.TCPConnector(ssl=...), or leave out session; "
            "the same for a Unix socket"
        )


def _after_fork() -> None:
    """Lets the sessions of a process that was forked connect by themselves."""
    for session in tuple(_sessions):
        _inherited.append(session._supervisor)  # pyright: ignore[reportPrivateUsage]
        session._begin_again()  # pyright: ignore[reportPrivateUsage]


#: All sessions of this process.
_sessions: weakref.WeakSet[ClientSession] = weakref.WeakSet()
#: Supervisors of the parent. Kept, since collecting them would touch its event loop.
_inherited: list[Supervisor] = []

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
