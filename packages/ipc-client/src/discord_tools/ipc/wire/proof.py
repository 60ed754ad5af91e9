"""The port question with proofs: both sides prove that they know the secret key, and neither shows it.

The client asks with a nonce, the server answers with one of its own, the client proves, and the server answers with the
port and its proof. The client proves first: from a proof of the server, anyone could test guesses of the key offline.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from discord_tools.ipc.wire.codec import UNREADABLE, encode

__all__ = (
    "BadNonce",
    "Nonces",
    "Question",
    "challenge",
    "client_proof",
    "find_key",
    "is_nonce",
    "new_nonce",
    "proven_answer",
    "proves_port",
    "question",
    "read_question",
    "server_proof",
)

#: Random bytes in a nonce. Divisible by 3, so that base64 needs no padding.
NONCE_BYTES: Final = 24

#: Maximum size of a nonce or a proof in a question, in bytes. A larger one is not decoded.
MAX_MEMBER_BYTES: Final = 256

#: Separates these proofs from any other use of the key, and from those of a later version.
CONTEXT: Final = "discord-tools.ipc port question 1"

#: 128 bits in base64url are 22 characters. None of the characters is the separator of what is signed.
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{22,128}", re.ASCII)


class BadNonce(Exception):
    """A question has a nonce that cannot be used."""


@dataclass(frozen=True, slots=True)
class Nonces:
    """What makes the proofs of one question unlike those of all others: a nonce of either side."""

    client: str
    server: str


class Question(Struct):
    """What a question has beyond a key: the client's nonce, and its proof, which only the second message has."""

    nonce: str
    proof: str | None


class _Members(Struct):
    """Members of a question, as Raw: a client without the key may put anything there."""

    #: The client's nonce.
    nonce: Raw | UnsetType = UNSET
    #: The client's proof.
    proof: Raw | UnsetType = UNSET


class _Asked(Struct, omit_defaults=True):
    """Question as it is sent. Servers of older libraries refuse it unless it has a header with a key."""

    nonce: str
    connect: bool = msgspec.field(default_factory=lambda: True)
    headers: dict[str, None] = msgspec.field(default_factory=lambda: {"Authorization": None})
    proof: str | UnsetType = UNSET


def new_nonce() -> str:
    """Returns a nonce that nobody has used or can guess."""
    # As secrets.token_urlsafe() does it; that module would make the client slower to import.
    return base64.urlsafe_b64encode(os.urandom(NONCE_BYTES)).decode()


def is_nonce(value: object) -> bool:
    """Whether a value of the other side can be used as its nonce."""
    return isinstance(value, str) and _NONCE.fullmatch(value) is not None


# ---------------------------------------------------------------- proofs


def client_proof(key: bytes, nonces: Nonces) -> str:
    """Returns what proves that the client knows the key."""
    return _sign(key, "client", nonces.client, nonces.server)


def server_proof(key: bytes, nonces: Nonces, port: int) -> str:
    """Returns what proves that the server knows the key, and that it is the one that tells the port."""
    return _sign(key, "server", nonces.client, nonces.server, str(port))


def find_key(keys: Iterable[bytes], nonces: Nonces, proof: str) -> bytes | None:
    """Returns the key that a client has proven to know; ``None`` where it is none of them.

    The proof is compared with those of all keys, so that the time does not tell which one it is.
    """
    found: bytes | None = None
    for key in keys:
        if _equal(client_proof(key, nonces), proof):
            found = key
    return found


def proves_port(key: bytes, nonces: Nonces, port: int, proof: object) -> bool:
    """Whether the proof of an answer shows that a server with the key has told this port, for this question."""
    return isinstance(proof, str) and _equal(server_proof(key, nonces, port), proof)


def _sign(key: bytes, *parts: str) -> str:
    # No part has a newline in it, so no two lists of parts have the same text.
    return hmac.new(key, "\n".join((CONTEXT, *parts)).encode(), hashlib.sha256).hexdigest()


def _equal(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


# ---------------------------------------------------------------- messages


def question(nonce: str, proof: str | None = None) -> bytes:
    """Writes a question: the first message without a proof, the second one with it."""
    return encode(_Asked(nonce, proof=UNSET if proof is None else proof))


def read_question(message: bytes | str) -> Question | None:
    """Reads a question. Returns ``None`` for one without a nonce, which shows the key instead.

    Raises
    ------
    BadNonce
        The nonce is too short, too long, or has other characters than those of base64url.
    """
    try:
        members = msgspec.json.decode(message, type=_Members)
    except UNREADABLE:
        return None
    if members.nonce is UNSET:
        return None
    nonce = _short_text(members.nonce)
    if nonce is None or not is_nonce(nonce):
        raise BadNonce
    # A proof that is no text is wrong like any other.
    return Question(nonce, None if members.proof is UNSET else _short_text(members.proof) or "")


def _short_text(raw: Raw) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str) if len(bytes(raw)) <= MAX_MEMBER_BYTES else None
    except UNREADABLE:
        return None


def challenge(nonce: str) -> bytes:
    """Writes the server's answer to the first message."""
    return encode({"nonce": nonce})


def proven_answer(key: bytes, nonces: Nonces, port: int) -> bytes:
    """Writes the server's answer to the right proof."""
    proof = server_proof(key, nonces, port)
    return encode({"message": "Connection success", "port": port, "code": 200, "proof": proof})
