"""What a call has to offer to the dispatcher, to its request and to a subscription."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

from discord_tools.ipc.errors import DeadlineExceeded, RemoteError
from discord_tools.ipc_server.acting import ActingUser
from discord_tools.ipc_server.caller import Caller

__all__ = (
    "Call",
    "IncomingCall",
    "Reader",
    "Sink",
    "cancel_other",
    "expire",
    "expired",
    "normal",
    "wait_for_handlers",
    "without_key",
)

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Where an answer goes.

    Implemented by :class:`~.incoming.NativeCall`, :class:`~.dialects.calls.DialectCall` and
    :class:`aiohttp.web.WebSocketResponse`.
    """

    async def send_json(self, data: Any, /) -> None:
        """Sends the answer."""
        ...


class Call(Sink, Protocol):
    """A call as a client made it. It takes one answer.

    Implemented by :class:`~.incoming.NativeCall` and :class:`~.dialects.calls.DialectCall`.

    Attributes
    ----------
    endpoint: :class:`str`
        The name of the route, with its leading slash.
    params: :class:`bytes`
        The data, as JSON.
    headers: Mapping[:class:`str`, Any]
        The caller's own headers.
    deadline: Optional[:class:`float`]
        When nobody waits for the answer any more, by the loop's clock.
    caller: :class:`Caller`
        Who calls.
    acting: Optional[:class:`ActingUser`]
        The user for whom the call is made.
    """

    acting: ActingUser | None
    endpoint: str
    params: bytes
    headers: Mapping[str, Any]
    deadline: float | None

    @property
    def caller(self) -> Caller: ...


class IncomingCall(Call, Protocol):
    """A call as the dispatcher runs it. Once ``settled`` it takes no answer any more.

    One that ``streams`` reads items, and its answer only ends them.

    Implemented by :class:`~.incoming.NativeCall` and :class:`~.dialects.calls.DialectCall`.
    """

    settled: bool
    streams: bool
    task: asyncio.Task[None] | None
    #: The name and the code of the error that answered it, if one has.
    failure: tuple[str, int] | None

    def must_wait(self) -> bool:
        """Whether the handler may not start yet: its result would wait behind answers that the client does not read."""
        ...

    async def wait_to_start(self) -> None:
        """Waits until the handler may start."""
        ...

    def answer(self, data: Any, /) -> bool:
        """Answers at once. Returns ``False`` and does not answer where :meth:`send_json` should do it, after others
        have been sent.
        """
        ...

    async def send_item(self, data: Any, /) -> None:
        """Sends an item of a stream, as soon as its reader takes one."""
        ...

    def fail(self, error: RemoteError) -> None:
        """Answers with an error, unless it has its answer."""
        ...

    def abort(self, error: RemoteError) -> None:
        """Answers with an error, unless it has its answer, and cancels the handler."""
        ...

    def ended(self) -> None:
        """Takes note that the handler has ended, perhaps long after its answer."""
        ...


class Reader(Protocol):
    """The call that reads a subscription. Implemented by :class:`~.incoming.NativeCall`."""

    params: bytes

    @property
    def takes(self) -> bool:
        """Whether it takes an item now. If not, it pumps the subscription once it does."""
        ...

    @property
    def largest(self) -> int:
        """The largest item that it takes, in bytes."""
        ...

    def push(self, item: bytes) -> None:
        """Sends an encoded item."""
        ...

    def abort(self, error: RemoteError) -> None:
        """Ends the subscription with an error."""
        ...


def cancel_other(task: asyncio.Task[None] | None) -> None:
    """Cancels the task of a handler, unless it is the one that is running: a route may revoke its own key."""
    if task is not None and task is not asyncio.current_task():
        task.cancel()


def without_key(headers: Mapping[str, Any]) -> Mapping[str, Any]:
    """Headers without ``Authorization``, in whatever case: the secret key stays secret."""
    if any(name.lower() == "authorization" for name in headers):
        return {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return headers


def normal(name: str) -> str:
    """The name of a route with its leading slash."""
    return name if name.startswith("/") else f"/{name}"


def expired() -> DeadlineExceeded:
    """The error for a call for whose answer nobody waits any more."""
    return DeadlineExceeded("the time for this call is over")


def expire(call: IncomingCall) -> None:
    """Ends a call whose time is over."""
    call.abort(expired())


async def wait_for_handlers(
    calls: Iterable[IncomingCall],
    spared: Collection[asyncio.Task[Any]],
    timeout: float,
    others: Iterable[asyncio.Task[Any]] = (),
) -> None:
    """Waits for the handlers of calls, except those in ``spared``, and for other tasks; logs what takes longer."""
    running = {
        call.task: call.endpoint for call in calls if call.task is not None and call.task not in spared
    }
    tasks = {*running, *others}
    if tasks:
        _, left = await asyncio.wait(tasks, timeout=timeout)
        if left:
            names = sorted({running[task] for task in left if task in running})
            log.warning("Still running after %g s: %s", timeout, ", ".join(f"{name:.200}" for name in names))
