"""A peer that is fed anything, between calls, answers, cuts and resumes of its own side."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from discord_tools.ipc.errors import TooLarge
from discord_tools.ipc.wire.codec import decode, decode_one
from discord_tools.ipc.wire.frames import ACK, CANCEL, ITEM, MORE, READY, ErrorObject, Frame, Ready
from discord_tools.ipc.wire.peer import MAX_VIOLATIONS, Peer
from discord_tools.ipc.wire.received import (
    Answered,
    CallReceived,
    ItemsReceived,
    PeerEvent,
    ProtocolViolation,
)

__all__ = ("peer",)

CALLS: Final = 4
METHODS: Final = (ITEM, MORE, ACK, CANCEL, READY, "rpc.clock", "rpc.bye", "/route")

#: Bytes that a violation may cost in the answer.
VIOLATION_BYTES: Final = 4096


def peer(data: bytes) -> None:
    """Each byte chooses what happens; those that feed something are followed by its length and the bytes."""
    script = _Script()
    position = 0
    while position < len(data):
        step = data[position]
        position += 1
        if step % 8 < 3:
            length = data[position] + 256 * (step // 128) if position < len(data) else 0
            position += 1
            script.feed(step % 8, data[position : position + length])
            position += length
        else:
            script.act(step % 8, step // 8)
    script.finish()


class _Script:
    """One peer, and what was noted of it."""

    def __init__(self) -> None:
        self.peer: Peer[list[Any]] = Peer(calls=CALLS, message_bytes=4096, retained_bytes=1 << 16)
        #: Bytes that were fed.
        self.fed = 0
        #: Violations that were reported.
        self.violations = 0
        #: Calls of the other side that have no answer, by their ids.
        self.open: list[Any] = []
        #: Calls of this side: their number, frame, and whether they were answered.
        self.calls: list[list[Any]] = []

    def feed(self, kind: int, data: bytes) -> None:
        if kind == 1:
            # Something that is nearly a frame, which is where the depths are.
            method, number = METHODS[len(data) % len(METHODS)], len(data) % 5
            data = b'{"jsonrpc":"2.0","method":"%s","id":%d,"params":%s}' % (method.encode(), number, data)
        elif kind == 2:
            method = METHODS[len(data) % len(METHODS)]
            data = b'{"jsonrpc":"2.0","method":"%s","params":%s}' % (method.encode(), data)
        self.fed += len(data)
        self.peer.feed(data.decode(errors="replace") if kind == 0 and len(data) % 2 else data)
        self.read()

    def read(self) -> None:
        while (event := self.peer.next_event()) is not None:
            self.take(event)

    def take(self, event: PeerEvent) -> None:
        if isinstance(event, ProtocolViolation):
            self.violations += 1
            assert self.violations <= MAX_VIOLATIONS
            assert event.fatal == (self.violations == MAX_VIOLATIONS)
            return
        assert self.violations < MAX_VIOLATIONS, "an event after a fatal violation"
        if isinstance(event, CallReceived):
            assert not any(number == event.id for number in self.open), "a call whose id is open"
            self.open.append(event.id)
            assert len(self.open) <= CALLS
        elif isinstance(event, Answered):
            assert not event.context[2], "a second answer"
            event.context[2] = True
        elif isinstance(event, ItemsReceived):
            assert not event.context[2], "an item after the answer"

    def act(self, kind: int, choice: int) -> None:
        peer_ = self.peer
        if kind == 3:
            call: list[Any] = [0, b"", False]
            call[:2] = peer_.call("/route", Raw(b"{}"), call, credit=3)
            self.calls.append(call)
        elif kind == 4 and self.calls:
            call = self.calls[choice % len(self.calls)]
            peer_.forget(call[0], call[1])
            call[2] = True
        elif kind == 5 and self.open:
            self.answer(self.open.pop(choice % len(self.open)), choice)
        elif kind == 6:
            self.take_messages()
        else:
            peer_.notify(READY, Ready(True))
            self.take_messages()
            peer_.resume(choice)

    def answer(self, number: Any, choice: int) -> None:
        try:
            self.peer.item(number, b"1")
            if choice % 2:
                self.peer.reply(number, b"null")
            else:
                self.peer.fail(number, ErrorObject(1, "no"))
        except TooLarge:
            self.open.append(number)  # an id as long as a message

    def take_messages(self) -> None:
        for message in self.peer.take_messages():
            for element in decode(message):
                frame = decode_one(element) if isinstance(element, Raw) else element
                assert isinstance(frame, Frame), "what is sent can be read"

    def finish(self) -> None:
        outbox: Any = self.peer.outbox
        held = outbox.held_bytes + sum(map(len, outbox._again))
        assert held <= (1 << 17) + 8 * self.fed + VIOLATION_BYTES * MAX_VIOLATIONS + 200 * len(self.calls)
        self.take_messages()
        if self.violations >= MAX_VIOLATIONS:
            self.peer.feed(b'{"jsonrpc":"2.0","id":9,"method":"/route"}')
            assert self.peer.next_event() is None
