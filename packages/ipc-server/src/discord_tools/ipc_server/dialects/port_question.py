"""Port questions of one socket: with a proof, from our own clients, or with the key in clear, from older ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from discord_tools.ipc.wire.dialects import CONNECT, port_answer, port_refusal, question_key
from discord_tools.ipc.wire.proof import (
    BadNonce,
    Nonces,
    Question,
    challenge,
    find_key,
    new_nonce,
    proven_answer,
    read_question,
)
from discord_tools.ipc_server.dialects.service import DialectService

__all__ = ("PortAnswer", "PortQuestions")

_BAD_NONCE: Final = (
    b'{"error":"The nonce must be 22 to 128 characters of A-Z, a-z, 0-9, - and _.","code":400}'
)


@dataclass(frozen=True, slots=True)
class PortAnswer:
    """Answer to one question.

    Attributes
    ----------
    message: :class:`bytes`
        What the client gets.
    refused: Optional[:class:`str`]
        Why the key or the proof is refused, for the log; ``None`` where neither is.
    counts: :class:`bool`
        Whether the socket is closed after a number of such answers.
    waits: :class:`bool`
        Whether the client has to answer.
    """

    message: bytes
    refused: str | None = None
    counts: bool = False
    waits: bool = False


class PortQuestions:
    """Answers the port questions of one socket, and remembers which proof is due."""

    def __init__(self, service: DialectService, address: str | None, connection: str) -> None:
        self._service = service
        self._address = address
        self._connection = connection
        #: The nonces of the question that was answered with a nonce. They are used once.
        self._nonces: Nonces | None = None

    def answer(self, message: bytes | str) -> PortAnswer:
        """Answers a question."""
        service = self._service
        try:
            question = read_question(message)
        except BadNonce:
            return PortAnswer(_BAD_NONCE, counts=True)
        keys = tuple(service.gate.key_values)
        if question is not None and keys:
            return self._answer_with_proof(question, keys)
        caller = service.gate.identify(question_key(message), self._address, CONNECT, self._connection)
        if caller is None:
            return _refusal("wrong secret key")
        return PortAnswer(port_answer(service.port()))

    def _answer_with_proof(self, question: Question, keys: tuple[bytes, ...]) -> PortAnswer:
        nonces, self._nonces = self._nonces, None
        if question.proof is None:
            if nonces is not None:
                # It costs little to ask for nonces, so who never proves anything is refused like who guesses keys.
                return _refusal("a proof was due")
            self._nonces = Nonces(question.nonce, new_nonce())
            return PortAnswer(challenge(self._nonces.server), waits=True)
        if nonces is None or nonces.client != question.nonce:
            return _refusal("a proof for no question")
        key = find_key(keys, nonces, question.proof)
        if key is None:
            return _refusal("wrong proof")
        return PortAnswer(proven_answer(key, nonces, self._service.port()))


def _refusal(why: str) -> PortAnswer:
    return PortAnswer(port_refusal(), refused=why)
