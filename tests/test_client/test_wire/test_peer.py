from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from msgspec import UNSET, Raw

from discord_tools.ipc import BadData, EncodeError, Overloaded, RequestTooLarge, TooLarge
from discord_tools.ipc.wire.codec import MAX_PACK_BYTES, MAX_VALUES
from discord_tools.ipc.wire.frames import ACK, BYE, CANCEL, ITEM, MORE, READY, ErrorObject, Meta
from discord_tools.ipc.wire.peer import (
    ACK_BYTES,
    ACK_MESSAGES,
    MAX_VIOLATIONS,
    REASON_CHARS,
    OpenCall,
    Peer,
)
from discord_tools.ipc.wire.received import (
    Answered,
    ByeReceived,
    CallReceived,
    CancelReceived,
    ItemsReceived,
    MoreReceived,
    ProtocolViolation,
    ReadyReceived,
)

EMPTY = Raw(b"{}")


def make(calls: int = 16, message_bytes: int = 1 << 20, retained_bytes: int = 1 << 20) -> Peer[str]:
    return Peer(calls=calls, message_bytes=message_bytes, retained_bytes=retained_bytes)


def called(peer: Peer[str], params: Raw = EMPTY, context: str = "context") -> tuple[int, bytes]:
    """Queues a call."""
    return peer.call("stats", params, context)


def events_of(peer: Peer[str]) -> list[Any]:
    """All events of what was fed."""
    return list(iter(peer.next_event, None))


def waiting_of(peer: Peer[str]) -> list[str]:
    """The contexts of all calls that wait for an answer."""
    return [call.context for call in peer.open_calls()]


def sent(peer: Peer[str]) -> list[dict[str, Any]]:
    """What the peer has to send, frame by frame."""
    messages = [json.loads(message) for message in peer.take_messages()]
    return [frame for m in messages for frame in (m if isinstance(m, list) else [m])]


def fed(peer: Peer[str], *frames: dict[str, Any]) -> list[Any]:
    """Feeds frames in one message and returns what happened."""
    peer.feed(json.dumps([{"jsonrpc": "2.0", **frame} for frame in frames]))
    return events_of(peer)


def violation(events: list[Any]) -> str:
    (event,) = events
    assert isinstance(event, ProtocolViolation)
    return event.reason


# -- calls of this side


def test_a_call_goes_out_as_json_rpc() -> None:
    peer = make()
    frame = b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{"x":1}}'
    assert called(peer, Raw(b'{"x":1}')) == (1, frame)
    assert peer.take_messages() == [frame]


def test_a_call_may_carry_headers_credit_and_a_timeout() -> None:
    peer = make()
    peer.call("stats", EMPTY, "context", headers={"trace": "1"}, credit=3, meta=Meta(1.5))
    (frame,) = sent(peer)
    assert (frame["headers"], frame["credit"], frame["meta"]) == ({"trace": "1"}, 3, {"timeout": 1.5})


def test_calls_of_one_turn_share_a_message() -> None:
    peer = make()
    peer.call("one", EMPTY, "context")
    peer.call("two", EMPTY, "context")
    (message,) = peer.take_messages()
    assert [frame["method"] for frame in json.loads(message)] == ["one", "two"]


def test_a_pack_stays_within_what_the_other_side_takes() -> None:
    peer = make(message_bytes=200)
    for _ in range(20):
        called(peer)
    messages = peer.take_messages()
    assert max(map(len, messages)) <= 200
    assert sum(len(json.loads(message)) for message in messages) == 20


def test_what_was_taken_is_not_sent_again_on_the_same_connection() -> None:
    peer = make()
    called(peer)
    assert peer.outbox.pending_bytes == len(peer.take_messages()[0])
    assert peer.take_messages() == []
    assert peer.outbox.pending_bytes == 0


def test_each_call_gets_its_own_answer_in_any_order() -> None:
    peer = make()
    for context in "abc":
        called(peer, context=context)
    events = fed(peer, {"id": 3, "result": "C"}, {"id": 1, "result": "A"})
    assert [(event.context, event.result) for event in events] == [("c", Raw(b'"C"')), ("a", Raw(b'"A"'))]
    assert waiting_of(peer) == ["b"]


