"""Pages in a real browser: which of them get in, and with what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from discord.ext import commands
from playwright.async_api import Browser, Page

from discord_tools.ipc import ActingUserRequired, BadData, Forbidden, Key, Request, Server
from discord_tools.ipc.missing import MISSING
from equipment.browser import running_browser
from equipment.key import KEY
from equipment.serving import connecting, serving
from equipment.websites import website

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Calls over a WebSocket. Tells the answer, or how the socket ended.
CALL = """([url, protocols]) => new Promise(done => {
    const socket = new WebSocket(url, protocols);
    const call = {jsonrpc: "2.0", id: 1, method: "whoami"};
    socket.onopen = () => socket.send(JSON.stringify(call));
    socket.onmessage = message => { done(JSON.parse(message.data)); socket.close(); };
    socket.onclose = closed => done(`closed ${closed.code}`);
})"""

POST = """([url, headers]) => fetch(url, {
    method: "POST",
    headers: {"Content-Type": "application/json", ...headers},
    body: JSON.stringify({jsonrpc: "2.0", id: 1, method: "whoami"}),
}).then(response => response.json(), error => `${error}`)"""

#: How a page sees that the server has refused a handshake, or the answer to a request.
REFUSED, BLOCKED = "closed 1006", "TypeError: Failed to fetch"
ANSWER = {"jsonrpc": "2.0", "id": 1, "result": "bot"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    # All these names are the bot's machine, as a page can have its own name resolve.
    async with running_browser("--host-resolver-rules=MAP *.example 127.0.0.1") as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def port() -> AsyncIterator[int]:
    """Where the pages come from."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>a page</title>", content_type="text/html")

    async with website(answer) as port:
        yield port


@asynccontextmanager
async def visiting(browser: Browser, url: str) -> AsyncIterator[Page]:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url)
    yield page
    await context.close()


def answering(bot: commands.Bot, **settings: Any) -> Server[commands.Bot]:
    server = serving(bot, host="127.0.0.1", **settings)

    @server.route()
    async def whoami(request: Request) -> str:
        return "bot"

    return server


@pytest.fixture
def ours(port: int) -> str:
    return f"http://ours.example:{port}"


@pytest.fixture
def foreign(port: int) -> str:
    return f"http://foreign.example:{port}"


async def call(page: Page, url: str, *protocols: str) -> Any:
    return await page.evaluate(CALL, [url, list(protocols)])


async def ticket_of(server: Server[commands.Bot], origin: str, **options: Any) -> str:
    """The ticket that the backend of a page gets."""
    async with connecting(
        server.port, **({"secret_key": options.pop("key")} if "key" in options else {})
    ) as ipc:
        return await ipc.ticket(origin=origin, **options)


async def post(page: Page, url: str, **headers: str) -> Any:
    return await page.evaluate(POST, [url.replace("ws://", "http://"), headers])


async def test_only_the_page_of_an_allowed_origin_gets_in(
    loopback_bot: commands.Bot, browser: Browser, ours: str, foreign: str
) -> None:

    async with answering(loopback_bot, secret_key=MISSING, origins=[ours]) as server:
        url = server.ws_url
        async with visiting(browser, ours) as page:
            assert await call(page, url) == ANSWER
            assert await call(page, url, "jsonrpc") == ANSWER
            assert await post(page, url) == ANSWER
        async with visiting(browser, foreign) as page:
            assert await call(page, url) == REFUSED
            assert await call(page, url, "jsonrpc") == REFUSED
            assert await post(page, url) == BLOCKED


async def test_a_page_cannot_use_its_own_host_name_for_the_bot(
    loopback_bot: commands.Bot, browser: Browser, ours: str
) -> None:

    async with answering(loopback_bot, secret_key=MISSING, origins=[ours]) as server:
        rebound = f"ws://rebound.example:{server.port}"
        async with visiting(browser, ours) as page:
            assert await call(page, rebound) == REFUSED
            assert await post(page, rebound) == BLOCKED
        # The page of the bot's own port, as the browser sees it: same origin, so it asks nobody.
        async with visiting(browser, f"http://rebound.example:{server.port}/health") as page:
            assert await call(page, rebound) == REFUSED
            answer = await post(page, rebound)
            assert answer["error"]["message"] == "this origin may not connect"


async def test_the_host_names_of_a_proxy_are_allowed_by_name(
    loopback_bot: commands.Bot, browser: Browser, ours: str
) -> None:

    settings: dict[str, Any] = {"secret_key": MISSING, "origins": [ours], "hosts": ["bot.example"]}
    async with answering(loopback_bot, **settings) as server, visiting(browser, ours) as page:
        assert await call(page, f"ws://bot.example:{server.port}") == ANSWER
        assert await call(page, server.ws_url) == REFUSED


