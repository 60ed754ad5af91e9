"""Asks the multicast port for the bot's port."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec

from discord_tools.ipc.address import Address
from discord_tools.ipc.errors import ResolutionError, Unauthorized
from discord_tools.ipc.settings import without_key

__all__ = ("resolve",)


class _Answer(msgspec.Struct):
    """Answer to a port question: the port and the code, or the error and the code."""

    # Some of the older servers send the port as a string.
    port: int | str | None = None
    code: int | None = None
    error: Any = None


async def resolve(http: aiohttp.ClientSession, address: Address, secret_key: str | None) -> int:
    """Returns the port that the multicast port at ``address`` tells.

    Raises
    ------
    Unauthorized
        It does not accept the secret key.
    ResolutionError
        Its answer is not a port.
    """
    host, multicast_port = address.host, address.port
    # The answer is what counts: a server that closes slowly must not spoil it.
    timeout = aiohttp.ClientWSTimeout(ws_close=0.1)  # pyright: ignore[reportCallIssue] (attrs)
    # Servers of this library count those that show their key at the handshake as authenticated. Older ones read it in
    # the question only.
    headers = {} if secret_key is None else {"Authorization": secret_key}
    async with http.ws_connect(
        address.url, headers=headers, timeout=timeout, max_msg_size=64 * 1024
    ) as socket:
        question = {"connect": True, "headers": {"Authorization": secret_key}}
        await socket.send_str(msgspec.json.encode(question).decode())
        message = await socket.receive()
    if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
        raise ResolutionError(host, multicast_port, "it closed the connection without an answer")
    try:
        answer = msgspec.json.decode(message.data, type=_Answer)
        port = int(answer.port or 0)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ResolutionError(
            host, multicast_port, "something else listens there: its answer names no port"
        ) from error
    if answer.code in (401, 403):
        raise Unauthorized(host, multicast_port)
    if not 0 < port < 65536:
        reason = f"it answers with an error: {answer.error}" if answer.error else "its answer names no port"
        raise ResolutionError(host, multicast_port, without_key(reason, secret_key))
    return port
