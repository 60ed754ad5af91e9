"""The secret key is in no exception: a log or an error page would show it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FunctionType, ModuleType, TracebackType
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from discord_tools.ipc import ClientSession, IPCError
from equipment.ports import answering, listening, silence
from equipment.serving import QUICK, connecting
from equipment.websites import website
from equipment.websockets import ScriptedWebSocket, WebSocketBot, multicast_bot

KEY = "hunter2-is-a-secret"

#: A service on the port: how it is started, which gives the port.
Service = Callable[[], AbstractAsyncContextManager[int]]


def places_of(value: Any, secret: str) -> list[str]:
    """Where a secret is in an exception and in everything that it holds."""
    found: list[str] = []
    seen: dict[int, Any] = {}
    queue: list[tuple[str, Any]] = [("error", value)]
    while queue:
        path, one = queue.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | TracebackType):
            continue
        seen[id(one)] = one
        if isinstance(one, str | bytes | bytearray):
            text = one if isinstance(one, str) else bytes(one).decode("latin-1")
            if secret in text:
                found.append(path)
            continue
        if isinstance(one, Mapping):
            queue += [(f"{path}[{key!r}]", inner) for key, inner in one.items()]
            queue += [(f"{path} key", key) for key in one]
        elif isinstance(one, list | tuple | set | frozenset):
            queue += [(f"{path}[{number}]", inner) for number, inner in enumerate(one)]
        if isinstance(one, BaseException):
            names = ("args", "__cause__", "__context__", "__notes__")
            queue += [(f"{path}.{name}", getattr(one, name, None)) for name in names]
            queue += [(f"str({path})", str(one)), (f"repr({path})", repr(one))]
        slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
        names = [*getattr(one, "__dict__", ()), *(name for name in slots if isinstance(name, str))]
        queue += [(f"{path}.{name}", getattr(one, name, None)) for name in names]
    return found


@pytest.mark.parametrize(
    "where", ["args", "attribute", "list", "cause", "context", "note", "bytes", "slot", "key of a mapping"]
)
def test_the_search_finds_a_key_wherever_an_error_may_hold_it(where: str) -> None:
    class Slotted:
        __slots__ = ("value",)

    error = ValueError("text")
    inner = KeyError(f"the key {KEY}")
    if where == "args":
        error.args = (inner.args[0],)
    elif where == "attribute":
        error.headers = {"Authorization": KEY}  # pyright: ignore[reportAttributeAccessIssue]
    elif where == "list":
        error.args = ([("Authorization", KEY)],)
    elif where == "cause":
        error.__cause__ = inner
    elif where == "context":
        error.__context__ = inner
    elif where == "note":
        error.add_note(KEY)
    elif where == "bytes":
        error.args = (b"Authorization: " + KEY.encode(),)
    elif where == "slot":
        slotted = Slotted()
        slotted.value = KEY
        error.args = (slotted,)
    else:
        error.args = ({KEY: 1},)
    assert places_of(error, KEY)
    assert places_of(ValueError("text"), KEY) == []


def test_the_search_finds_the_key_in_the_error_of_aiohttp_for_a_refused_handshake() -> None:
    async def main() -> None:
        async with WebSocketBot(status=401) as bot, aiohttp.ClientSession() as http:
            url = f"ws://127.0.0.1:{bot.port}"
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await http.ws_connect(url, headers={"Authorization": KEY})
        assert places_of(caught.value, KEY)

    asyncio.run(main())


@asynccontextmanager
async def port_of(bot: WebSocketBot) -> AsyncIterator[int]:
    async with bot:
        yield bot.port


async def echo(far: ScriptedWebSocket) -> None:
    """Sends everything back, as a demonstration of WebSockets does."""
    while True:
        message = await far.transport.receive()
        await far.send_bytes(message.encode() if isinstance(message, str) else message)


async def quoting(far: ScriptedWebSocket) -> None:
    """Answers everything with an error that quotes it, as a validator does. A port question must show the key."""
    while True:
        message = await far.transport.receive()
        text = message if isinstance(message, str) else message.decode()
        if '"Authorization":null' in text:
            await far.send_bytes(b'{"error": "Invalid or no token provided.", "code": 403}')
            continue
        await far.send_bytes(json.dumps({"error": f"bad input: {text}", "code": 500}).encode())


async def refusing(far: ScriptedWebSocket) -> None:
    """Answers everything as servers of older libraries answer a wrong key."""
    while True:
        await far.transport.receive()
        await far.send_bytes(b'{"error": "Invalid or no token provided.", "code": 403}')


async def closing(far: ScriptedWebSocket) -> None:
    """Closes with a reason that quotes what was received."""
    message = await far.transport.receive()
    text = message if isinstance(message, str) else message.decode()
    await far.transport.close(4000, text)


async def listed(request: web.Request) -> web.Response:
    """Shows the headers that it was sent, as a page for debugging does."""
    return web.json_response(dict(request.headers))


async def redirected(request: web.Request) -> web.Response:
    """Shows the key in the address of another page."""
    return web.Response(status=302, headers={"Location": f"/{request.headers.get('Authorization')}"})


SERVICES: dict[str, Service] = {
    "another key": lambda: port_of(WebSocketBot(key="another")),
    "HTTP 403": lambda: port_of(WebSocketBot(status=403)),
    "HTTP 404": lambda: port_of(WebSocketBot(status=404)),
    "HTTP 429": lambda: port_of(WebSocketBot(status=429)),
    "HTTP 500": lambda: port_of(WebSocketBot(status=500)),
    "HTTP 503": lambda: port_of(WebSocketBot(status=503)),
    "a page of the headers": lambda: website(listed),
    "a redirection": lambda: website(redirected),
    "no HTTP": lambda: listening(answering(b"220 mail.example.org ESMTP\r\n")),
    "broken HTTP": lambda: listening(answering(b"HTTP/1.1 101 Switching\r\nUpgrade: other\r\n\r\n")),
    "silence": lambda: listening(silence),
    "echo": lambda: port_of(WebSocketBot(echo)),
    "echo without our protocol": lambda: port_of(WebSocketBot(echo, protocols=())),
    "quotes": lambda: port_of(WebSocketBot(quoting)),
    "quotes without our protocol": lambda: port_of(WebSocketBot(quoting, protocols=())),
    "a closing reason": lambda: port_of(WebSocketBot(closing)),
    "a closing reason without our protocol": lambda: port_of(WebSocketBot(closing, protocols=())),
    "an older bot with another key": lambda: port_of(WebSocketBot(refusing, protocols=())),
    "a multicast port with another bot": lambda: port_of(multicast_bot({"port": 1})),
}
#: Quick enough for a service that never answers.
LIMITS = dataclasses.replace(QUICK, handshake_timeout=0.5)
#: With older servers accepted, the key goes to more places.
OPTIONS: dict[str, Any] = {
    "secret_key": KEY,
    "timeout": 1.0,
    "connect_timeout": 0.2,
    "limits": LIMITS,
    "older_servers": True,
}


async def errors_of(ipc: ClientSession) -> list[BaseException]:
    """What each use of the session raises."""
    uses: list[Callable[[], Any]] = [
        ipc.start,
        lambda: ipc.request("stats"),
        lambda: ipc.request("stats", int),
        lambda: anext(ipc.stream("items")),
        lambda: anext(ipc.subscribe("tick")),
    ]
    errors: list[BaseException] = []
    try:
        for use in uses:
            try:
                async with asyncio.timeout(5):
                    await use()
            except IPCError as error:
                errors.append(error)
    finally:
        await ipc.close()
    return errors


@pytest.mark.parametrize("kind", ["port", "multicast_port"])
@pytest.mark.parametrize("service", SERVICES)
async def test_an_error_at_a_port_of_something_else_does_not_have_the_key(service: str, kind: str) -> None:
    async with SERVICES[service]() as port:
        errors = await errors_of(connecting(**{kind: port, **OPTIONS}))
    assert errors
    assert [place for error in errors for place in places_of(error, KEY)] == []


@pytest.mark.parametrize("key", ["hunter2", 'with "quotes" and a \\\\', "ключ"])
@pytest.mark.parametrize("kind", ["port", "multicast_port"])
async def test_an_error_that_quotes_the_key_has_stars_in_its_place(key: str, kind: str) -> None:
    async with SERVICES["quotes without our protocol"]() as port:
        errors = await errors_of(connecting(**{kind: port, **OPTIONS, "secret_key": key}))
    texts = [str(error) for error in errors if "bad input" in str(error)]
    assert texts
    assert all('"Authorization":"***"' in text.replace(" ", "") for text in texts)


async def test_no_line_in_the_log_has_the_key(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "discord_tools")
    for service in ("another key", "quotes without our protocol", "an older bot with another key"):
        async with SERVICES[service]() as port:
            await errors_of(connecting(port, **OPTIONS))
            await errors_of(connecting(multicast_port=port, **OPTIONS))
    assert caplog.messages
    assert KEY not in caplog.text
