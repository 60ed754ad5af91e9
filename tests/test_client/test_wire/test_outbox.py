from __future__ import annotations

import json
from typing import Any

import pytest

from discord_tools.ipc import TooLarge
from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.frames import ITEM, More
from discord_tools.ipc.wire.outbox import Outbox, notification


def make(message_bytes: int = 1 << 20, retained_bytes: int = 1 << 20) -> Outbox:
    return Outbox(message_bytes, retained_bytes)


def frames(messages: list[bytes]) -> list[Any]:
    """The frames of messages, one by one."""
    whole = [json.loads(message) for message in messages]
    return [frame for message in whole for frame in (message if isinstance(message, list) else [message])]


def fill(outbox: Outbox, number: int, size: int = 1) -> list[bytes]:
    """Sends that number of messages and returns them."""
    sent: list[bytes] = []
    for digit in range(number):
        outbox.put(b"%d" % (digit % 10) * size)
        sent += outbox.take_messages()
    return sent


# -- frames


def test_frames_of_one_turn_share_a_message_in_their_order() -> None:
    outbox = make()
    for frame in (b"1", b"2", b"3"):
        outbox.put(frame)
    assert outbox.pending_bytes == 3
    assert outbox.take_messages() == [b"[1,2,3]"]
    assert (outbox.pending_bytes, outbox.sent) == (0, 1)
    assert outbox.take_messages() == []
    assert outbox.sent == 1


