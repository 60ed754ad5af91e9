"""The web application: one page, the small API that it uses, and one session with the bot for all of it."""

import asyncio
import contextlib
import importlib
import json
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from discord_tools import ipc

from .browsers import Browsers
from .feed import changes, states
from .log import entry, follow, keep
from .models import Guild, GuildCard, Message, Status
from .safety import add_headers, errors_in_words, same_site_only

STATIC = Path(__file__).parent / "static"
BEAT = 15.0  # seconds; a line now and then shows whether the browser is still there

SESSION = web.AppKey("session", ipc.ClientSession)
BROWSERS = web.AppKey("browsers", Browsers)
LOGS: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("logs")  # requests that follow a log
routes = web.RouteTableDef()


async def bot_connection(app: web.Application) -> AsyncIterator[None]:
    """One session and one subscription for the whole application, from its start to its end."""
    async with ipc.ClientSession(
        multicast_port=int(os.environ.get("IPC_MULTICAST_PORT", "20000")),
        secret_key=os.environ["IPC_SECRET_KEY"],
        connect_timeout=2.0,  # somebody is looking at the page: rather say soon that the bot is away
    ) as session:
        app[SESSION] = session
        relays = [asyncio.create_task(app[BROWSERS].relay(feed(session))) for feed in (states, changes)]
        relays.append(asyncio.create_task(keep(session)))
        yield
        for relay in relays:
            relay.cancel()
        await asyncio.wait(relays)


@routes.get("/")
async def page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "index.html")


@routes.get("/api/about")
async def about(request: web.Request) -> web.Response:
    """Which of the bot's packages this process could import: a dashboard needs none of them."""
    importable: dict[str, bool] = {}
    for name in ("discord", "discord_tools.ipc_server"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            importable[name] = False
        else:
            importable[name] = True
    versions = {"ipc-client": ipc.__version__, "aiohttp": aiohttp.__version__}
    return web.json_response({"importable": importable, "versions": versions})


@routes.get("/api/status")
async def status(request: web.Request) -> web.Response:
    return web.json_response(await request.app[SESSION].request("status", Status))


@routes.get("/api/guilds")
async def guilds(request: web.Request) -> web.Response:
    return web.json_response(await request.app[SESSION].request("guilds", list[GuildCard]))


@routes.get(r"/api/guilds/{guild:\d+}")
async def guild(request: web.Request) -> web.Response:
    guild = request.match_info["guild"]
    return web.json_response(await request.app[SESSION].request("guild", Guild, guild=guild))


@routes.get(r"/api/channels/{channel:\d+}/messages")
async def messages(request: web.Request) -> web.Response:
    channel = request.match_info["channel"]
    return web.json_response(await request.app[SESSION].request("messages", list[Message], channel=channel))


@routes.post(r"/api/channels/{channel:\d+}/messages")
async def send_message(request: web.Request) -> web.Response:
    try:
        text = (await request.json())["text"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str):
        raise web.HTTPBadRequest(text='Send an object like {"text": "Hello"}.')
    channel = request.match_info["channel"]
    answer = await request.app[SESSION].request("send_message", Message, channel=channel, text=text)
    return web.json_response(answer, status=201)


@routes.get("/api/events")
async def events(request: web.Request) -> web.StreamResponse:
    """Everything that happens, as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    # A browser that left shows only when something is written to it.
    with request.app[BROWSERS].listening() as queue, contextlib.suppress(ConnectionError):
        while True:
            try:
                update = await asyncio.wait_for(queue.get(), BEAT)
            except TimeoutError:
                await response.write(b":\n\n")
                continue
            if update is None:
                break
            await response.write(f"data: {json.dumps(update)}\n\n".encode())
    return response


@routes.get("/log")
async def log_page(request: web.Request) -> web.FileResponse:
    return web.FileResponse(STATIC / "log.html")


@routes.get(r"/api/guilds/{guild:\d+}/log")
async def guild_log(request: web.Request) -> web.StreamResponse:
    """The moderation log of a guild, or with ``?channel=`` of one of its channels, as server-sent events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    log = follow(request.app[SESSION], request.match_info["guild"], request.query.get("channel"))
    request.app[LOGS].add(request.task)
    begun = False
    try:
        async with log:
            while True:
                try:
                    found = entry(await asyncio.wait_for(anext(log), BEAT))
                except TimeoutError:
                    await response.write(b":\n\n")
                    continue
                if begun or found["kind"] != "missed":  # what was never kept is not missing
                    begun = True
                    await response.write(f"data: {json.dumps(found)}\n\n".encode())
    except (ConnectionError, ipc.IPCError):
        pass  # the browser has left, or asks again by itself
    finally:
        request.app[LOGS].discard(request.task)
    return response


async def close_pages(app: web.Application) -> None:
    app[BROWSERS].close()
    for task in tuple(app[LOGS]):
        task.cancel()


def make_app(hosts: Collection[str]) -> web.Application:
    app = web.Application(middlewares=[errors_in_words, same_site_only(hosts)])
    app[BROWSERS] = Browsers()
    app[LOGS] = set()
    app.add_routes(routes)
    app.router.add_static("/static", STATIC)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(close_pages)  # or their open streams would hold up the end
    app.cleanup_ctx.append(bot_connection)
    return app