def test_a_call_that_is_answered_before_it_was_sent_is_answered() -> None:
    peer = make()
    called(peer)
    assert fed(peer, {"id": 1, "result": 1}) == [Answered("context", Raw(b"1"), UNSET)]
    assert peer.abandon() == []


def test_an_error_is_an_answer() -> None:
    peer = make()
    called(peer)
    (event,) = fed(peer, {"id": 1, "error": {"code": 404, "message": "no", "data": [1]}})
    assert event == Answered("context", Raw(b"null"), ErrorObject(404, "no", Raw(b"[1]")))


def test_an_answer_without_a_result_is_null() -> None:
    peer = make()
    called(peer)
    assert fed(peer, {"id": 1}) == [Answered("context", Raw(b"null"), UNSET)]


def test_a_call_over_the_limit_is_refused_and_leaves_nothing_behind() -> None:
    peer = make(message_bytes=100)
    with pytest.raises(RequestTooLarge) as caught:
        called(peer, Raw(b'"' + b"x" * 100 + b'"'))
    size = len(b'{"jsonrpc":"2.0","id":1,"method":"stats","params":""}') + 100
    assert (caught.value.endpoint, caught.value.size, caught.value.limit) == ("stats", size, 100)
    assert (peer.take_messages(), waiting_of(peer), peer.outbox.pending_bytes) == ([], [], 0)
    assert called(peer)[0] == 1


def test_a_call_as_large_as_the_limit_goes_out() -> None:
    size = len(b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{}}')
    called(make(message_bytes=size))
    with pytest.raises(RequestTooLarge):
        called(make(message_bytes=size - 1))


def test_a_call_that_cannot_be_encoded_leaves_nothing_behind() -> None:
    peer = make()
    with pytest.raises(EncodeError):
        peer.call("\ud800", EMPTY, "context")
    assert (peer.take_messages(), waiting_of(peer)) == ([], [])


def test_forgetting_a_call_cancels_it_there() -> None:
    peer = make()
    number, frame = called(peer)
    sent(peer)
    peer.forget(number, frame)
    assert sent(peer) == [{"jsonrpc": "2.0", "method": CANCEL, "params": {"id": number}}]
    assert waiting_of(peer) == []


def test_forgetting_a_call_that_was_not_sent_takes_it_back() -> None:
    peer = make()
    first, second, third = (called(peer) for _ in range(3))
    peer.forget(*second)
    assert peer.outbox.pending_bytes == len(first[1]) + len(third[1])
    assert [frame["id"] for frame in sent(peer)] == [first[0], third[0]]
    assert peer.outbox.pending_bytes == 0
    assert "belongs to no call" in violation(fed(peer, {"id": second[0], "result": 1}))


@pytest.mark.parametrize("answer", [{"result": 1}, {"error": {"code": -32006, "message": "cancelled"}}])
def test_the_late_answer_to_a_forgotten_call_is_ignored_once(answer: dict[str, Any]) -> None:
    peer = make()
    call = called(peer)
    sent(peer)
    peer.forget(*call)
    sent(peer)
    assert fed(peer, {"id": 1, **answer}) == []
    assert "belongs to no call" in violation(fed(peer, {"id": 1, **answer}))


def test_forgetting_an_answered_call_sends_nothing() -> None:
    peer = make()
    call = called(peer)
    sent(peer)
    fed(peer, {"id": call[0], "result": 1})
    peer.forget(*call)
    assert sent(peer) == []


def test_abandoning_returns_the_open_calls_once_with_whether_they_were_sent() -> None:
    peer = make()
    calls = {context: called(peer, context=context) for context in "abc"}
    sent(peer)
    calls |= {context: called(peer, context=context) for context in "def"}
    peer.forget(*calls["b"])
    peer.forget(*calls["e"])
    fed(peer, {"id": 1, "result": 1})
    open_calls = [OpenCall(3, "c", True), OpenCall(4, "d", False), OpenCall(6, "f", False)]
    assert peer.open_calls() == open_calls
    assert peer.abandon() == open_calls
    assert peer.abandon() == []