@pytest.mark.parametrize("limit", [PACK_BYTES // 2, PACK_BYTES, PACK_BYTES * 4])
def test_messages_are_no_larger_than_a_pack_and_than_the_other_side_takes(limit: int) -> None:
    outbox = make(limit)
    frame = b'"' + b"1" * (PACK_BYTES // 10) + b'"'
    for _ in range(100):
        outbox.put(frame)
    messages = outbox.take_messages()
    assert max(map(len, messages)) <= min(limit, PACK_BYTES)
    assert frames(messages) == [json.loads(frame)] * 100
    assert outbox.sent == len(messages)


def test_a_frame_that_is_withdrawn_is_not_sent() -> None:
    outbox = make()
    for frame in (b"1", b"22", b"3"):
        outbox.put(frame)
    outbox.withdraw(b"22")
    assert outbox.pending_bytes == 2
    assert outbox.take_messages() == [b"[1,3]"]


def test_a_change_of_the_largest_message_counts_for_what_is_sent_afterwards() -> None:
    outbox = make(1000)
    outbox.put(b"1" * 40)
    outbox.put(b"2" * 40)
    outbox.message_bytes = 50
    assert outbox.take_messages() == [b"1" * 40, b"2" * 40]


# -- waking


def test_wake_is_called_when_something_is_to_be_sent_after_nothing_was() -> None:
    outbox = make()
    calls: list[int] = []
    outbox.wake = lambda: calls.append(1)
    outbox.put(b"1")
    outbox.put(b"2")
    assert len(calls) == 1
    outbox.take_messages()
    assert len(calls) == 1
    outbox.put(b"3")
    assert len(calls) == 2


def test_wake_is_called_for_items_and_not_by_taking_them() -> None:
    outbox = make()
    calls: list[int] = []
    outbox.wake = lambda: calls.append(1)
    outbox.put_item(7, b"1")
    outbox.put_item(7, b"2")
    outbox.put_item(8, b"3")
    assert len(calls) == 1
    assert outbox.take_messages()
    assert len(calls) == 1


# -- items of streams


def test_items_of_one_turn_share_a_frame_for_each_stream() -> None:
    outbox = make()
    for number, item in ((7, b"1"), ("x", b'"a"'), (7, b"[2]")):
        outbox.put_item(number, item)
    assert outbox.pending_bytes == 7
    sent = frames(outbox.take_messages())
    assert [frame["method"] for frame in sent] == [ITEM, ITEM]
    assert [frame["params"] for frame in sent] == [{"id": 7, "items": [1, [2]]}, {"id": "x", "items": ["a"]}]
    assert (outbox.pending_bytes, outbox.items) == (0, {})


def test_items_of_a_stream_that_is_finished_precede_what_is_queued_afterwards() -> None:
    outbox = make()
    outbox.put_item(7, b"1")
    outbox.put_item(8, b"2")
    outbox.finish_items(7)
    outbox.put(b'"answer"')
    outbox.finish_items(9)
    first, second, third = frames(outbox.take_messages())
    assert (first["params"], second) == ({"id": 7, "items": [1]}, "answer")
    assert third["params"] == {"id": 8, "items": [2]}


def test_the_items_of_a_stream_that_is_finished_count_once() -> None:
    outbox = make()
    outbox.put_item(7, b"1" * 1000)
    outbox.put_item(8, b"2" * 1000)
    outbox.finish_items(7)
    assert 2000 < outbox.pending_bytes < 2100
    outbox.take_messages()
    assert outbox.pending_bytes == 0


def test_an_item_over_the_limit_is_refused_and_nothing_is_queued() -> None:
    outbox = make(5000)
    with pytest.raises(TooLarge, match=f"an item has {outbox.item_bytes + 1} bytes, the reader takes 5000"):
        outbox.put_item(7, b"1" * (outbox.item_bytes + 1))
    assert (outbox.take_messages(), outbox.pending_bytes) == ([], 0)


def test_items_that_do_not_fit_into_one_message_share_as_few_as_possible() -> None:
    outbox = make(5000)
    items = [b"%d" % (10**998 + number) for number in range(20)]
    for item in items:
        outbox.put_item("x" * 500, item)
    messages = outbox.take_messages()
    assert max(map(len, messages)) <= 5000
    assert [item for frame in frames(messages) for item in frame["params"]["items"]] == [
        int(item) for item in items
    ]
    assert len(messages) == 7  # 3 items of 999 bytes fit beside the frame around them


def test_small_items_stay_within_the_limit_with_what_separates_them() -> None:
    outbox = make(5000)
    for _ in range(10_000):
        outbox.put_item(7, b"1")
    messages = outbox.take_messages()
    assert max(map(len, messages)) <= 5000
    assert sum(len(frame["params"]["items"]) for frame in frames(messages)) == 10_000


# -- acknowledging and resuming


def test_everything_is_sent_again_until_it_is_acknowledged() -> None:
    outbox = make()
    sent = fill(outbox, 5)
    assert outbox.acknowledge(2)
    for received in (2, 3, 3):
        assert outbox.resume(received)
        assert outbox.take_messages() == sent[received:]
    assert outbox.sent == 5


def test_what_is_sent_again_precedes_what_is_new_and_is_not_packed_again() -> None:
    outbox = make()
    sent = fill(outbox, 3)
    outbox.put(b"7")
    outbox.put(b"8")
    assert outbox.resume(1)
    assert outbox.take_messages() == [*sent[1:], b"[7,8]"]
    assert outbox.sent == 4


def test_a_cut_while_messages_are_being_sent_again_repeats_none_and_loses_none() -> None:
    outbox = make()
    sent = fill(outbox, 4)
    assert outbox.resume(1)
    assert outbox.resume(2)  # another connection, before anything was taken for the first one
    assert outbox.take_messages() == sent[2:]
    assert outbox.take_messages() == []


@pytest.mark.parametrize("received", [-1, 1, 5])
def test_a_number_that_cannot_be_resumed_from_changes_nothing(received: int) -> None:
    outbox = make()
    sent = fill(outbox, 4)
    assert outbox.acknowledge(2)
    assert not outbox.resume(received)
    assert not outbox.acknowledge(received)
    assert outbox.take_messages() == []
    assert outbox.resume(2)
    assert outbox.take_messages() == sent[2:]


def test_the_oldest_messages_are_dropped_beyond_the_retained_size() -> None:
    outbox = make(retained_bytes=9)
    sent = fill(outbox, 6, size=3)
    assert not outbox.resume(2)
    assert outbox.resume(3)
    assert outbox.take_messages() == sent[3:]


def test_acknowledged_messages_do_not_count_as_retained() -> None:
    outbox = make(retained_bytes=10)
    fill(outbox, 3, size=3)
    assert outbox.acknowledge(3)
    sent = fill(outbox, 3, size=3)
    assert outbox.resume(3)
    assert outbox.take_messages() == sent


def test_a_message_beyond_the_retained_size_is_sent_and_not_retained() -> None:
    outbox = make(retained_bytes=10)
    assert fill(outbox, 1, size=11) == [b"0" * 11]
    assert not outbox.resume(0)
    assert outbox.resume(1)
    assert outbox.take_messages() == []


def test_a_notification_is_a_frame_without_an_id() -> None:
    assert json.loads(notification("rpc.more", More(7, 3))) == {
        "jsonrpc": "2.0",
        "method": "rpc.more",
        "params": {"id": 7, "n": 3},
    }
