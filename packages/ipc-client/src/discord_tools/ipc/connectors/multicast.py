"""Asks the multicast port for the bot's port."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import aiohttp
import msgspec

from discord_tools.ipc.address import Address
from discord_tools.ipc.connectors.refusals import failure_at
from discord_tools.ipc.errors import ConnectError, ResolutionError, Unauthorized, UnprovenServer
from discord_tools.ipc.settings import without_key
from discord_tools.ipc.wire.proof import Nonces, client_proof, is_nonce, new_nonce, proves_port, question

__all__ = ("resolve",)

#: What an answer without a proof means, and what to do about it.
_UNPROVEN: Final = (
    "it answers without a proof that it knows the secret key, as servers of older libraries do, which want the key in "
    "clear, and servers without a key. If one of them runs there, give older_servers=True to the session"
)


class _Answer(msgspec.Struct):
    """Answer to a port question: a nonce, or the port and the code, or the error and the code."""

    # Some of the older servers send the port as a string.
    port: int | str | None = None
    code: int | None = None
    error: Any = None
    nonce: Any = None
    proof: Any = None


async def resolve(
    http: aiohttp.ClientSession, address: Address, secret_key: str | None, older_servers: bool
) -> int:
    """Returns the port that the multicast port at ``address`` tells.

    With a key, both sides prove that they know it, and neither shows it.

    Parameters
    ----------
    older_servers: :class:`bool`
        Whether a server that does not prove anything is shown the key in clear.

    Raises
    ------
    Unauthorized
        It does not accept the secret key.
    UnprovenServer
        It does not prove that it knows the secret key.
    ResolutionError
        Its answer is not a port.
    """
    if secret_key is not None:
        try:
            return await _resolve_with_proof(http, address, secret_key)
        except _Unproven as unproven:
            if not older_servers:
                raise failure_at(UnprovenServer, address, _UNPROVEN) from None
            if unproven.port is not None:
                return unproven.port
    async with _connect(http, address) as socket:
        asked = msgspec.json.encode({"connect": True, "headers": {"Authorization": secret_key}})
        return _port(await _ask(socket, address, asked), address, secret_key)


class _Unproven(Exception):
    """The answer is that of a server which knows nothing of proofs: a port, or a refusal of the missing key."""

    def __init__(self, port: int | None) -> None:
        super().__init__()
        self.port = port


async def _resolve_with_proof(http: aiohttp.ClientSession, address: Address, secret_key: str) -> int:
    key, nonce = secret_key.encode(), new_nonce()
    async with _connect(http, address) as socket:
        answer = await _ask(socket, address, question(nonce))
        if answer.nonce is None:
            if answer.code in (401, 403):
                raise _Unproven(None)
            raise _Unproven(_port(answer, address, secret_key))
        if not is_nonce(answer.nonce):
            raise failure_at(ResolutionError, address, "something else listens there: its nonce is bad")
        nonces = Nonces(nonce, answer.nonce)
        answer = await _ask(socket, address, question(nonce, client_proof(key, nonces)))
    port = _port(answer, address, secret_key)
    if not proves_port(key, nonces, port, answer.proof):
        reason = "its proof is wrong, so it does not know the secret key: another program listens there"
        raise failure_at(UnprovenServer, address, reason)
    return port


def _connect(
    http: aiohttp.ClientSession, address: Address
) -> AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]:
    # The answer is what counts: a server that closes slowly must not spoil it.
    timeout = aiohttp.ClientWSTimeout(ws_close=0.1)  # pyright: ignore[reportCallIssue] (attrs)
    return http.ws_connect(address.url, timeout=timeout, max_msg_size=64 * 1024)


async def _ask(socket: aiohttp.ClientWebSocketResponse, address: Address, asked: bytes) -> _Answer:
    await socket.send_str(asked.decode())
    message = await socket.receive()
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise failure_at(ResolutionError, address, "it closed the connection without an answer")
    try:
        return msgspec.json.decode(message.data, type=_Answer)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _no_port(address) from error


def _port(answer: _Answer, address: Address, secret_key: str | None) -> int:
    """Returns the port of an answer, or raises what it says instead."""
    try:
        port = int(answer.port or 0)
    except ValueError as error:
        raise _no_port(address) from error
    if answer.code in (401, 403):
        raise Unauthorized(*address.facts)
    if not 0 < port < 65536:
        reason = f"it answers with an error: {answer.error}" if answer.error else "its answer names no port"
        raise failure_at(ResolutionError, address, without_key(reason, secret_key))
    return port


def _no_port(address: Address) -> ConnectError:
    return failure_at(ResolutionError, address, "something else listens there: its answer names no port")
