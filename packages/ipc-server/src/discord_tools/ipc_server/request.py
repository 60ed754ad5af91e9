"""What a route gets: the data of one request, and the way to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from discord_tools.ipc.errors import AlreadyResponded, BadData
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.call import Call, Sink
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.snowflakes import snowflake

if TYPE_CHECKING:
    import discord

    from discord_tools.ipc_server.routes import Route

__all__ = ("GUILD_KEYS", "Request", "World")

_data: msgspec.json.Decoder[dict[str, Any] | list[Any]] = msgspec.json.Decoder(dict[str, Any] | list[Any])

#: Keys that name the guild of a call whose route has no parameter for it.
GUILD_KEYS: Final = ("guild_id", "guild")

#: Maximum number of characters of a reason in Discord's audit log.
REASON_CHARS: Final = 512

#: Maximum number of keys, and of characters in each, that are searched for a name like that of an attribute.
NEAR_KEYS: Final = 64


class World(NamedTuple):
    """What all requests of a server have in common.

    Attributes
    ----------
    client: Any
        The bot.
    server: Any
        The server.
    """

    client: Any
    server: Any


#: For requests that were made by hand.
_NOWHERE: Final = World(None, None)


#: What data is before it was decoded.
_ENCODED: Final = (bytes, memoryview, msgspec.Raw)


class _InOrder(dict[str, Any]):
    """Data that was an array: its elements, by their places."""


class Request(Mapping[str, Any]):
    """Represents an IPC request.

    It is a read-only mapping of the data that the client sent. Routes and events get requests from the server; in
    tests they can be made by hand.

    .. versionadded:: 1.0

    .. container:: operations

        .. describe:: x[key]

            Returns the value of a key. Raises :exc:`KeyError` where the request has none.

        .. describe:: key in x

            Checks whether the request has a key.

        .. describe:: len(x)

            Returns the number of keys.

        .. describe:: for ... in x

            Iterates through all the request data keys.

    Parameters
    ----------
    data: Mapping[:class:`str`, Any]
        The data of the request.
    ws: Any
        Where the answer goes: an object with a coroutine method ``send_json(data)``, as
        :class:`aiohttp.web.WebSocketResponse` is. With ``None``, the answer goes nowhere.
    endpoint: :class:`str`
        The endpoint this request points to.
    headers: Mapping[:class:`str`, Any]
        The headers of the request.
    loop: :class:`asyncio.AbstractEventLoop`
        The loop that the request belongs to.

    Attributes
    ----------
    endpoint: :class:`str`
        The endpoint this request points to: the name of the route, always prefixed with ``/``.

        .. versionchanged:: 1.2
            It was what the client wrote, with or without the ``/``.
    headers: Mapping[:class:`str`, Any]
        The headers the request provided. The secret key is not among them.
    """

    __slots__ = (
        *("_data", "_deadline", "_done", "_loop", "_route", "_waiter", "_world", "_ws"),
        *("endpoint", "headers"),
    )

    def __init__(
        self,
        data: Mapping[str, Any],
        ws: Any,
        endpoint: str,
        headers: Mapping[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        #: The data. Where it comes from a call it is JSON, until somebody looks at it.
        self._data: Mapping[str, Any] | bytes = data
        #: Where the answer goes.
        self._ws: Sink | None = ws
        self._loop = loop
        #: Whether it has its answer. ``None`` as long as nobody has waited for that, so that one look-up in the path of
        #: every call tells both.
        self._done: bool | None = None
        #: Done with the answer, where a route waits for that.
        self._waiter: asyncio.Future[bool] | None = None
        #: When no caller waits for the answer any more, by the loop's clock.
        self._deadline: float | None = None
        #: The route, once it was looked up.
        self._route: Route[Any] | None = None
        #: The bot and the server.
        self._world: World = _NOWHERE
        self.endpoint: str = endpoint
        self.headers: Mapping[str, Any] = headers

    @classmethod
    def of(cls, call: Call, loop: asyncio.AbstractEventLoop, world: World = _NOWHERE) -> Request:
        """Makes the request of a call. Its data is decoded when somebody looks at it.

        :meta private:
        """
        request = object.__new__(cls)
        request._data = call.params
        request._ws = call
        request._loop = loop
        request._done = None
        request._waiter = None
        request._deadline = call.deadline
        request._route = None
        request._world = world
        request.endpoint = call.endpoint
        request.headers = call.headers
        return request

    def _mapping(self) -> Mapping[str, Any]:
        # Looking up an attribute costs more in a class with __getattr__, so this does it as seldom as possible.
        found = self._data
        if isinstance(found, _ENCODED):
            try:
                data = _data.decode(found)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                message = f"the data must be a JSON object: {error}"
                raise BadData(message, data=[{"path": "", "message": message}]) from None
            # JSON-RPC 2.0 also allows an array; here its elements are known by their place.
            found = (
                _InOrder({str(i): item for i, item in enumerate(data)}) if isinstance(data, list) else data
            )
            self._data = found
        return found

    def __repr__(self) -> str:
        return f"<Request endpoint={self.endpoint!r} done={self.is_done()}>"

    # Only called for what is no attribute.
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self._advice(name), name=name, obj=self)

    def _advice(self, name: str) -> str:
        """What to write in place of an attribute that the request does not have."""
        message = f"'Request' object has no attribute {name!r:.100}"
        if name.startswith("_") or len(name) > NEAR_KEYS:
            return message
        try:
            data = self._mapping()
        except BadData:
            return message
        if name in data:
            return f'{message}: use request["{name}"]'
        # Keys are the caller's: many or long ones must not cost the bot's time.
        keys = [key for key in data if len(key) <= NEAR_KEYS] if len(data) <= NEAR_KEYS else []
        near = get_close_matches(name, keys, 1)
        return f'{message}: did you mean request["{near[0]}"]?' if near and near[0].isprintable() else message

    def __getitem__(self, key: str, /) -> Any:
        return self._mapping()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapping())

    def __len__(self) -> int:
        return len(self._mapping())

    # A request stands for one call, not for what the call says: two with the same data are not the same.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def keys(self) -> KeysView[str]:
        """:class:`~collections.abc.KeysView`: Returns all the keys of the data the request provided.

        This is similar to :meth:`dict.keys`.
        """
        return self._mapping().keys()

    def values(self) -> ValuesView[Any]:
        """:class:`~collections.abc.ValuesView`: Returns all the values of the data the request provided.

        This is similar to :meth:`dict.values`.
        """
        return self._mapping().values()

    def items(self) -> ItemsView[str, Any]:
        """:class:`~collections.abc.ItemsView`: Returns (key, value) pairs of all the keys and values the request
        provided.

        This is similar to :meth:`dict.items`.
        """
        return self._mapping().items()

    @property
    def client(self) -> Any:
        """:class:`discord.Client`: The bot. ``None`` for a request that was made by hand.

        .. versionadded:: 1.2
        """
        return self._world.client

    @property
    def bot(self) -> Any:
        """:class:`discord.Client`: Another name of :attr:`client`, as commands of discord.py have it.

        .. versionadded:: 1.2
        """
        return self._world.client

    @property
    def server(self) -> Any:
        """:class:`Server`: The server. ``None`` for a request that was made by hand.

        .. versionadded:: 1.2
        """
        return self._world.server

    @property
    def route(self) -> Route[Any] | None:
        """Optional[:class:`Route`]: The route that the request is for. ``None`` in :func:`on_raw_ipc_request`, which
        comes before the look-up, and where there is no such route.

        .. versionadded:: 1.2
        """
        return self._route

    @property
    def cog(self) -> Any:
        """Any: The cog of the route, or the client whose method the route is. ``None`` for a plain function.

        .. versionadded:: 1.2
        """
        return None if self._route is None else self._route.cog

    @property
    def guild(self) -> discord.Guild | None:
        """Optional[:class:`discord.Guild`]: The guild that the data names, from the bot's cache.

        It is named by the route's parameter of type :class:`discord.Guild`. Where the route has no such parameter, it
        is named by ``guild_id`` or ``guild``. ``None`` where there is no such name, where both are there and differ,
        and where the bot does not know the guild.

        Checks find it before the data was bound to the parameters.

        .. versionadded:: 1.2
        """
        number = self.named_guild()
        return None if number is None or self._world.client is None else self._world.client.get_guild(number)

    @property
    def caller(self) -> Caller | None:
        """Optional[:class:`Caller`]: Who calls: which key, from where, over what. ``None`` for a request that was made
        by hand.

        .. versionadded:: 1.2
        """
        return getattr(self._ws, "caller", None)

    @property
    def user_id(self) -> int | None:
        """Optional[:class:`int`]: The id of the Discord user for whom the call is made; see
        :meth:`ClientSession.acting_as`. ``None`` for a call without one.

        In :func:`on_raw_ipc_request`, it is what the caller claims, and ``None`` where the caller gave a token alone.
        From the checks on, a token was verified.

        .. versionadded:: 1.2
        """
        acting = self._acting
        return None if acting is None else acting.id

    @property
    def user(self) -> discord.Member | discord.User | None:
        """Optional[Union[:class:`discord.Member`, :class:`discord.User`]]: The acting user: :attr:`member`, or else the
        user from the bot's cache. ``None`` for a call without one, and where the user is in no cache.

        .. versionadded:: 1.2
        """
        acting, client = self._acting, self._world.client
        if acting is None or acting.id is None:
            return None
        return self.member or (None if client is None else client.get_user(acting.id))

    @property
    def member(self) -> discord.Member | None:
        """Optional[:class:`discord.Member`]: The acting user as the member of the guild that the call is about.

        In a route with :func:`requires` or :func:`requires_role` it is the member that was judged, fetched from Discord
        where it was not cached. In other routes and in checks it is the one in the cache of :attr:`guild`, or ``None``.

        .. versionadded:: 1.2
        """
        acting = self._acting
        if acting is None or acting.id is None:
            return None
        if acting.member is not None:
            return acting.member
        guild = self.guild
        return None if guild is None else guild.get_member(acting.id)

    def reason(self, text: str = "") -> str:
        """Makes the text for Discord's audit log, so that it says for whom the bot did something:
        ``await member.ban(reason=request.reason("spam"))`` becomes ``ada (81384788765712384): spam``.

        .. versionadded:: 1.2

        Parameters
        ----------
        text: :class:`str`
            The reason. Line breaks and other control characters become spaces. Where the whole is longer than the 512
            characters that Discord takes, it ends with ``…``. Defaults to the name and the id alone.

        Returns
        -------
        :class:`str`
            The text. For a call without an acting user it names the key, as ``key dashboard: spam``.
        """
        acting = self._acting
        if acting is None or acting.id is None:
            caller = self.caller
            who = "a call" if caller is None or caller.key is None else f"key {caller.key}"
        else:
            name = acting.name or getattr(self.user, "name", "")
            who = f"{name:.100} ({acting.id})" if name else f"user {acting.id}"
        whole = f"{who}: {text}" if text.strip() else who
        # The rest is not processed: the text may be the caller's, and long.
        line = " ".join(
            "".join(one if one.isprintable() else " " for one in whole[: 2 * REASON_CHARS]).split()
        )
        if len(line) <= REASON_CHARS and len(whole) <= 2 * REASON_CHARS:
            return line
        return f"{line[: REASON_CHARS - 1]}…"

    @property
    def _acting(self) -> ActingUser | None:
        return getattr(self._ws, "acting", None)

    @property
    def caller_id(self) -> Hashable:
        """What identifies the caller: the name of the key, and the address. ``None`` for a request made by hand.

        :meta private:
        """
        caller = self.caller
        return None if caller is None else (caller.key, caller.address)

    def named_guild(self) -> int | None:
        """The id of the guild that the data names. Raises :exc:`BadData` for data that is no JSON object.

        :meta private:
        """
        data, route = self._mapping(), self._route
        place = None if route is None else route.signature.guild_parameter
        if place is None:
            given = [data[key] for key in GUILD_KEYS if key in data]
        else:
            name, index = place
            # The elements of an array are the parameters in their order.
            key = str(index) if isinstance(data, _InOrder) else name
            given = [data[key]] if key in data else []
        numbers = {snowflake(value) for value in given}
        number = numbers.pop() if len(numbers) == 1 else -1
        return None if number < 0 else number

    @property
    def deadline(self) -> float | None:
        """Optional[:class:`float`]: How many seconds are left until nobody waits for the answer any more, 0 when the
        time is over. ``None`` for a request without a limit.
        """
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    def is_done(self) -> bool:
        """:class:`bool`: Returns whether the request has its answer."""
        return self._done is True

    async def wait_until_done(self) -> bool:
        """|coro|

        Waits until the request has its answer.

        This is for routes that leave the answer to somebody else: a route that returns ``None`` answers ``null``
        unless the request has been answered, so it has to wait here for as long.

        Returns
        -------
        :class:`bool`
            Always ``True``.
        """
        if not self._done:
            if self._waiter is None:
                self._waiter = self._loop.create_future()
            self._done = False
            await asyncio.shield(self._waiter)
        return True

    async def respond(self, data: Any = None) -> None:
        """|coro|

        Answers the request. The route may go on working after it.

        Parameters
        ----------
        data: Any
            The answer: whatever can be written as JSON, Discord's objects included. Defaults to ``None``.

        Raises
        ------
        AlreadyResponded
            The request has its answer already, or the client has given up waiting for one.
        TypeError
            The answer cannot be written as JSON. The request is not answered by it.
        TooLarge
            The answer is larger than the client takes. The request is not answered by it.
        """
        if self._done:
            raise AlreadyResponded(self.endpoint)
        self._done = True
        try:
            if self._ws is not None:
                await self._ws.send_json(data)
        except BaseException:
            self._done = False
            raise
        self.finish()

    def limit(self, seconds: float) -> None:
        """Takes note that the call takes at most that many seconds from now on.

        :meta private:
        """
        deadline = self._loop.time() + seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def finish(self) -> None:
        """Marks the request as answered.

        :meta private:
        """
        self._done = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)