async def test_a_key_in_a_page_opens_the_bot_to_pages_of_allowed_origins_only(
    loopback_bot: commands.Bot, browser: Browser, ours: str, foreign: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:
        async with visiting(browser, ours) as page:
            assert await post(page, server.ws_url, Authorization=KEY) == ANSWER
            refusal = await post(page, server.ws_url, Authorization="wrong")
            assert refusal["error"]["message"] == "wrong secret key"
            assert "secret key" in (await call(page, server.ws_url))["error"]["message"]
        async with visiting(browser, foreign) as page:
            assert await post(page, server.ws_url, Authorization=KEY) == BLOCKED


async def test_a_ticket_opens_one_connection_of_a_page(
    loopback_bot: commands.Bot, browser: Browser, ours: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:
        ticket = await ticket_of(server, ours)
        async with visiting(browser, ours) as page:
            assert await call(page, server.ws_url, "jsonrpc", ticket) == ANSWER
            assert await call(page, server.ws_url, "jsonrpc", ticket) == REFUSED


async def test_a_ticket_opens_one_post_of_a_page(
    loopback_bot: commands.Bot, browser: Browser, ours: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:
        ticket = await ticket_of(server, ours)
        async with visiting(browser, ours) as page:
            assert await post(page, server.ws_url, Authorization=f"Bearer {ticket}") == ANSWER
            refused = await post(page, server.ws_url, Authorization=f"Bearer {ticket}")
            assert refused["error"]["message"] == "wrong secret key"


async def test_a_stolen_ticket_opens_nothing_to_a_page_of_another_origin(
    loopback_bot: commands.Bot, browser: Browser, ours: str, foreign: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:
        ticket = await ticket_of(server, ours)
        async with visiting(browser, foreign) as page:
            assert await call(page, server.ws_url, "jsonrpc", ticket) == REFUSED
            assert await post(page, server.ws_url, Authorization=f"Bearer {ticket}") == BLOCKED


async def test_a_ticket_opens_only_its_scopes_to_a_page(
    loopback_bot: commands.Bot, browser: Browser, ours: str
) -> None:
    keys = {"panel": Key("panel key", scopes={"read", "moderate"})}
    async with answering(loopback_bot, origins=[ours], secret_key=MISSING, keys=keys) as server:

        async def ban(request: Request) -> str:
            return "banned"

        server.add_route(ban, scopes={"moderate"})
        ticket = await ticket_of(server, ours, key="panel key", scopes={"read"})
        async with visiting(browser, ours) as page:
            refused = await page.evaluate(CALL.replace("whoami", "ban"), [server.ws_url, ["jsonrpc", ticket]])
            assert refused["error"]["code"] == Forbidden.code


async def test_the_handshake_of_a_page_never_repeats_the_ticket(
    loopback_bot: commands.Bot, ours: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server, aiohttp.ClientSession() as http:
        ticket = await ticket_of(server, ours)
        async with http.ws_connect(server.ws_url, protocols=("jsonrpc", ticket), origin=ours) as socket:
            assert socket.protocol == "jsonrpc"
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(server.ws_url, protocols=(ticket,), origin=ours)
        assert ticket not in str(caught.value.headers)


async def raw_call(server: Server[commands.Bot], ticket: str, origin: str, method: str, **meta: Any) -> Any:
    """What a page with a ticket is answered."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(server.ws_url, protocols=("jsonrpc", ticket), origin=origin) as socket,
    ):
        call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method}
        await socket.send_json({**call, "meta": meta} if meta else call)
        return await socket.receive_json()


async def test_a_page_acts_for_the_user_of_its_ticket_and_for_no_other_one(
    loopback_bot: commands.Bot, ours: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:

        async def who(request: Request) -> int | None:
            return request.user_id

        server.add_route(who)
        async with connecting(server.port) as ipc:
            acting = await ipc.acting_as(81384788765712384).ticket(origin=ours)
            nobody = await ipc.ticket(origin=ours)
            other = await ipc.acting_as(81384788765712384).ticket(origin=ours)
            claiming = await ipc.ticket(origin=ours)
        assert (await raw_call(server, acting, ours, "who"))["result"] == 81384788765712384
        assert (await raw_call(server, nobody, ours, "who"))["result"] is None
        for ticket in (other, claiming):
            refused = await raw_call(server, ticket, ours, "who", acting_as={"user_id": "5"})
            assert refused["error"]["code"] == Forbidden.code


async def test_a_page_with_a_ticket_gets_no_ticket(loopback_bot: commands.Bot, ours: str) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:
        refused = await raw_call(server, await ticket_of(server, ours), ours, "rpc.ticket")
        assert refused["error"]["code"] == Forbidden.code


async def test_a_key_for_verified_users_makes_no_ticket_without_one(
    loopback_bot: commands.Bot, ours: str
) -> None:
    keys = {"panel": Key("panel key", verified_users_only=True)}
    async with (
        answering(loopback_bot, origins=[ours], secret_key=MISSING, keys=keys) as server,
        connecting(server.port, secret_key="panel key") as ipc,
    ):
        for view in (ipc, ipc.acting_as(81384788765712384)):
            with pytest.raises(ActingUserRequired):
                await view.ticket(origin=ours)


async def test_another_program_may_make_tickets_by_json_rpc(loopback_bot: commands.Bot, ours: str) -> None:
    async with answering(loopback_bot, origins=[ours]) as server, aiohttp.ClientSession() as http:
        call = {"jsonrpc": "2.0", "id": 1, "method": "rpc.ticket", "params": {"origin": ours}}
        url = server.ws_url.replace("ws://", "http://")
        async with http.post(url, json=call, headers={"Authorization": KEY}) as response:
            made = (await response.json())["result"]
        assert await raw_call(server, made, ours, "whoami") == ANSWER


async def test_an_origin_that_is_not_allowed_gets_no_ticket(
    loopback_bot: commands.Bot, ours: str, foreign: str
) -> None:
    async with answering(loopback_bot, origins=[ours]) as server:
        with pytest.raises(BadData, match="does not allow pages of the origin"):
            await ticket_of(server, foreign)
        with pytest.raises(TypeError, match="not one string"):
            await ticket_of(server, ours, scopes="read")