def test_closing_is_announced() -> None:
    peer = make()
    peer.bye("enough")
    assert sent(peer) == [{"jsonrpc": "2.0", "method": BYE, "params": {"reason": "enough"}}]


# -- calls of the other side


def test_a_call_is_received_with_all_members() -> None:
    members = {"params": {"a": 1}, "headers": {"h": 2}, "credit": 3, "meta": {"timeout": 4}}
    assert fed(make(), {"id": "x", "method": "stats", **members}) == [
        CallReceived("x", "stats", Raw(b'{"a": 1}'), {"h": 2}, 3, Meta(4))
    ]


def test_a_call_without_parameters_is_received_without() -> None:
    assert fed(make(), {"id": 1, "method": "stats"}) == [CallReceived(1, "stats", UNSET, UNSET, UNSET, UNSET)]


def test_a_reply_goes_out_once() -> None:
    peer = make()
    fed(peer, {"id": 1, "method": "stats"})
    peer.reply(1, b"[1]")
    peer.reply(1, b"[2]")
    peer.fail(1, ErrorObject(1, "no"))
    assert sent(peer) == [{"jsonrpc": "2.0", "id": 1, "result": [1]}]


def test_a_failure_goes_out_once() -> None:
    peer = make()
    fed(peer, {"id": 1, "method": "stats"})
    peer.fail(1, ErrorObject(404, "no"))
    peer.reply(1, b"[2]")
    assert sent(peer) == [{"jsonrpc": "2.0", "id": 1, "error": {"code": 404, "message": "no"}}]


def test_a_reply_over_the_limit_leaves_the_call_open_for_an_error() -> None:
    peer = make(message_bytes=100)
    fed(peer, {"id": 1, "method": "stats"})
    with pytest.raises(TooLarge, match="the caller takes 100"):
        peer.reply(1, b'"' + b"x" * 100 + b'"')
    peer.fail(1, ErrorObject(TooLarge.code, "too large"))
    assert [frame["error"]["code"] for frame in sent(peer)] == [TooLarge.code]


def test_an_error_over_the_limit_leaves_the_call_open_for_another_one() -> None:
    peer = make(message_bytes=100)
    fed(peer, {"id": 1, "method": "stats"})
    with pytest.raises(TooLarge, match="the caller takes 100"):
        peer.fail(1, ErrorObject(1, "x" * 100))
    peer.fail(1, ErrorObject(TooLarge.code, "too large"))
    assert [frame["error"]["code"] for frame in sent(peer)] == [TooLarge.code]


def test_calls_over_the_limit_are_answered_as_overload() -> None:
    peer = make(calls=2)
    events = fed(peer, *({"id": number, "method": "stats"} for number in (1, 2, 3)))
    assert [event.id for event in events] == [1, 2]
    (answer,) = sent(peer)
    assert (answer["id"], answer["error"]["code"]) == (3, Overloaded.code)


def test_an_answered_call_makes_room_for_another_one() -> None:
    peer = make(calls=1)
    fed(peer, {"id": 1, "method": "stats"})
    peer.reply(1, b"1")
    assert fed(peer, {"id": 1, "method": "stats"}) == [CallReceived(1, "stats", UNSET, UNSET, UNSET, UNSET)]


def test_the_id_of_an_open_call_cannot_be_used_again_and_its_answer_is_not_confused() -> None:
    peer = make()
    fed(peer, {"id": 1, "method": "stats"})
    assert "still open" in violation(fed(peer, {"id": 1, "method": "stats"}))
    peer.reply(1, b"1")
    complaint, answer = sent(peer)
    assert (complaint["id"], complaint["error"]["code"]) == (None, -32600)
    assert answer == {"jsonrpc": "2.0", "id": 1, "result": 1}


def test_a_null_id_is_a_call_like_any_other() -> None:
    peer = make()
    fed(peer, {"id": None, "method": "stats"})
    peer.reply(None, b"1")
    assert sent(peer) == [{"jsonrpc": "2.0", "id": None, "result": 1}]


# -- notifications


def test_a_cancellation_is_received() -> None:
    assert fed(make(), {"method": CANCEL, "params": {"id": "x"}}) == [CancelReceived("x")]


