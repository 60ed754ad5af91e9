"""Outgoing half of a conversation: frames become messages, which are retained until they are acknowledged.

Both sides count the messages of a conversation in each direction. After a cut, the messages that the other side has
not received are sent again, so every message arrives exactly once and in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Raw, Struct

from discord_tools.ipc.errors import TooLarge
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.codec import encode, pack
from discord_tools.ipc.wire.frames import ITEM, Frame, Id, Item

__all__ = ("Outbox", "notification")

#: Upper bound of what the frame of an item adds to the item, with the longest of ids.
_ITEM_OVERHEAD: Final = 1024


def _ignore() -> None:
    """Default of :attr:`Outbox.wake`: without a connection, nothing can be sent."""


class Outbox:
    """Queue of what one side sends.

    Parameters
    ----------
    message_bytes: :class:`int`
        The largest message that the other side takes, in bytes.
    retained_bytes: :class:`int`
        Maximum size of the messages that are retained, in bytes. Beyond it the oldest are dropped, and a conversation
        that would need them cannot be resumed.
    """

    def __init__(self, message_bytes: int, retained_bytes: int) -> None:
        self.message_bytes: int = message_bytes
        #: Maximum size of the retained messages, in bytes.
        self._retained_limit = retained_bytes
        #: Called when there is something to send after there was nothing. It must not raise.
        self.wake: Callable[[], None] = _ignore
        #: Bytes that wait to be sent for the first time.
        self.pending_bytes: int = 0
        #: Frames that wait to be sent for the first time, in order.
        self._frames: list[bytes] = []
        #: Items of streams that wait to be put into frames, by the id of their call.
        self.items: dict[Id, list[Raw]] = {}
        #: Messages that are to be sent again, because a connection was cut.
        self._again: list[bytes] = []
        #: Messages that were sent and are not acknowledged, oldest first.
        self._retained: deque[bytes] = deque()
        #: Size of the retained messages, in bytes.
        self._retained_bytes = 0
        #: Number of messages that were sent in this conversation, each counted once.
        self._sent = 0

    @property
    def held_bytes(self) -> int:
        """:class:`int`: Size of what waits to be sent or acknowledged, in bytes."""
        return self.pending_bytes + self._retained_bytes

    @property
    def sent(self) -> int:
        """:class:`int`: Number of messages that were sent in this conversation."""
        return self._sent

    @property
    def item_bytes(self) -> int:
        """:class:`int`: The largest item of a stream that fits into a message, in bytes."""
        return self.message_bytes - _ITEM_OVERHEAD

    def put(self, frame: bytes) -> None:
        """Queues a frame."""
        if not self._frames:
            self.wake()
        self._frames.append(frame)
        self.pending_bytes += len(frame)

    def withdraw(self, frame: bytes) -> None:
        """Takes a frame back that was never sent."""
        self._frames.remove(frame)
        self.pending_bytes -= len(frame)

    def put_item(self, number: Id, item: bytes) -> None:
        """Queues an item of a stream. Items of one turn of the event loop share a frame.

        Raises
        ------
        TooLarge
            The item does not fit into one message.
        """
        if len(item) > self.item_bytes:
            raise TooLarge(f"an item has {len(item)} bytes, the reader takes {self.message_bytes}")
        if not self.items:
            self.wake()
        self.items.setdefault(number, []).append(Raw(item))
        self.pending_bytes += len(item)

    def finish_items(self, number: Id) -> None:
        """Puts the items of a stream that ends into frames: they come before the answer."""
        items = self.items.pop(number, [])
        self.pending_bytes -= sum(len(memoryview(item)) for item in items)  # the frames count instead
        self._frame_items(number, items)

    def take_messages(self) -> list[bytes]:
        """Returns the messages that are to be sent now, and retains them."""
        messages, self._again = self._again, []
        if self.items:
            streams, self.items = self.items, {}
            for number, items in streams.items():
                self._frame_items(number, items)
        if self._frames:
            frames, self._frames = self._frames, []
            self.pending_bytes = 0
            fresh = pack(frames, min(PACK_BYTES, self.message_bytes))
            self._sent += len(fresh)
            for message in fresh:
                self._retained.append(message)
                self._retained_bytes += len(message)
            while self._retained_bytes > self._retained_limit:
                self._retained_bytes -= len(self._retained.popleft())
            messages = messages + fresh if messages else fresh
        return messages

    def acknowledge(self, received: int) -> bool:
        """Drops the first ``received`` messages. Returns whether all that are missing over there are still retained."""
        dropped = self._sent - len(self._retained)
        if not dropped <= received <= self._sent:
            return False
        for _ in range(received - dropped):
            self._retained_bytes -= len(self._retained.popleft())
        return True

    def resume(self, received: int) -> bool:
        """Sends again, over a new connection, what follows the first ``received`` messages.

        Returns
        -------
        :class:`bool`
            ``False`` where some of that is no longer retained. Nothing has changed then.
        """
        if not self.acknowledge(received):
            return False
        self._again = list(self._retained)
        return True

    def clear(self) -> None:
        """Drops everything. The conversation can be neither continued nor resumed."""
        self._frames.clear()
        self.items.clear()
        self._again.clear()
        self._retained.clear()
        self.pending_bytes = self._retained_bytes = 0

    def _frame_items(self, number: Id, items: list[Raw]) -> None:
        limit = min(PACK_BYTES, self.item_bytes)
        start = size = 0
        for end, item in enumerate(items):
            length = len(memoryview(item))
            if size and size + length > limit:
                self._put_frame_of(number, items[start:end])
                start, size = end, 0
            size += length + 1
        if items:
            self._put_frame_of(number, items[start:])

    def _put_frame_of(self, number: Id, items: list[Raw]) -> None:
        # No wake: that was done for the items, and a second sender would overtake the one that takes messages now.
        frame = notification(ITEM, Item(number, items))
        self._frames.append(frame)
        self.pending_bytes += len(frame)


def notification(method: str, params: Struct) -> bytes:
    """Encodes a notification."""
    return encode(Frame("2.0", method=method, params=Raw(encode(params))))
