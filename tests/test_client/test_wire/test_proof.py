from __future__ import annotations

import json
from typing import Any

import pytest

from discord_tools.ipc.wire.proof import (
    BadNonce,
    Nonces,
    Question,
    challenge,
    client_proof,
    find_key,
    is_nonce,
    new_nonce,
    proven_answer,
    proves_port,
    question,
    read_question,
    server_proof,
)
from equipment.websockets import signature

NONCES = Nonces("c" * 32, "s" * 32)
KEY = "ключ"
SHORT, LONG = "a" * 21, "a" * 100_000


def test_proofs_are_what_the_protocol_says() -> None:
    assert client_proof(KEY.encode(), NONCES) == signature(KEY, "client", "c" * 32, "s" * 32)
    assert server_proof(KEY.encode(), NONCES, 8000) == signature(KEY, "server", "c" * 32, "s" * 32, "8000")


def test_a_proof_is_good_for_one_key_role_question_and_port() -> None:
    keys, other = (b"key", b"other key"), Nonces("c" * 32, "t" * 32)
    proofs = [client_proof(key, nonces) for key in keys for nonces in (NONCES, other)]
    ports = [server_proof(key, nonces, port) for key in keys for nonces in (NONCES, other) for port in (1, 2)]
    assert len({*proofs, *ports}) == len(proofs) + len(ports)


def test_nonces_are_random_and_can_be_used() -> None:
    nonces = {new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(map(is_nonce, nonces))


@pytest.mark.parametrize("value", ["a" * 22, "A-z_" * 32])
def test_a_nonce_has_at_least_128_bits(value: str) -> None:
    assert is_nonce(value)


@pytest.mark.parametrize(
    "value", ["a" * 21, "a" * 129, "a" * 32 + "\n", "a" * 31 + "=", "é" * 32, b"a" * 32, None]
)
def test_anything_else_is_no_nonce(value: object) -> None:
    assert not is_nonce(value)


@pytest.mark.parametrize("right", [0, 1, 2])
def test_the_key_that_was_proven_is_found_among_several(right: int) -> None:
    keys = [b"first", b"second", b"third"]
    assert find_key(iter(keys), NONCES, client_proof(keys[right], NONCES)) == keys[right]


def test_every_key_is_compared_even_after_the_right_one() -> None:
    def keys() -> Any:
        for key in (b"first", b"second", b"third"):
            taken.append(key)
            yield key

    taken: list[bytes] = []
    assert find_key(keys(), NONCES, client_proof(b"first", NONCES)) == b"first"
    assert len(taken) == 3


@pytest.mark.parametrize("proof", ["", "0" * 64, "é" * 64, client_proof(b"key", NONCES).upper()])
def test_no_key_is_found_for_a_wrong_proof(proof: str) -> None:
    assert find_key([b"key", b"other"], NONCES, proof) is None


def test_without_keys_nothing_is_proven() -> None:
    assert find_key([], NONCES, "0" * 64) is None


def test_a_question_comes_out_as_it_went_in() -> None:
    assert read_question(question("c" * 32)) == Question("c" * 32, None)
    assert read_question(question("c" * 32, "p").decode()) == Question("c" * 32, "p")


@pytest.mark.parametrize(
    "message",
    [b'{"connect":true,"headers":{"Authorization":"key"}}', b'{"connect":true}', b"{", b"\xff", "\ud800"],
)
def test_a_question_without_a_nonce_is_for_others(message: bytes | str) -> None:
    assert read_question(message) is None


@pytest.mark.parametrize("nonce", ["null", '""', "5", "[]", f'"{SHORT}"', f'"{LONG}"', "[" * 50 + "]" * 50])
def test_a_question_with_a_bad_nonce_is_refused(nonce: str) -> None:
    with pytest.raises(BadNonce):
        read_question(f'{{"connect":true,"nonce":{nonce}}}')


@pytest.mark.parametrize("proof", ["null", "5", "[]", '""', f'"{LONG}"'])
def test_a_proof_that_is_no_short_text_is_a_wrong_proof(proof: str) -> None:
    read = read_question(f'{{"connect":true,"nonce":"{NONCES.client}","proof":{proof}}}')
    assert read == Question("c" * 32, "")


def test_the_answers_are_those_of_the_page() -> None:
    assert json.loads(challenge("s" * 32)) == {"nonce": "s" * 32}
    answer = json.loads(proven_answer(b"key", NONCES, 8000))
    proof = answer.pop("proof")
    assert answer == {"message": "Connection success", "port": 8000, "code": 200}
    assert proves_port(b"key", NONCES, 8000, proof)
    assert not proves_port(b"key", NONCES, 8000, None)