def test_a_bye_is_received() -> None:
    assert fed(make(), {"method": BYE, "params": {"reason": "enough"}}) == [ByeReceived("enough")]


def test_more_credit_and_readiness_are_received() -> None:
    assert fed(make(), {"method": MORE, "params": {"id": "x", "n": 3}}) == [MoreReceived("x", 3)]
    assert fed(make(), {"method": READY, "params": {"ready": True}}) == [ReadyReceived(True)]


@pytest.mark.parametrize("method", [CANCEL, BYE, ITEM, MORE, READY, ACK])
@pytest.mark.parametrize("params", [{}, {"params": []}, {"params": {"id": [], "reason": []}}])
def test_a_notification_with_bad_parameters_is_a_violation(method: str, params: dict[str, Any]) -> None:
    assert f"bad parameters of {method}" in violation(fed(make(), {"method": method, **params}))


def test_a_notification_that_is_not_utf_8_is_a_violation() -> None:
    peer = make()
    peer.feed(b'{"jsonrpc":"2.0","method":"rpc.bye","params":{"reason":"\xff"}}')
    assert f"bad parameters of {BYE}" in violation(events_of(peer))


@pytest.mark.parametrize("method", ["rpc.later", "stats"])
def test_an_unknown_notification_is_ignored_without_an_answer(method: str) -> None:
    peer = make()
    assert fed(peer, {"method": method}) == []
    assert sent(peer) == []


# -- streams


def test_items_are_received_for_the_call_that_waits_and_ignored_for_others() -> None:
    peer = make()
    called(peer)
    frames = [{"method": ITEM, "params": {"id": number, "items": [1, "2"]}} for number in (1, 2)]
    assert fed(peer, *frames) == [ItemsReceived("context", [Raw(b"1"), Raw(b'"2"')])]


def test_items_of_one_turn_travel_together_and_before_the_answer() -> None:
    peer = make()
    fed(peer, {"id": 7, "method": "stats", "credit": 10})
    for item in (b"1", b"2"):
        peer.item(7, item)
    assert [frame["params"] for frame in sent(peer)] == [{"id": 7, "items": [1, 2]}]
    peer.item(7, b"3")
    peer.reply(7, b"null")
    items, answer = sent(peer)
    assert (items["params"], answer["id"]) == ({"id": 7, "items": [3]}, 7)
    peer.item(7, b"4")
    assert sent(peer) == []


def test_an_item_over_the_limit_is_refused_and_the_largest_one_fits() -> None:
    peer = make(message_bytes=5000)
    fed(peer, {"id": 7, "method": "stats", "credit": 10})
    with pytest.raises(TooLarge, match="the reader takes 5000"):
        peer.item(7, b"1" * (peer.outbox.item_bytes + 1))
    for _ in range(2):
        peer.item(7, b"1" * peer.outbox.item_bytes)
    messages = peer.take_messages()
    assert len(messages) == 2
    assert max(map(len, messages)) <= 5000


def test_credit_is_only_granted_while_the_call_waits() -> None:
    peer = make()
    called(peer)
    sent(peer)
    peer.take_more(1, 5)
    assert [frame["params"] for frame in sent(peer)] == [{"id": 1, "n": 5}]
    fed(peer, {"id": 1, "result": None})
    peer.take_more(1, 5)
    assert sent(peer) == []


# -- acknowledging, and going on after a cut


def test_messages_are_acknowledged_now_and_then() -> None:
    peer = make()
    for _ in range(ACK_MESSAGES - 1):
        fed(peer, {"method": "rpc.later"})
    assert sent(peer) == []
    fed(peer, {"method": "rpc.later"})
    assert sent(peer) == [{"jsonrpc": "2.0", "method": ACK, "params": {"received": ACK_MESSAGES}}]


def test_a_large_message_is_acknowledged_at_once() -> None:
    peer = make()
    fed(peer, {"method": "rpc.later", "params": "x" * ACK_BYTES})
    assert [frame["params"] for frame in sent(peer)] == [{"received": 1}]


