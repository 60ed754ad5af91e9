from __future__ import annotations

import json
import tracemalloc

import pytest
from msgspec import Raw

from discord_tools.ipc import BadData, InvalidRequest
from discord_tools.ipc.wire.codec import MAX_VALUES, too_many_values
from discord_tools.ipc.wire.codes import PARSE_ERROR
from discord_tools.ipc.wire.jsonrpc import MAX_BATCH, MAX_ID_BYTES, Body, Fault, JsonRpcRequest, read_body

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"a"}'

#: Far more than reading takes, and far less than an object for each of a million elements.
MEMORY = 2_000_000


def batch(element: bytes, number: int) -> bytes:
    return b"[" + b",".join([element] * number) + b"]"


def refusal(body: Body) -> tuple[int, str]:
    """The code and the text of the one answer to a message that is refused."""
    (fault,) = body.items
    assert isinstance(fault, Fault)
    assert not body.batch
    answer = json.loads(fault.answer)
    assert answer["id"] is None
    return answer["error"]["code"], answer["error"]["message"]


@pytest.mark.parametrize("element", [b"1", b"[]", b"{}", b'""', REQUEST], ids=bytes.decode)
def test_a_batch_of_a_million_elements_is_refused_without_making_an_object_of_each(element: bytes) -> None:
    message = batch(element, 1_000_000)
    read_body(b"[1]", MAX_BATCH)  # makes the decoder, which is kept
    tracemalloc.start()
    try:
        body = read_body(message, MAX_BATCH)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refusal(body) == (
        InvalidRequest.code,
        f"invalid request: a batch may have at most {MAX_BATCH} requests",
    )
    assert peak < MEMORY


@pytest.mark.parametrize("most", [1, 2, 100, MAX_BATCH])
def test_a_batch_may_have_as_many_requests_as_are_allowed_and_no_more(most: int) -> None:
    body = read_body(batch(REQUEST, most), most)
    assert body.batch
    assert [type(item) for item in body.items] == [JsonRpcRequest] * most
    code, text = refusal(read_body(batch(REQUEST, most + 1), most))
    assert code == InvalidRequest.code
    assert text.endswith(f"at most {most} requests")


@pytest.mark.parametrize("number", [MAX_BATCH + 1, MAX_BATCH + 2, 2 * MAX_BATCH])
def test_a_server_that_allows_more_calls_takes_no_larger_batch(number: int) -> None:
    assert MAX_BATCH == 1024
    assert read_body(batch(REQUEST, MAX_BATCH), 1_000_000).batch
    _, text = refusal(read_body(batch(REQUEST, number), 1_000_000))
    assert text.endswith(f"at most {MAX_BATCH} requests")


@pytest.mark.parametrize("number", [1, MAX_BATCH, 10 * MAX_BATCH])
def test_a_batch_that_is_broken_behind_any_number_of_requests_is_not_json(number: int) -> None:
    code, text = refusal(read_body(batch(REQUEST, number)[:-1], MAX_BATCH))
    assert code == PARSE_ERROR
    assert text.startswith("not JSON: ")


def test_an_empty_batch_is_refused() -> None:
    assert refusal(read_body(b" [ ] ", MAX_BATCH)) == (
        InvalidRequest.code,
        "invalid request: a batch must not be empty",
    )


def test_the_elements_of_a_batch_keep_their_order_and_a_bad_one_spoils_only_itself() -> None:
    body = read_body(b"[" + REQUEST + b",5,null," + REQUEST + b"]", MAX_BATCH)
    assert [type(item) for item in body.items] == [JsonRpcRequest, Fault, Fault, JsonRpcRequest]


@pytest.mark.parametrize("number", ['"\ud800"', b'"\xf2\xf2"', b'"\xc3"'], ids=repr)
def test_an_id_that_is_not_utf_8_is_refused_and_not_sent_back(number: bytes | str) -> None:
    if isinstance(number, str):
        message: bytes | str = REQUEST.decode().replace(":1,", f":{number},")
    else:
        message = REQUEST.replace(b":1,", b":%b," % number)
    assert refusal(read_body(message, 1))[0] == InvalidRequest.code


def crowded(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"method":"a","params":[%b]}' % (number, b",".join([b"[]"] * MAX_VALUES))


def test_a_request_with_too_many_values_is_refused_under_its_id() -> None:
    (fault,) = read_body(crowded(5), 1).items
    assert isinstance(fault, Fault)
    answer = json.loads(fault.answer)
    assert (answer["id"], answer["error"]["code"]) == (5, BadData.code)
    assert "values" in answer["error"]["message"]


def test_a_batch_with_too_many_values_in_all_is_refused_as_a_whole() -> None:
    message = batch(REQUEST.replace(b"}", b',"headers":{"x":[%b]}}' % b",".join([b"[]"] * 200)), 600)
    assert refusal(read_body(message, MAX_BATCH)) == (BadData.code, too_many_values(message))


def test_an_id_may_have_a_bounded_size() -> None:
    number = '"' + "x" * (MAX_ID_BYTES - 2) + '"'
    (request,) = read_body(REQUEST.replace(b"1,", f"{number},".encode()), 1).items
    assert isinstance(request, JsonRpcRequest)
    assert request.id == Raw(number.encode())
    longer = REQUEST.replace(b"1,", f'"x{number[1:]},'.encode())
    assert refusal(read_body(longer, 1)) == (
        InvalidRequest.code,
        f"invalid request: the id must be a string, a number or null, in UTF-8, with at most {MAX_ID_BYTES} bytes",
    )
