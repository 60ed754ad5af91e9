"""What reads messages of others. Each target takes bytes, and raises where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from msgspec import UNSET, Raw

from benchmarks.fuzz.peers import peer
from discord_tools.ipc.errors import ProtocolError, RemoteError
from discord_tools.ipc.wire.codec import Malformed, Unreadable, decode, decode_one, encode
from discord_tools.ipc.wire.dialects import (
    CONNECT,
    JSONRPC,
    Asked,
    KeyRefused,
    hear,
    legacy,
    question_key,
    recognise,
)
from discord_tools.ipc.wire.frames import Frame
from discord_tools.ipc.wire.handshake import (
    MAX_CLIENT_CHARS,
    MAX_HEADERS_BYTES,
    MAX_REFUSED,
    InvalidHello,
    decode_hello,
    decode_welcome,
    encode_refusal,
)
from discord_tools.ipc.wire.jsonrpc import Fault, read_body
from discord_tools.ipc.wire.proof import BadNonce, read_question

__all__ = ("TARGETS",)

#: Number of requests that a batch may have here.
MOST: Final = 64

#: Bytes that a refusal may have besides what it quotes.
REFUSAL_BYTES: Final = 2048


def forms(data: bytes) -> Iterator[bytes | str]:
    """A message as it may arrive: as bytes, or as a text."""
    yield data
    yield data.decode(errors="replace")
    yield data.decode(errors="surrogatepass") if _is_text(data) else data


def _is_text(data: bytes) -> bool:
    try:
        data.decode(errors="surrogatepass")
    except UnicodeError:
        return False
    return True


def codec(data: bytes) -> None:
    for message in (data, data.decode(errors="replace")):
        try:
            elements = decode(message)
        except Unreadable:
            continue
        for element in elements:
            frame = decode_one(element) if isinstance(element, Raw) else element
            if isinstance(frame, Malformed):
                assert frame.reason
                encode(Frame("2.0", frame.id))
            else:
                assert isinstance(frame, Frame)
                encode(frame)


def hello(data: bytes) -> None:
    for message in (data, data.decode(errors="replace")):
        try:
            number, hello_ = decode_hello(message)
        except InvalidHello as error:
            _check_refusal(error, len(data))
        else:
            assert not isinstance(number, dict | list)
            assert len(hello_.client) <= MAX_CLIENT_CHARS
            assert len(encode(hello_.headers)) <= MAX_HEADERS_BYTES


def _check_refusal(error: InvalidHello, size: int) -> None:
    assert 1 <= len(error.numbers) <= MAX_REFUSED
    answers = encode_refusal(error)
    assert sum(map(len, answers)) <= MAX_REFUSED * (REFUSAL_BYTES + 7 * size)
    for answer in answers:
        json.loads(answer)


def welcome(data: bytes) -> None:
    for message in (data, data.decode(errors="replace")):
        try:
            welcome_ = decode_welcome(message)
        except ProtocolError:
            continue
        encode(welcome_)


def dialects(data: bytes) -> None:
    for message in forms(data):
        question_key(message)
        with suppress(BadNonce):
            read_question(message)
        spoken = recognise(message)
        if spoken in (None, CONNECT, JSONRPC):
            continue
        dialect = legacy(spoken, message)
        asked = dialect.read(message)
        assert isinstance(asked, Asked)
        assert asked.endpoint is None or asked.endpoint
        assert isinstance(asked.params, bytes)
        json.loads(dialect.unauthorized())


def answers(data: bytes) -> None:
    """What an older server answers to our own client."""
    for message in forms(data):
        endpoint: str | None = "endpoint"
        try:
            hear("endpoint", message)
        except KeyRefused:
            continue
        except RemoteError as error:
            endpoint = error.endpoint
        assert endpoint == "endpoint"


def jsonrpc(data: bytes) -> None:
    for message in forms(data):
        body = read_body(message, MOST)
        assert 1 <= len(body.items) <= MOST
        for item in body.items:
            if isinstance(item, Fault):
                answer: Any = json.loads(item.answer)
                assert answer["id"] is None
                assert answer["error"]["code"] in (-32700, -32600)
            else:
                assert item.params[:1] in (b"{", b"[")
                assert item.id is UNSET or not isinstance(json.loads(bytes(item.id)), dict | list | bool)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (codec, hello, welcome, dialects, answers, jsonrpc, peer)
}