def test_what_was_not_received_is_sent_again_in_order_and_before_what_is_new() -> None:
    peer = make()
    messages: list[bytes] = []
    for _ in range(4):
        called(peer)
        messages += peer.take_messages()
    fed(peer, {"method": ACK, "params": {"received": 1}})
    called(peer)
    assert peer.resume(2)
    *again, new = peer.take_messages()
    assert again == messages[2:]
    assert json.loads(new)["id"] == 5
    assert peer.take_messages() == []
    assert peer.resume(5)
    assert peer.take_messages() == []


@pytest.mark.parametrize("received", [-1, 0, 3])
def test_a_peer_is_not_resumed_where_messages_are_missing(received: int) -> None:
    peer = make()
    for _ in range(2):
        called(peer)
        peer.take_messages()
    fed(peer, {"method": ACK, "params": {"received": 1}})
    assert not peer.resume(received)


def test_no_more_is_retained_than_the_limit() -> None:
    size = len(b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{}}')
    for received, goes_on in ((1, False), (2, True)):
        peer = make(retained_bytes=2 * size)
        for _ in range(4):
            called(peer)
            peer.take_messages()
        # An acknowledgement that is older than what was dropped is no violation.
        assert fed(peer, {"method": ACK, "params": {"received": 1}}) == []
        assert peer.resume(received) == goes_on


@pytest.mark.parametrize("received", [-1, 1])
def test_acknowledging_what_was_never_sent_is_a_violation(received: int) -> None:
    assert "cannot have been received" in violation(
        fed(make(), {"method": ACK, "params": {"received": received}})
    )


# -- violations


@pytest.mark.parametrize(
    ("message", "code", "about"),
    [
        (b"nonsense", -32700, None),
        (b"5", -32600, None),
        (b'{"jsonrpc":"2.0","id":7,"method":5}', -32600, 7),
        (b'{"jsonrpc":"1.0","id":7,"method":"stats"}', -32600, 7),
        (b'{"id":7,"method":"stats"}', -32600, 7),
        (b'{"method":"stats"}', -32600, None),
        (b'{"jsonrpc":"2.0"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":7}', -32600, 7),
        (b'{"jsonrpc":"2.0","id":7,"result":1}', -32600, None),
    ],
)
def test_a_violation_is_reported_and_answered(message: bytes, code: int, about: int | None) -> None:
    peer = make()
    peer.feed(message)
    assert violation(events_of(peer))
    (answer,) = sent(peer)
    assert (answer["id"], answer["error"]["code"]) == (about, code)


@pytest.mark.parametrize(
    "frame",
    [
        {"id": None, "error": {"code": -32600, "message": "you are wrong"}},
        {"error": {"code": -32600, "message": "you are wrong"}},
        {"id": 7, "error": {"code": -32600, "message": "you are wrong"}},
        {"id": None, "result": 1},
    ],
)
def test_a_complaint_is_not_answered_since_that_could_go_on_endlessly(frame: dict[str, Any]) -> None:
    peer = make()
    assert violation(fed(peer, frame))
    assert sent(peer) == []


def test_two_peers_that_misunderstand_each_other_stop_complaining() -> None:
    one, two = make(), make()
    one.feed(b"nonsense")
    happened = events_of(one)
    for _ in range(10):
        for message in one.take_messages():
            two.feed(message)
        happened += events_of(two)
        for message in two.take_messages():
            one.feed(message)
        happened += events_of(one)
    assert len(happened) == 2


def test_a_violation_under_the_id_of_an_open_call_does_not_answer_it() -> None:
    peer = make()
    fed(peer, {"id": 7, "method": "stats"})
    fed(peer, {"id": 7, "method": 5})
    assert [frame["id"] for frame in sent(peer)] == [None]


def test_too_many_violations_are_fatal() -> None:
    peer = make()
    fatal = [fed(peer, {"id": number, "result": 1})[0].fatal for number in range(1, MAX_VIOLATIONS + 1)]
    assert fatal == [False] * (MAX_VIOLATIONS - 1) + [True]


def test_a_pack_of_100_000_violations_costs_no_more_than_16() -> None:
    peer = make()
    peer.feed(b"[" + b",".join([b"1"] * 100_000) + b"]")
    assert len(events_of(peer)) == MAX_VIOLATIONS
    assert len(sent(peer)) == MAX_VIOLATIONS


