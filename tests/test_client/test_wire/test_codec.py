from __future__ import annotations

import json
from itertools import pairwise

import pytest
from msgspec import UNSET, Raw

from discord_tools.ipc.limits import PACK_BYTES
from discord_tools.ipc.wire.codec import (
    MAX_PACK_BYTES,
    MAX_VALUES,
    Malformed,
    Refused,
    Unreadable,
    count_values,
    decode,
    decode_one,
    encode,
    pack,
    too_many_values,
)
from discord_tools.ipc.wire.frames import ErrorObject, Frame

CALL = b'{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":1}}'
DEEP = 100_000


def elements(message: bytes) -> list[Frame | Malformed | Refused]:
    """All elements of a message, each decoded."""
    return [decode_one(one) if isinstance(one, Raw) else one for one in decode(message)]


def test_a_call_comes_back_as_it_was_sent() -> None:
    (frame,) = decode(CALL)
    assert isinstance(frame, Frame)
    assert (frame.id, frame.method, bytes(frame.params)) == (1, "a", b'{"x":1}')
    assert (frame.result, frame.error, frame.headers) == (UNSET, UNSET, UNSET)
    assert encode(frame) == CALL


def test_text_and_bytes_are_read_alike() -> None:
    assert encode(decode(CALL.decode())) == encode(decode(CALL))


def test_a_result_of_null_is_not_a_missing_result() -> None:
    (frame,) = decode(b'{"jsonrpc":"2.0","id":1,"result":null}')
    assert isinstance(frame, Frame)
    assert frame.result == Raw(b"null")


def test_an_error_without_data_is_written_without() -> None:
    assert encode(ErrorObject(1, "no")) == b'{"code":1,"message":"no"}'


def test_members_of_later_versions_are_ignored() -> None:
    (frame,) = decode(b'{"jsonrpc":"2.0","id":1,"result":2,"later":{"x":[]}}')
    assert isinstance(frame, Frame)
    assert frame.id == 1


def test_a_pack_is_read_frame_by_frame() -> None:
    frames = decode(b"[" + CALL + b"," + CALL + b"]")
    assert [frame.id for frame in frames if isinstance(frame, Frame)] == [1, 1]


def test_an_empty_pack_has_no_frames() -> None:
    assert decode(b"[]") == []


@pytest.mark.parametrize("number", ["1", '"one"', "1.5", "null", "18446744073709551616"])
def test_an_id_may_be_what_json_rpc_allows(number: str) -> None:
    (frame,) = decode(f'{{"jsonrpc":"2.0","id":{number},"method":"a"}}')
    assert isinstance(frame, Frame)
    assert frame.id == json.loads(number)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"nonsense", "invalid"),
        (CALL + b"x", "trailing"),
        (b"\x00\x01\x02", "invalid"),
        (b'{"jsonrpc":"2.0","method":"\xff"}', "not UTF-8"),
        (b'{"jsonrpc":"2.0","params":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deeply"),
    ],
    ids=["nothing", "half", "words", "more", "binary", "latin-1", "deep"],
)
def test_what_is_not_json_is_unreadable_and_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=f"(?i){reason}"):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"5",
        b'"text"',
        b"null",
        b'{"id":true}',
        b'{"id":[1]}',
        b'{"method":5}',
        b'{"error":"text"}',
        b'{"error":{"code":"1","message":"x"}}',
        b'{"headers":[]}',
        b"[1]",
        b"[[]]",
        b"[" * 10_000,
    ],
    ids=lambda data: data[:16].decode(),
)
def test_json_that_is_no_frame_is_malformed(data: bytes) -> None:
    (element,) = decode(data)
    assert isinstance(element, Raw)
    malformed = decode_one(element)
    assert isinstance(malformed, Malformed)
    assert malformed.reason


def test_a_malformed_frame_has_its_id_and_a_reason() -> None:
    (element,) = elements(b'{"jsonrpc":"2.0","id":7,"method":5}')
    assert isinstance(element, Malformed)
    assert element.id == 7
    assert "method" in element.reason


def test_a_bad_frame_spoils_only_itself() -> None:
    first, second, third = elements(b"[" + CALL + b',{"id":8,"method":[]},' + CALL + b"]")
    assert isinstance(first, Frame)
    assert isinstance(third, Frame)
    assert encode(first) == encode(third) == CALL
    assert isinstance(second, Malformed)
    assert second.id == 8


