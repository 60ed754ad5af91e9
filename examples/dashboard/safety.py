"""Keeps other sites away from the page's API, which can make the bot speak, and turns errors into words."""

from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from discord_tools.ipc import IPCError

from .words import explain

HEADERS = {
    # The page's own files and Discord's pictures, nothing from anywhere else and nothing inline.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' https://cdn.discordapp.com; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def same_site_only(hosts: Collection[str]) -> Middleware:
    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        # A site whose name was pointed at this machine (DNS rebinding) still sends its own name as the host.
        try:
            known = request.url.host in hosts
        except ValueError:
            known = False  # not even a host name
        if not known:
            raise web.HTTPForbidden(text="This dashboard does not answer under that host name.")
        if request.method not in ("GET", "HEAD"):
            # A form on a foreign page can post, but not as JSON; its script could, but names its own origin.
            if request.content_type != "application/json":
                raise web.HTTPUnsupportedMediaType(text="Send JSON.")
            origin = request.headers.get("Origin")
            if origin is not None and origin.partition("://")[2] != request.host:
                raise web.HTTPForbidden(text="Other sites may not use this dashboard.")
        return await handler(request)

    return check


@web.middleware
async def errors_in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except IPCError as error:
        status, words = explain(error)
    except web.HTTPError as error:
        status, words = error.status, error.text or error.reason
    return web.json_response({"error": words}, status=status)