@pytest.mark.parametrize("bad", [b"1", b'{"jsonrpc":"1.0"}', b'{"method":5}'], ids=bytes.decode)
def test_what_follows_the_fatal_violation_in_a_pack_is_not_decoded(bad: bytes) -> None:
    # Its id would be copied.
    size = 400_000
    last = b'{"jsonrpc":"2.0","method":5,"id":"' + b"x" * size + b'"}'
    message = b"[" + b",".join([bad] * MAX_VIOLATIONS + [last]) + b"]"
    peer = make()
    tracemalloc.start()
    try:
        peer.feed(message)
        assert [event.fatal for event in events_of(peer)] == [False] * (MAX_VIOLATIONS - 1) + [True]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size // 2


def test_an_array_over_the_largest_pack_is_one_violation_and_runs_no_call_in_it() -> None:
    peer = make()
    call = b'{"jsonrpc":"2.0","id":1,"method":"stats"}'
    peer.feed(b"[" + b",".join([call] * (MAX_PACK_BYTES // len(call))) + b"]")
    assert violation(events_of(peer)).startswith("the message cannot be read: an array of frames may have")
    (answer,) = (frame for frame in sent(peer) if frame.get("method") != ACK)
    assert (answer["id"], answer["error"]["code"]) == (None, -32700)


def test_good_frames_before_and_after_a_bad_one_are_read_in_their_order() -> None:
    peer = make()
    calls = [b'{"jsonrpc":"2.0","id":%d,"method":"stats"}' % number for number in range(3)]
    peer.feed(b"[" + b",5,".join(calls) + b"]")
    events = [type(event) for event in events_of(peer)]
    assert events == [CallReceived, ProtocolViolation, CallReceived, ProtocolViolation, CallReceived]


def test_nothing_is_read_after_a_fatal_violation() -> None:
    peer = make()
    for _ in range(MAX_VIOLATIONS):
        peer.feed(b"nonsense")
    events_of(peer)
    sent(peer)
    assert fed(peer, {"id": 1, "method": "stats"}) == []
    assert sent(peer) == []


def test_the_reason_of_a_violation_is_short_even_if_the_other_side_wrote_much() -> None:
    peer = make()
    long = "x" * 100_000
    reasons = [
        violation(fed(peer, {"id": long, "result": 1})),
        violation(fed(peer, {"id": None, "error": {"code": 1, "message": long}})),
    ]
    assert {len(reason) for reason in reasons} == {REASON_CHARS}
    assert peer.outbox.pending_bytes < 2 * REASON_CHARS


# -- calls that are not decoded


CROWDED = [[]] * MAX_VALUES


def test_a_call_with_too_many_values_is_answered_and_is_no_violation() -> None:
    peer: Peer[str] = Peer(calls=1, message_bytes=1 << 20, retained_bytes=1 << 20, trusted=False)
    for number in range(2 * MAX_VIOLATIONS):
        call = {"jsonrpc": "2.0", "id": number, "method": "a", "params": {"x": CROWDED}}
        peer.feed(json.dumps(call, separators=(",", ":")))
        assert events_of(peer) == []
        (answer,) = (frame for frame in sent(peer) if "id" in frame)
        assert (answer["id"], answer["error"]["code"]) == (number, BadData.code)
        assert "send them in several requests" in answer["error"]["message"]
    assert peer.received == 2 * MAX_VIOLATIONS


def test_a_notification_with_too_many_values_is_a_violation() -> None:
    peer: Peer[str] = Peer(calls=1, message_bytes=1 << 20, retained_bytes=1 << 20, trusted=False)
    peer.feed(json.dumps({"jsonrpc": "2.0", "method": CANCEL, "params": {"id": 1, "x": CROWDED}}))
    assert "values" in violation(events_of(peer))


def test_an_answer_may_have_any_number_of_values() -> None:
    peer = make()
    called(peer)
    peer.feed(json.dumps({"jsonrpc": "2.0", "id": 1, "result": CROWDED}))
    (event,) = events_of(peer)
    assert isinstance(event, Answered)
    assert json.loads(bytes(event.result)) == CROWDED