def test_a_pack_with_a_bad_frame_stays_encoded_until_its_elements_are_wanted() -> None:
    message = decode(b"[" + CALL + b',5,{"id":1,"method":"\xff"}]')
    assert [bytes(element) for element in message if isinstance(element, Raw)] == [
        CALL,
        b"5",
        b'{"id":1,"method":"\xff"}',
    ]


@pytest.mark.parametrize("space", [b"", b" \n\t\r", b" " * 64, b" " * 1000], ids=len)
@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
def test_an_array_over_the_largest_pack_is_unreadable_though_each_of_its_frames_is_good(
    space: bytes, text: bool
) -> None:
    message = space + b"[" + b",".join([CALL] * (MAX_PACK_BYTES // len(CALL))) + b"]"
    assert len(message) > MAX_PACK_BYTES
    with pytest.raises(Unreadable, match=f"may have {MAX_PACK_BYTES} bytes, this one has {len(message)}"):
        decode(message.decode() if text else message)


def test_an_array_as_large_as_the_largest_pack_is_read() -> None:
    message = (b"[" + CALL + b"," + CALL + b"]").ljust(MAX_PACK_BYTES)
    assert len(message) == MAX_PACK_BYTES
    assert [encode(frame) for frame in decode(message)] == [CALL, CALL]


@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
def test_a_single_frame_may_be_larger_than_any_pack(text: bool) -> None:
    large = b'{"jsonrpc":"2.0","id":1,"method":"a","params":["' + b"x" * MAX_PACK_BYTES + b'"]}'
    (frame,) = decode(large.decode() if text else large)
    assert encode(frame) == large


def test_packs_of_this_library_are_smaller_than_the_largest_one_that_is_read() -> None:
    assert PACK_BYTES < MAX_PACK_BYTES


def test_a_frame_that_is_bad_before_it_is_broken_has_no_id() -> None:
    (element,) = elements(b'{"method":5,"id":7')
    assert isinstance(element, Malformed)
    assert element.id is None


def test_a_bad_frame_whose_id_cannot_be_read_has_none() -> None:
    (first, _) = elements(b'[{"method":5,"id":"\xff"},5]')
    assert isinstance(first, Malformed)
    assert first.id is None


def test_text_in_a_pack_that_is_not_utf_8_spoils_only_its_frame() -> None:
    (_, second, third) = elements(b'[5,{"jsonrpc":"2.0","method":"\xff"},' + CALL + b"]")
    assert second == Malformed(None, "not UTF-8")
    assert isinstance(third, Frame)


def test_nesting_in_a_pack_that_is_too_deep_is_unreadable_or_spoils_only_its_frame() -> None:
    deep = b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b"[" * DEEP + b"]" * DEEP + b"}"
    assert [element.id for element in elements(b"[5," + deep + b"]")] == [None]


def test_one_frame_travels_alone() -> None:
    assert pack([b"1"], 10) == [b"1"]


def test_frames_share_a_message() -> None:
    assert pack([b"1", b"22", b"333"], 100) == [b"[1,22,333]"]


def test_a_pack_is_never_larger_than_the_limit_and_no_smaller_than_need_be() -> None:
    frames = [b"1", b"22222", b"333", b"4444444444", b"5", b"6", b"77"] * 2
    for limit in range(2, 60):
        messages = pack(frames, limit)
        packs = [message.strip(b"[]").split(b",") for message in messages]
        assert [frame for one in packs for frame in one] == frames
        assert [m for m in messages if len(m) > limit and m.startswith(b"[")] == []
        # With the first frame of the next message it would have been too large.
        assert all(len(b"[,]" + b",".join(one) + two[0]) > limit for one, two in pairwise(packs))


def test_a_frame_over_the_limit_travels_alone() -> None:
    assert pack([b"1", b"2" * 50, b"3", b"4"], 10) == [b"1", b"2" * 50, b"[3,4]"]


def test_nothing_is_lost_when_every_frame_is_over_the_limit() -> None:
    assert pack([b"11", b"22", b"33"], 1) == [b"11", b"22", b"33"]


# -- too many values


def crowded(
    number: int = MAX_VALUES, element: str = "[]", *, before: str = '"jsonrpc":"2.0","id":7,'
) -> bytes:
    """A call with a list of about ``number`` values in its data."""
    values = ",".join([element] * (number // (1 + element.count("[") + element.count(","))))
    return f'{{{before}"method":"a","params":{{"x":[{values}]}}}}'.encode()


def one_of(message: bytes | str) -> Frame | Refused | Malformed:
    (one,) = decode(message, trusted=False)
    return decode_one(one, trusted=False) if isinstance(one, Raw) else one


@pytest.mark.parametrize("element", ["[]", "1", '"a"', "{}", "[1,2]"])
@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
def test_a_call_with_too_many_values_is_not_decoded_and_its_id_is_known(element: str, text: bool) -> None:
    message = crowded(2 * MAX_VALUES, element)
    refused = one_of(message.decode() if text else message)
    assert isinstance(refused, Refused)
    assert refused.id == 7
    assert f"a request may have {MAX_VALUES} values" in refused.reason
    assert isinstance(decode(message)[0], Frame), "one that is trusted is decoded"


def test_a_call_with_values_up_to_the_bound_is_decoded() -> None:
    message = crowded(MAX_VALUES - 10)
    assert len(message) > 128 * 1024
    assert isinstance(one_of(message), Frame)


@pytest.mark.parametrize(
    ("before", "number"),
    [
        ('"id":"a-1",', None),
        ('"id":"one","jsonrpc":"2.0",', "one"),
        ('"jsonrpc" : "2.0" , "id" : 12 , ', 12),
        ('"x":{"id":5,"y":1},', None),
        ("", None),
    ],
)
def test_the_id_of_a_refused_call_is_found_where_clients_write_it(before: str, number: object) -> None:
    refused = one_of(crowded(2 * MAX_VALUES, before=before))
    assert isinstance(refused, Refused)
    assert refused.id == number


def test_the_id_of_a_refused_call_may_be_its_last_member() -> None:
    message = crowded(2 * MAX_VALUES, before="")
    refused = one_of(message[:-1] + b', "id": 3 }')
    inner = one_of(message.replace(b"]}}", b'],"id":3}}'))
    assert isinstance(refused, Refused)
    assert isinstance(inner, Refused)
    assert (refused.id, inner.id) == (3, None)


def test_each_call_of_a_pack_counts_for_itself() -> None:
    calls = [crowded(MAX_VALUES // 2, before=f'"jsonrpc":"2.0","id":{number},') for number in range(3)]
    calls.append(crowded(MAX_VALUES + 1000, "1", before='"jsonrpc":"2.0","id":3,'))
    message = b"[" + b",".join(calls) + b"]"
    assert len(message) < MAX_PACK_BYTES
    read = [
        decode_one(one, trusted=False) if isinstance(one, Raw) else one
        for one in decode(message, trusted=False)
    ]
    assert [(type(one), one.id) for one in read] == [(Frame, 0), (Frame, 1), (Frame, 2), (Refused, 3)]


@pytest.mark.parametrize(
    "line",
    ["name,number,[x]\\n", '\\"quoted\\",[word],{here}', "\\\\,[,["],
    ids=["lines", "quotes", "backslashes"],
)
def test_commas_and_brackets_in_a_text_are_no_values(line: str) -> None:
    table = line * 40_000
    assert table.count(",") + table.count("[") + table.count("{") > MAX_VALUES
    text = f'{{"jsonrpc":"2.0","id":7,"method":"a","params":{{"x":"{table}"}}}}'
    json.loads(text)
    assert count_values(text.encode()) == 5
    assert too_many_values(text) is None
    assert isinstance(one_of(text), Frame)


def test_a_pack_with_too_many_values_and_half_a_surrogate_pair_is_no_frame() -> None:
    (one,) = decode('["\ud800",' + "1," * MAX_VALUES + "1]", trusted=False)
    assert isinstance(one, Raw)
    assert isinstance(decode_one(one, trusted=False), Refused | Malformed)


def test_a_count_that_would_take_long_is_an_upper_bound() -> None:
    many_texts = b"[" + b",".join([b'"a,b"'] * 60_000) + b"]"
    many_escapes = b'["' + b"\\\\" * 150_000 + b'\\",' + b"," * MAX_VALUES + b'"]'
    assert count_values(many_texts) == 120_000
    assert count_values(many_escapes) > MAX_VALUES
