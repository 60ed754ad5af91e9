"""What a route gets: the data of one request, and the way to answer it."""

from __future__ import annotations

import asyncio
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

import msgspec

from discord_tools.ipc.errors import AlreadyResponded, BadData
from discord_tools.ipc_server.call import Call, Sink

__all__ = ("Request",)

_data: msgspec.json.Decoder[dict[str, Any] | list[Any]] = msgspec.json.Decoder(dict[str, Any] | list[Any])


#: Stands for data that was not decoded yet.
_NOT_YET: Mapping[str, Any] = {}


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

    __slots__ = ("_data", "_deadline", "_done", "_loop", "_params", "_waiter", "_ws", "endpoint", "headers")

    def __init__(
        self,
        data: Mapping[str, Any],
        ws: Any,
        endpoint: str,
        headers: Mapping[str, Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        #: The data, or :data:`_NOT_YET`.
        self._data: Mapping[str, Any] = data
        #: The data as JSON, where it comes from a call.
        self._params: bytes = b"{}"
        #: Where the answer goes.
        self._ws: Sink | None = ws
        self._loop = loop
        #: Whether it has its answer.
        self._done = False
        #: Done with the answer, where a route waits for that.
        self._waiter: asyncio.Future[bool] | None = None
        #: When no caller waits for the answer any more, by the loop's clock.
        self._deadline: float | None = None
        self.endpoint: str = endpoint
        self.headers: Mapping[str, Any] = headers

    @classmethod
    def of(cls, call: Call, loop: asyncio.AbstractEventLoop) -> Request:
        """Makes the request of a call. Its data is decoded when somebody looks at it.

        :meta private:
        """
        request = object.__new__(cls)
        request._data = _NOT_YET
        request._params = call.params
        request._ws = call
        request._loop = loop
        request._done = False
        request._waiter = None
        request._deadline = call.deadline
        request.endpoint = call.endpoint
        request.headers = call.headers
        return request

    def _mapping(self) -> Mapping[str, Any]:
        if self._data is _NOT_YET:
            try:
                data = _data.decode(self._params)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                message = f"the data must be a JSON object: {error}"
                raise BadData(message, data=[{"path": "", "message": message}]) from None
            # JSON-RPC 2.0 also allows an array; here its elements are known by their place.
            self._data = {str(i): item for i, item in enumerate(data)} if isinstance(data, list) else data
        return self._data

    def __repr__(self) -> str:
        return f"<Request endpoint={self.endpoint!r} done={self._done}>"

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
    def deadline(self) -> float | None:
        """Optional[:class:`float`]: How many seconds are left until nobody waits for the answer any more, 0 when the
        time is over. ``None`` for a request without a limit.
        """
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    def is_done(self) -> bool:
        """:class:`bool`: Returns whether the request has its answer."""
        return self._done

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

    def finish(self) -> None:
        """Marks the request as answered.

        :meta private:
        """
        self._done = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)
