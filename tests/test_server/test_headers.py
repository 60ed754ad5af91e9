"""The secret key stays secret: a route sees the caller's headers without ``Authorization``, in each dialect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from discord.ext import commands

from discord_tools.ipc import Request
from discord_tools.ipc.wire.dialects import JSONRPC
from discord_tools.ipc_server.dialects.service import HTTP
from test_server.tools import KEY, MemoryServer, caller, family, jsonrpc, memory_server

Headers = dict[str, Any]


async def in_the_hello(server: MemoryServer, headers: Headers) -> None:
    native = server.connect()
    await native.hello(headers=headers)
    await native.call("look")


async def in_a_native_call(server: MemoryServer, headers: Headers) -> None:
    native = server.connect()
    await native.hello(headers={"Authorization": KEY})
    await native.call("look", headers=headers)


async def in_json_rpc(server: MemoryServer, headers: Headers) -> None:
    await server.open_socket(caller(dialect=JSONRPC)).ask(jsonrpc("look", headers=headers))


async def in_http(server: MemoryServer, headers: Headers) -> None:
    await server.post(jsonrpc("look", headers=headers), caller(dialect=HTTP))


async def in_discord_ext_ipc(server: MemoryServer, headers: Headers) -> None:
    message = family("look")
    # The older library's own header has the key in any case. The same name in another case may come beside it.
    message["headers"] = {**headers, **message["headers"]}
    await server.open_socket().ask(message)


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION", "authoriZation"])
@pytest.mark.parametrize("call", [in_the_hello, in_a_native_call, in_json_rpc, in_http, in_discord_ext_ipc])
async def test_the_key_among_the_headers_never_reaches_a_route(
    bot: commands.Bot, call: Callable[[MemoryServer, Headers], Awaitable[None]], name: str
) -> None:
    seen: list[Any] = []

    async def look(request: Request) -> None:
        seen.append(dict(request.headers))

    async with memory_server(bot) as server:
        server.add_route(look)
        await call(server, {"user": 5, name: KEY, "Authorization-Hint": "h"})
    assert seen == [{"user": 5, "Authorization-Hint": "h"}]
