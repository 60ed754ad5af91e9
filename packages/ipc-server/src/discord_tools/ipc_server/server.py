"""The server's public interface: composes ports, gate, routes and dispatcher, starts and terminates them."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl as tls
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Generic, Self, TypeVar, cast

import discord

from discord_tools.ipc.environment import server_settings
from discord_tools.ipc.limits import ServerLimits
from discord_tools.ipc.logs import connection_id
from discord_tools.ipc.missing import MISSING
from discord_tools.ipc.settings import checked_key, checked_port
from discord_tools.ipc.tasks import LoopLock, complete
from discord_tools.ipc.transports.base import GOING_AWAY, Transport
from discord_tools.ipc.wire.handshake import Hello
from discord_tools.ipc_server.access import Scopes, checked_scopes
from discord_tools.ipc_server.browsers import Pages, checked_hosts, checked_origins
from discord_tools.ipc_server.budget import Holder, MemoryBudget
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.close_hook import CloseHook
from discord_tools.ipc_server.conversation import Conversation
from discord_tools.ipc_server.conversations import Conversations
from discord_tools.ipc_server.demands import Demands, checked_requires
from discord_tools.ipc_server.dialects.service import DIALECTS, Dialect, checked_dialects
from discord_tools.ipc_server.event_table import Declared
from discord_tools.ipc_server.forward import Custom, Forwarder, checked_events
from discord_tools.ipc_server.gate import Gate
from discord_tools.ipc_server.groups import RouteGroup, checked_functions
from discord_tools.ipc_server.keys import Key, Keys
from discord_tools.ipc_server.listening import DEFAULT_PORT, OWNER_ONLY, checked_listening
from discord_tools.ipc_server.parameters.annotations import calling_frame
from discord_tools.ipc_server.ports import Ports
from discord_tools.ipc_server.readiness import Readiness
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.routes import Decorator, Route, RouteTable, make_route
from discord_tools.ipc_server.shared import shared_by
from discord_tools.ipc_server.topics import NO_KEYS, Ids, checked_keys
from discord_tools.ipc_server.values.encoder import Encoder
from discord_tools.ipc_server.values.own import checked_class, checked_function
from discord_tools.ipc_server.watchdog import Watchdog

__all__ = ("Server",)

log = logging.getLogger(__name__)

ClientT = TypeVar("ClientT", bound=discord.Client)
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class Server(Generic[ClientT]):
    """The server used for the IPC.

    Constructing it only stores the parameters, so it can be done anywhere, also before any event loop runs.
    :meth:`start` belongs into the client's ``setup_hook``. Closing the client ends the server.

    .. versionadded:: 1.0

    .. container:: operations

        .. describe:: async with x

            Asynchronously starts this server, and terminates it at the end.

    Parameters
    ----------
    client: :class:`discord.Client`
        The client associated to this server.
    host: :class:`str`
        The host to run the server on. Defaults to ``localhost``, all loopback addresses of the machine.
        Any other address needs a secret key.
    port: :class:`int`
        The port to run the server on. Defaults to ``8000``. With ``0`` the system picks a free one, which the
        multicast port then tells.
    secret_key: :class:`str`
        The secret key to check for on the ``Authorization`` header on requests.
        This can be used to limit requests to your bot, you must have the same secret key on the client.
    multicast: :class:`bool`
        Whether to enable multicasting. Defaults to ``True``.
    multicast_port: :class:`int`
        The port to run the multicasting server on. Defaults to ``20000``.
    origins: Collection[:class:`str`]
        The origins, such as ``https://example.org``, whose pages may connect from a browser. Defaults to none,
        since otherwise any page could call the bot of a user who visits it.
    hosts: Optional[Collection[:class:`str`]]
        The host names by which the pages of these origins may reach the server, without a port, such as
        ``bot.example`` behind a proxy. Another page may have its own name resolve to the bot's address. Defaults to
        ``None``: ``host``, ``localhost``, the names in ``origins``, and all addresses.

        .. versionadded:: 1.2
    dialects: Collection[:class:`str`]
        What is understood besides the protocol of :class:`ClientSession`: ``jsonrpc`` (JSON-RPC 2.0 over any
        WebSocket), ``http`` (JSON-RPC 2.0 by ``POST /``, and ``GET /health``), ``discord-ext-ipc`` (with its forks)
        and ``better-ipc``. Defaults to all of them.

        .. versionadded:: 1.1
    limits: :class:`ServerLimits`
        Sizes and timeouts that seldom need a change.
    keys: Mapping[:class:`str`, :class:`Key`]
        More keys by their names, each with its own values, scopes and expiry: ``{"status": Key("...",
        scopes={"read"})}``. Clients show a value of one of them as their ``secret_key``. :attr:`keys` changes them
        while the server runs. Defaults to none. An empty dict refuses everybody until a key is set.

        .. versionadded:: 1.2
    unix: Union[:class:`str`, :class:`os.PathLike`, Collection[Union[:class:`str`, :class:`os.PathLike`]]]
        The paths of Unix sockets to listen on, such as ``/run/bot.sock``. They replace the port, and so the multicast
        port; with an explicit ``port`` the server listens on all of them. The file of a process that has ended is
        replaced, and the file is removed at the end. Defaults to none.

        .. versionadded:: 1.2
    unix_mode: :class:`int`
        The mode of their files: who may connect. Defaults to ``0o600``, the bot's own user, since a bot and its
        dashboard seldom have different ones; ``0o660`` adds the group.

        .. versionadded:: 1.2
    path: :class:`str`
        The path of the URL, for all that the server answers. With Unix sockets, ``/`` is answered, too. Clients of
        older libraries know no path, so they are served only with the default, ``/``.

        .. versionadded:: 1.2
    ssl: Optional[:class:`ssl.SSLContext`]
        The certificate for TLS on the port and the multicast port. :func:`discord_tools.ipc.tls.server_context` makes
        one that takes up renewed files. Unix sockets are without TLS. Defaults to ``None``, no TLS.

        .. versionadded:: 1.2
    proxies: Collection[:class:`str`]
        The IP addresses and networks of reverse proxies, and ``unix`` for those that connect through a Unix socket.
        From them, and only from them, ``X-Forwarded-For`` tells the address of a client. Defaults to none.

        .. versionadded:: 1.2

    Raises
    ------
    TypeError
        A setting is of a wrong type, or the client is not a client of discord.py.
    ValueError
        The host is a URL or has a port or a path, a port is out of range, the secret key is empty or ``None`` or cannot
        be carried by an HTTP header, a key is named ``secret_key``, two keys have the same value, an origin can never
        match a browser's, a name in ``hosts`` is more than a host name, a dialect is not known, the path of a Unix
        socket is too long, or a path, a mode or a proxy is not valid. The text names the setting and the value, unless
        that is secret, and says what to write instead.
    """

    def __init__(
        self,
        client: ClientT,
        host: str = "localhost",
        port: int = DEFAULT_PORT,
        secret_key: str = MISSING,
        multicast: bool = True,
        multicast_port: int = 20000,
        *,
        origins: Collection[str] = (),
        hosts: Collection[str] | None = None,
        dialects: Collection[Dialect] = DIALECTS,
        limits: ServerLimits = ServerLimits(),  # noqa: B008 (it is frozen)
        keys: Mapping[str, Key] = MISSING,
        unix: str | os.PathLike[str] | Collection[str | os.PathLike[str]] = (),
        unix_mode: int = OWNER_ONLY,
        path: str = "/",
        ssl: tls.SSLContext | None = None,
        proxies: Collection[str] = (),
    ) -> None:
        if not isinstance(client, discord.Client):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"client must be a discord.Client, such as your bot, not {client!r}")
        self._client = client
        #: Where to listen.
        self._listening = checked_listening(host, port, unix, unix_mode, path, ssl, proxies)
        self._multicast = multicast
        self._multicast_port = checked_port(multicast_port, "multicast_port", free=True)
        self._secret_key = checked_key(secret_key)
        self._dialects = checked_dialects(dialects)
        self._keys = Keys(self._secret_key, keys, self._compare_callers)
        #: Decides who may connect.
        self._gate = Gate(self._keys, Pages(checked_origins(origins), checked_hosts(hosts), host))
        #: All routes.
        self._table = RouteTable(client)
        #: Notices when the event loop is blocked.
        self._watchdog = Watchdog(self._table.codes)
        #: Writes answers and events as JSON.
        self._encoder = Encoder()
        budget = MemoryBudget(limits.total_bytes, self._holders, self._held_by_others)
        was_blocked_for = self._watchdog.was_blocked_for
        #: What all conversations share.
        self._shared = shared_by(
            self, self._table, self._gate, budget, was_blocked_for, limits, self._encoder
        )
        #: Publishes events of discord.py.
        self._forwarder = Forwarder(client, self._shared.hub)
        #: Follows whether the bot is ready.
        self._readiness = Readiness(client, self._forwarder.listen, self._tell_ready)
        #: All native clients.
        self._conversations = Conversations(
            self._converse, self._gate, limits, self._readiness.is_ready, self._idempotent
        )
        #: Terminates the server when the client is closed.
        self._close_hook = CloseHook(client, self.terminate_server)
        #: Held while the server starts or is terminated.
        self._locked = LoopLock()
        #: The open ports, while the server runs.
        self._running: Ports | None = None
        #: Tasks that terminate the server. Those of routes are neither waited for nor cancelled.
        self._terminators: set[asyncio.Task[Any]] = set()

    @classmethod
    def from_env(cls, client: ClientT, **settings: Any) -> Self:
        """Makes a server with the address and the key of environment variables.

        - ``IPC_HOST`` and ``IPC_PORT``: the ``host`` and the ``port``; or ``IPC_URL``, such as ``ws://0.0.0.0:8000/ipc/``
          or ``unix:///run/bot.sock``: ``host``, ``port`` and ``path``, or ``unix``.
        - ``IPC_SECRET_KEY``: the key; or ``IPC_SECRET_KEY_FILE``: a file with it, such as a container's secret.

        Variables that are not set leave the defaults.

        .. versionadded:: 1.2

        Parameters
        ----------
        client: :class:`discord.Client`
            The client associated to this server.
        **settings: Any
            Other settings of the server. They replace those of variables.

        Raises
        ------
        TypeError
            There is no such setting, or it is of a wrong type.
        ValueError
            A variable is empty or not valid, the file cannot be read, there are two variables for the same thing, or
            ``IPC_URL`` has ``wss`` and there is no ``ssl``.
        """
        return cls(client, **server_settings(settings))

    # -- what it is

    @property
    def client(self) -> ClientT:
        """:class:`discord.Client`: The client associated to this server."""
        return self._client

    @property
    def host(self) -> str:
        """:class:`str`: The host to run the server on."""
        return self._listening.host

    @property
    def multicast(self) -> bool:
        """:class:`bool`: Whether multicasting is enabled."""
        return self._multicast

    @property
    def limits(self) -> ServerLimits:
        """:class:`ServerLimits`: Sizes and timeouts."""
        return self._shared.limits

    @property
    def secret_key(self) -> str | None:
        """Optional[:class:`str`]: Returns the secret key required for requests handling, or ``None``."""
        return self._secret_key

    @property
    def keys(self) -> MutableMapping[str, Key]:
        """MutableMapping[:class:`str`, :class:`Key`]: The keys beside :attr:`secret_key`, by their names. Changes take
        effect at once, also while the server runs: ``server.keys["status"] = Key(...)`` sets a key, and ``del
        server.keys["status"]`` revokes it.

        Where a value is not accepted any more, because its key was removed, replaced or has expired, the connections
        and conversations of the clients that showed it are closed, and their calls in progress are cancelled. Where a
        key has lost a scope, what is in progress without it is ended with :exc:`Forbidden`; everything else goes on.

        .. versionadded:: 1.2
        """
        return self._keys

    @property
    def port(self) -> int:
        """:class:`int`: Returns the port the server runs on. While it does not run, the one that was asked for.
        0 where it listens on Unix sockets only.
        """
        return (self._listening.port or 0) if self._running is None else self._running.port

    @property
    def multicast_port(self) -> int:
        """:class:`int`: Returns the port the multicasting server runs on. While it does not run, the one that was
        asked for.
        """
        told = None if self._running is None else self._running.multicast_port
        return self._multicast_port if told is None else told

    @property
    def ws_url(self) -> str:
        """:class:`str`: Returns the WebSocket URL of this server. Where it listens on Unix sockets only, ``unix://``
        and the path of the first.
        """
        return self._listening.address(self.port).short_url

    @property
    def multicast_ws_url(self) -> str:
        """:class:`str`: Returns the WebSocket URL of the multicasting server."""
        return self._listening.port_address(self.multicast_port).short_url

    @property
    def routes(self) -> Mapping[str, Route[Any]]:
        """Mapping[:class:`str`, :class:`Route`]: Returns all present routes by their names, those of cogs and of the
        client's own class included.
        """
        return self._table.view()

    def is_running(self) -> bool:
        """:class:`bool`: Returns whether the server takes requests."""
        return self._running is not None

    # -- routes

    def route(
        self,
        name: str = MISSING,
        *,
        idempotent: bool = False,
        timeout: float | None = None,
        scopes: Scopes = None,
    ) -> Decorator:
        """A decorator that adds a coroutine function to the routes of this server.

        Methods of cogs are decorated with :func:`route` instead.

        Parameters
        ----------
        name: :class:`str`
            The route name, with or without the leading ``/``. Defaults to the function name.
        idempotent: :class:`bool`
            Whether running it twice does no harm; see :func:`route`. Defaults to ``False``.

            .. versionadded:: 1.1
        timeout: Optional[:class:`float`]
            How many seconds a call may take; see :func:`route`. Defaults to ``None``, no limit of the route's own.

            .. versionadded:: 1.2
        scopes: Optional[Collection[:class:`str`]]
            What opens the route to keys with scopes; see :func:`route`. Defaults to ``None``, no scopes.

            .. versionadded:: 1.2

        Raises
        ------
        TypeError
            The function cannot be a route; see :func:`route`.
        DuplicateRoute
            The name is taken.
        """
        make = make_route(name, idempotent, calling_frame(), timeout, scopes)

        def decorate(callback: Any) -> Route[Any]:
            return self._add(make(callback))

        return decorate

    def add_route(
        self,
        callback: Route[R] | Callable[..., Any],
        name: str = MISSING,
        *,
        idempotent: bool = False,
        timeout: float | None = None,
        scopes: Scopes = None,
    ) -> Route[R]:
        """Adds a coroutine function to the routes of this server.

        Parameters
        ----------
        callback: Union[:class:`Route`, Callable]
            The function, or the route that :func:`route` made of it.
        name: :class:`str`
            The route name, with or without the leading ``/``. Defaults to the function name. A :class:`Route` has
            its name already.
        idempotent: :class:`bool`
            Whether running it twice does no harm; see :func:`route`. Defaults to ``False``.

            .. versionadded:: 1.1
        timeout: Optional[:class:`float`]
            How many seconds a call may take; see :func:`route`. Defaults to ``None``, no limit of the route's own.

            .. versionadded:: 1.2
        scopes: Optional[Collection[:class:`str`]]
            What opens the route to keys with scopes; see :func:`route`. Defaults to ``None``, no scopes.

            .. versionadded:: 1.2

        Raises
        ------
        TypeError
            The function cannot be a route; see :func:`route`.
        DuplicateRoute
            The name is taken.

        Returns
        -------
        :class:`Route`
            The route.
        """
        if not isinstance(callback, Route):
            return self._add(make_route(name, idempotent, calling_frame(), timeout, scopes)(callback))
        if name is not MISSING or idempotent or timeout is not None or scopes is not None:
            raise TypeError("a Route has its name and its properties already")
        return self._add(cast("Route[R]", callback))

    def add_routes(self, routes: Iterable[Route[Any]]) -> None:
        """Adds several routes to the routes of this server, or none of them.

        .. versionadded:: 1.2

        Parameters
        ----------
        routes: Iterable[:class:`Route`]
            The routes that :func:`route` made of functions.

        Raises
        ------
        TypeError
            One of them is no route, or a method, which comes with its cog.
        DuplicateRoute
            A name is taken.
        """
        self._table.add_all(checked_functions(routes))

    def _add(self, route: Route[R]) -> Route[R]:
        self.add_routes((route,))
        return route

    def group(
        self, prefix: str, *, checks: Iterable[Callable[[Request], Any]] = (), scopes: Scopes = None
    ) -> RouteGroup:
        """Makes a group of routes of this server. Functions that :meth:`RouteGroup.route` decorates are added at once.

        .. versionadded:: 1.2

        Parameters
        ----------
        prefix: :class:`str`
            What the names of its routes begin with.
        checks: Iterable[Callable[[:class:`Request`], Any]]
            Functions that decide whether a call may run, see :func:`check`, and what is demanded of the acting user,
            such as ``requires(manage_guild=True)``. Defaults to none.
        scopes: Optional[Collection[:class:`str`]]
            What opens its routes to keys with scopes; see :class:`RouteGroup`. Defaults to ``None``, no scopes.

        Raises
        ------
        TypeError
            The prefix is no string, a check cannot be called with the request, or the scopes are one string.
        ValueError
            The prefix is empty or begins with ``rpc.``, which belongs to the protocol.

        Returns
        -------
        :class:`RouteGroup`
            The group.
        """
        group = RouteGroup(prefix, checks=checks, scopes=scopes)
        group.join(self)
        return group

    def add_group(self, group: RouteGroup) -> None:
        """Adds all functions of a group, or none of them, and from then on those that are added to the group.

        Methods are not added: they come with their cog.

        .. versionadded:: 1.2

        Parameters
        ----------
        group: :class:`RouteGroup`
            The group, with the groups inside of it.

        Raises
        ------
        DuplicateRoute
            A name is taken.
        """
        self.add_routes(group.functions())
        group.join(self)

    def remove_group(self, group: RouteGroup) -> None:
        """Removes all functions of a group. Calls in progress go on. Does nothing where they are not there.

        .. versionadded:: 1.2

        Parameters
        ----------
        group: :class:`RouteGroup`
            The group, with the groups inside of it.
        """
        group.leave(self)
        for one in group.functions():
            if self._table.view().get(one.name) is one:
                self._table.remove(one.name)

    def remove_route(self, name: str) -> Route[Any] | None:
        """Removes a route that :meth:`route` or :meth:`add_route` added.

        Calls in progress go on. The routes of a cog go with the cog.

        Parameters
        ----------
        name: :class:`str`
            The route name, with or without the leading ``/``.

        Returns
        -------
        Optional[:class:`Route`]
            The route, or ``None`` where there was none of that name.
        """
        return self._table.remove(name)

    # -- values

    def encoder(self, cls: type[T]) -> Callable[[Callable[[T], V]], Callable[[T], V]]:
        """A decorator that has objects of a class written as what a function makes of them.

        It is for answers, items of streams, events and the data of errors of this server, at any depth. Objects of
        classes that inherit from it are written so, too, unless they have an encoder of their own. The guide
        :doc:`guides/answers` has an example.

        .. versionadded:: 1.2

        Parameters
        ----------
        cls: :class:`type`
            The class: your own, or one of discord.py or another library that should be written in another way.

        Raises
        ------
        TypeError
            It is no class, it is one that JSON has a form for, such as :class:`str` or :class:`dict`, or the function
            is a coroutine function.
        ValueError
            The class has an encoder already.
        """
        checked_class(cls)

        def decorate(function: Callable[[T], V]) -> Callable[[T], V]:
            self._encoder.add(cls, checked_function(function))
            return function

        return decorate

    # -- events

    async def publish(
        self,
        name: str,
        data: Any = None,
        /,
        *,
        guild_id: Ids = None,
        channel_id: Ids = None,
        user_id: Ids = None,
        message_id: Ids = None,
        scopes: Scopes = None,
        requires: Demands = None,
    ) -> None:
        """|coro|

        Publishes an event to everybody who has subscribed to it with :meth:`ClientSession.subscribe`.

        It never waits for a subscriber. While there is none it only counts.

        The ids are for filters: ``subscribe("order", guild_id=...)`` finds the event by them, whatever its data is. If
        an id is left out, the member of the data with this name counts.

        .. versionadded:: 1.1

        .. versionchanged:: 1.2
            The ids, ``scopes`` and ``requires``.

        Parameters
        ----------
        name: :class:`str`
            The name of the event.
        data: Any
            What goes with it: whatever can be written as JSON, Discord's objects included. Defaults to ``None``.
        guild_id: Optional[Union[:class:`int`, :class:`str`, Collection[Union[:class:`int`, :class:`str`]]]]
            The guild that it concerns, or several of them. Defaults to the member of the data.
        channel_id: Optional[Union[:class:`int`, :class:`str`, Collection[Union[:class:`int`, :class:`str`]]]]
            The channel. Defaults to the member of the data.
        user_id: Optional[Union[:class:`int`, :class:`str`, Collection[Union[:class:`int`, :class:`str`]]]]
            The user: the author, or who did it. Defaults to the member of the data.
        message_id: Optional[Union[:class:`int`, :class:`str`, Collection[Union[:class:`int`, :class:`str`]]]]
            The message. Defaults to the member of the data.
        scopes: Optional[Collection[:class:`str`]]
            What opens this event to keys with scopes; see :class:`Key`. It does not reach subscribers with other keys
            that have scopes. Defaults to ``None``, the scopes that :meth:`add_event` declares for the name. A key with
            scopes can subscribe to a name once it is declared or was published with one of its scopes.
        requires: Optional[Union[:func:`requires`, Collection[:func:`requires`]]]
            What this event demands of acting users who hear it, such as ``requires(manage_guild=True)``; an empty
            collection for nothing. Defaults to ``None``, what :meth:`add_event` or :meth:`forward` sets for the name,
            and without that the rule in :doc:`/guides/acting-users`.

        Raises
        ------
        TypeError
            The data cannot be written as JSON, an id is neither a number nor a text, the scopes are one string, or
            ``requires`` is something else.
        ValueError
            A scope has no usable name.
        """
        ids = NO_KEYS
        if not (guild_id is channel_id is user_id is message_id is None):
            given = {
                "guild_id": guild_id,
                "channel_id": channel_id,
                "user_id": user_id,
                "message_id": message_id,
            }
            ids = checked_keys(**given)
        own = None if scopes is None else checked_scopes(scopes, "publish()")
        demanded = None if requires is None else checked_requires(requires, "publish()")
        self._shared.hub.publish(name, data, ids, own, demanded)

    def add_event(
        self, name: str, type: Any = Any, /, *, scopes: Scopes = None, requires: Demands = None
    ) -> None:
        """Declares an event that this bot publishes.

        That is not needed for publishing it. But a subscriber to a name that the bot neither forwards nor has published
        so far gets a warning, unless the name is declared, and :meth:`ClientSession.events` and ``rpc.discover`` then
        know its data.

        .. versionadded:: 1.2

        Parameters
        ----------
        name: :class:`str`
            The name of the event.
        type: Type
            What its data is: a builtin type, a dataclass, a :class:`typing.TypedDict`, a class of discord.py, ...
            Defaults to anything. It can only be given by position.
        scopes: Optional[Collection[:class:`str`]]
            What opens the event to keys with scopes; see :class:`Key`. They are added to those that were declared
            before. Defaults to ``None``, no more scopes: an event without scopes is closed to keys with scopes.
        requires: Optional[Union[:func:`requires`, Collection[:func:`requires`]]]
            What the event demands of acting users who hear it; an empty collection for nothing. Defaults to ``None``,
            which leaves it as it is: at first the rule in :doc:`/guides/acting-users`.

        Raises
        ------
        TypeError
            The name is no :class:`str`, the scopes are one string, or ``requires`` is something else.
        ValueError
            A scope has no usable name.
        """
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the name of an event must be a str, not {name!r:.100}")
        self._shared.hub.declare((name,), scopes, requires, "add_event()")
        self._shared.hub.learn(name, Declared(type))

    def forward(
        self, *events: str, custom: Custom = (), scopes: Scopes = None, requires: Demands = None
    ) -> None:
        """Publishes events of discord.py, such as ``member_join``, under their own names while the server runs.

        :doc:`/guides/all-events` lists them with their data and the ids that filters compare. In general, an event with
        one argument is published with that; one with several with an object of them, such as ``before`` and ``after``,
        and with ``guild_id``. Nothing is encoded without a subscriber that can get it, so that groups cost little.

        An event whose data cannot be written is left out: that is logged, and subscribers get a :class:`Gap`.

        .. versionadded:: 1.1

        .. versionchanged:: 1.2
            Groups, ``custom``, ``scopes`` and ``requires``. Names that do not exist raise :exc:`ValueError`. Events
            that the client's intents keep from happening are logged once.

        Parameters
        ----------
        *events: :class:`str`
            The names of events, with or without ``on_``, or of groups: ``messages``, ``members``, ``moderation``, ...
            ``*`` has all of them except those for debugging.
        custom: Union[Collection[:class:`str`], Mapping[:class:`str`, Sequence[:class:`str`]]]
            Events that the bot itself dispatches, with ``client.dispatch(...)``: their names, or the names of
            their arguments by name. Defaults to none.
        scopes: Optional[Collection[:class:`str`]]
            What opens these events to keys with scopes; see :class:`Key`. They are added to those that were declared
            before. Defaults to ``None``, no more scopes: an event without scopes is closed to keys with scopes.
        requires: Optional[Union[:func:`requires`, Collection[:func:`requires`]]]
            What these events demand of acting users who hear them; an empty collection for nothing. Defaults to
            ``None``, which leaves it as it is: at first the rule in :doc:`/guides/acting-users`.

        Raises
        ------
        TypeError
            A name is no string, ``custom`` is of another type, the scopes are one string, or ``requires`` is something
            else.
        ValueError
            There is no such event or group, or a scope has no usable name. The text has the most similar name. No event
            was added.
        """
        specs = checked_events(events, custom)
        self._shared.hub.declare([one.name for one in specs], scopes, requires, "forward()")
        self._forwarder.add(specs, {name.removeprefix("on_") for name in events})

    # -- life

    async def start(self) -> None:
        """|coro|

        Starts to listen and dispatches :func:`on_ipc_ready`. Does nothing where the server runs already.

        Cancelling it is safe: nothing is left behind. A server that was terminated can be started again.

        Raises
        ------
        ListenError
            The port or the path is taken, the host is no address of this machine, or the folder of a Unix socket cannot
            be written to. A multicast port that is taken is only logged: clients that know the port can still connect.
        DuplicateRoute
            Two routes have the same name.
        ValueError
            The host can be reached from outside, and there is no secret key.
        """
        async with self._locked():
            if self._running is not None:
                return
            self._table.check()
            if self._keys.is_open:
                await self._listening.check_exposure()
            self._shared.admission.draining = False
            self._shared.turns.close()  # the last event loop may have ended without that
            # Clients may connect from the moment the port is open, before the rest of this is done.
            self._running = listening = Ports(
                self._listening,
                self._gate,
                self._shared,
                self._dialects,
                self._serve,
                self._readiness.is_ready,
            )
            try:
                await listening.start(self._multicast_port if self.multicast else None)
                self._close_hook.install()
                self._forwarder.start()
                self._readiness.start()
                self._watchdog.start()
                self._keys.start()
            except BaseException:
                self._running = None
                await listening.close()
                raise
        log.info("Listening on %s", ", ".join(self._listening.urls(self.port)))
        self._shared.dispatcher.emit("ipc_ready")

    async def terminate_server(self) -> None:
        """|coro|

        Ends the server. Does nothing where it does not run.

        1. Both ports are freed.
        2. Clients get ``rpc.bye``, and no more calls are admitted.
        3. Calls in progress get up to :attr:`ServerLimits.grace_period` seconds; the rest are cancelled and their
           callers get :exc:`Cancelled`.
        4. Connections are closed.

        A route may call it; that route is neither waited for nor cancelled. Cancelling it ends the waiting for calls
        in progress; the rest is done all the same.
        """
        task = asyncio.current_task()
        if task is not None:
            self._terminators.add(task)
        try:
            async with self._locked():
                listening, self._running = self._running, None
                if listening is None:
                    return
                self._forwarder.stop()
                self._readiness.stop()
                self._watchdog.stop()
                self._keys.stop()
                listening.stop_listening()
                self._shared.admission.draining = True
                others = asyncio.create_task(listening.drain(self._terminators))
                try:
                    await self._conversations.drain(self._terminators)
                    await others
                finally:
                    others.cancel()
                    await complete(self._close(listening))
        finally:
            self._terminators.discard(task)  # pyright: ignore[reportArgumentType]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.terminate_server()

    # -- inside

    async def _close(self, listening: Ports) -> None:
        try:
            await listening.close(self._terminators)
        finally:
            self._close_hook.remove()
            self._shared.budget.close()
            self._shared.turns.close()
            log.info("Terminated")

    def _converse(self, token: str, hello: Hello, caller: Caller) -> Conversation:
        return Conversation(token, hello, caller, self._shared)

    def _holders(self) -> Iterator[Holder]:
        yield from self._conversations.by_absence()
        if self._running is not None:
            yield from self._running.holders

    def _held_by_others(self) -> int:
        return 0 if self._running is None else self._running.held_bytes

    def _compare_callers(self) -> None:
        if self._running is not None:
            self._running.compare_callers()
            self._conversations.compare_callers()
            self._check_scopes()

    def _check_scopes(self) -> None:
        if self._readiness.is_ready():  # before that, cogs may be missing
            self._keys.check_scopes(self._shared.dispatcher.scopes())

    def _tell_ready(self, ready: bool) -> None:
        self._conversations.tell_ready(ready)
        self._check_scopes()

    def _idempotent(self, caller: Caller) -> list[str]:
        routes = self._table.view().values()
        return [one.name for one in routes if one.idempotent and caller.opens(one.scopes)]

    async def serve(self, transport: Transport) -> None:
        """Serves a connection that was made in this process, until it ends.

        :meta private:
        """
        await self._serve(transport, self._keys.in_process(connection_id()))

    async def _serve(self, transport: Transport, caller: Caller) -> None:
        if self._running is None:
            await transport.close(GOING_AWAY, "the bot is shutting down")
        else:
            await self._conversations.serve(transport, caller)
