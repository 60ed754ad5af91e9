"""Two peers on a network that loses what is under way: each message arrives exactly once and in order."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import booleans, data, integers, sampled_from
from msgspec import UNSET, Raw

from discord_tools.ipc.wire.frames import READY, ErrorObject, Ready
from discord_tools.ipc.wire.peer import Peer
from discord_tools.ipc.wire.received import (
    Answered,
    CallReceived,
    CancelReceived,
    ItemsReceived,
    MoreReceived,
    PeerEvent,
    ReadyReceived,
)

MESSAGE_BYTES = 4096
FAILED = ErrorObject(-32006, "it was cancelled")


class Call:
    """A call of one side, as the model knows it."""

    def __init__(self, number: int, frame: bytes, streams: bool) -> None:
        self.number = number
        self.frame = frame
        self.streams = streams
        #: Whether a message with it has left.
        self.sent = False
        #: Whether the other side has got it.
        self.arrived = False
        #: Whether its caller has cancelled it.
        self.forgotten = False
        #: What the other side has answered.
        self.answer: str | None = None
        #: Items that the other side has sent, and those that have arrived.
        self.items: list[bytes] = []
        self.received: list[bytes] = []


class Side:
    """One side: its peer, and what the model knows of it."""

    def __init__(self, retained_bytes: int) -> None:
        self.retained_bytes = retained_bytes
        self.renew()

    def renew(self) -> None:
        """Forgets the conversation."""
        self.peer: Peer[Call] = Peer(
            calls=1000, message_bytes=MESSAGE_BYTES, retained_bytes=self.retained_bytes
        )
        #: Messages on their way from here.
        self.wire: deque[bytes] = deque()
        #: What has been queued here, and is to be reported there, in order.
        self.queued: deque[tuple[Any, ...]] = deque()
        #: Calls of this side by their numbers.
        self.calls: dict[int, Call] = {}
        #: Calls of the other side that have arrived here and have no answer.
        self.open: list[Call] = []

    def waiting(self) -> list[Call]:
        return [call.context for call in self.peer.open_calls()]


class TwoPeers(RuleBasedStateMachine):
    """Both sides call, answer and stream. The model is what each side has queued."""

    retained_bytes = 1 << 20

    def __init__(self) -> None:
        super().__init__()
        self.sides = (Side(self.retained_bytes), Side(self.retained_bytes))
        self.connected = True
        self.numbers = 0

    # -- what the two sides do

    @rule(side=integers(0, 1), streams=booleans(), size=sampled_from((0, 10, 1000)))
    def call(self, side: int, streams: bool, size: int) -> None:
        one = self.sides[side]
        context = Call(0, b"", streams)
        params = Raw(b'{"x":"%s"}' % (b"x" * size))
        credit = 10 if streams else UNSET
        context.number, context.frame = one.peer.call("/route", params, context, credit=credit)
        one.calls[context.number] = context
        one.queued.append(("call", context.number))

    @precondition(lambda self: self.connected)
    @rule(side=integers(0, 1))
    def call_that_arrives(self, side: int) -> None:
        self.call(side, True, 10)
        self.exchange(side, back=False)

    @precondition(lambda self: self._waiting())
    @rule(data=data())
    def cancel(self, data: Any) -> None:
        self._forget(*data.draw(sampled_from(self._waiting())))

    def _waiting(self) -> list[tuple[Side, Call]]:
        return [(one, call) for one in self.sides for call in one.waiting()]

    def _open(self) -> list[tuple[Side, Call]]:
        return [(one, call) for one in self.sides for call in one.open]

    def _forget(self, one: Side, call: Call) -> None:
        one.peer.forget(call.number, call.frame)
        call.forgotten = True
        if call.sent:
            one.queued.append(("cancel", call.number))
        else:
            one.queued.remove(("call", call.number))

    @precondition(lambda self: self._open())
    @rule(data=data(), fails=booleans())
    def answer(self, data: Any, fails: bool) -> None:
        self._answer(*data.draw(sampled_from(self._open())), fails)

    def _answer(self, one: Side, call: Call, fails: bool) -> None:
        one.open.remove(call)
        assert call.answer is None
        call.answer = "error" if fails else str(call.number)
        if fails:
            one.peer.fail(call.number, FAILED)
        else:
            one.peer.reply(call.number, b"%d" % call.number)
        one.peer.reply(call.number, b'"a second answer"')  # which is ignored
        one.queued.append(("answer", call.number))

    @precondition(lambda self: any(call.streams for _, call in self._open()))
    @rule(data=data(), size=sampled_from((1, 100, 2500)), count=integers(1, 5))
    def send_items(self, data: Any, size: int, count: int) -> None:
        one, call = data.draw(sampled_from([pair for pair in self._open() if pair[1].streams]))
        for _ in range(count):
            self.numbers += 1
            item = b'"%d%s"' % (self.numbers, b"x" * size)
            one.peer.item(call.number, item)
            call.items.append(item)

    @precondition(lambda self: self._waiting())
    @rule(data=data(), n=integers(1, 9))
    def take_more(self, data: Any, n: int) -> None:
        one, call = data.draw(sampled_from(self._waiting()))
        one.peer.take_more(call.number, n)
        one.queued.append(("more", call.number, n))

    @rule(side=integers(0, 1), ready=booleans())
    def tell_ready(self, side: int, ready: bool) -> None:
        self.sides[side].peer.notify(READY, Ready(ready))
        self.sides[side].queued.append(("ready", ready))

    # -- what the network does

    @precondition(lambda self: self.connected)
    @rule(side=integers(0, 1))
    def send(self, side: int) -> None:
        one = self.sides[side]
        messages = one.peer.take_messages()
        assert all(len(message) <= MESSAGE_BYTES for message in messages)
        one.wire.extend(messages)
        for call in one.calls.values():
            call.sent = call.sent or not call.forgotten

    @precondition(lambda self: self.connected)
    @rule(side=integers(0, 1), messages=integers(1, 3), events=integers(0, 40))
    def deliver(self, side: int, messages: int, events: int) -> None:
        """Brings some messages to the other side, which reads some of what is in them."""
        one, other = self.sides[side], self.sides[1 - side]
        for _ in range(min(messages, len(one.wire))):
            other.peer.feed(one.wire.popleft())
        self.read(1 - side, events)

    @rule(side=integers(0, 1), events=integers(1, 40))
    def read(self, side: int, events: int) -> None:
        one, other = self.sides[side], self.sides[1 - side]
        for _ in range(events):
            event = one.peer.next_event()
            if event is None:
                return
            self._check(one, other, event)

    @precondition(lambda self: self.connected)
    @rule(side=integers(0, 1), back=booleans())
    def exchange(self, side: int, back: bool) -> None:
        """A quick network: all that one side has arrives and is read, perhaps both ways."""
        for sender in (side, 1 - side) if back else (side,):
            self.send(sender)
            self.deliver(sender, len(self.sides[sender].wire), 1 << 20)

    @precondition(lambda self: self.connected)
    @rule(arrive=integers(0, 3))
    def cut(self, arrive: int) -> None:
        """Cuts the connection. A few messages still arrive, the rest is lost."""
        for side in (0, 1):
            self.deliver(side, arrive, 0)
            self.sides[side].wire.clear()
        self.connected = False

    @precondition(lambda self: self.connected)
    @rule(arrive=integers(0, 3))
    def blink(self, arrive: int) -> None:
        """Cuts the connection, and there is another one at once."""
        self.cut(arrive)
        self.resume()

    @precondition(lambda self: not self.connected)
    @rule()
    def resume(self) -> None:
        one, other = self.sides
        assert one.peer.resume(other.peer.received)
        assert other.peer.resume(one.peer.received)
        self.connected = True

    @precondition(lambda self: not self.connected)
    @rule(side=integers(0, 1))
    def restart(self, side: int) -> None:
        """One side has lost the conversation. The other one learns which of its calls may have run."""
        one, other = self.sides[side], self.sides[1 - side]
        while (event := other.peer.next_event()) is not None:
            self._check(other, one, event)
        for call in other.peer.abandon():
            assert call.sent == call.context.sent
            assert call.sent or not call.context.arrived
        one.renew()
        other.renew()
        self.connected = True

    # -- the model

    def _check(self, one: Side, other: Side, event: PeerEvent) -> None:
        """Compares an event with what the other side has queued."""
        if isinstance(event, ItemsReceived):
            call = event.context
            call.received += map(bytes, event.items)
            assert call.received == call.items[: len(call.received)]
            assert not call.forgotten
            return
        while other.queued[0][0] == "answer" and one.calls[other.queued[0][1]].forgotten:
            other.queued.popleft()  # it is ignored
        assert self._told(one, other, event) == other.queued.popleft()

    def _told(self, one: Side, other: Side, event: PeerEvent) -> tuple[Any, ...]:
        match event:
            case CallReceived():
                call = other.calls[int(str(event.id))]
                assert not call.arrived
                call.arrived = True
                one.open.append(call)
                return "call", event.id
            case CancelReceived():
                return "cancel", event.id
            case MoreReceived():
                return "more", event.id, event.n
            case ReadyReceived():
                return "ready", event.ready
            case Answered():
                call = event.context
                assert not call.forgotten
                assert call.received == call.items
                assert call.answer == ("error" if event.error is not UNSET else bytes(event.result).decode())
                return "answer", call.number
        raise AssertionError(event)

    @invariant()
    def bytes_are_counted(self) -> None:
        for side in self.sides:
            outbox: Any = side.peer.outbox
            items = sum(len(bytes(item)) for items in outbox.items.values() for item in items)
            assert outbox.pending_bytes == items + sum(map(len, outbox._frames))
            assert outbox._retained_bytes == sum(map(len, outbox._retained))

    def teardown(self) -> None:
        """Brings everything to its end: nothing is lost, and nothing is kept."""
        if not self.connected:
            self.resume()
        self._settle()
        for one in self.sides:
            for call in tuple(one.open):
                self._answer(one, call, fails=False)
        self._settle()
        for one, other in (self.sides, self.sides[::-1]):
            left = [what for what in one.queued if what[0] != "answer" or not other.calls[what[1]].forgotten]
            assert not left
            peer: Any = one.peer
            assert not peer._waiting
            assert not peer._forgotten
            assert not peer._open

    def _settle(self) -> None:
        for _ in range(4):
            for side in (0, 1):
                self.send(side)
                self.deliver(side, len(self.sides[side].wire), 1 << 20)


# Where it fails, Hypothesis looks for a shorter way to the same end, for up to five minutes.
TestTwoPeers = pytest.mark.timeout(400)(TwoPeers.TestCase)
TestTwoPeers.settings = settings(
    max_examples=250,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
