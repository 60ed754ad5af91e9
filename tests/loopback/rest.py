"""The few routes of Discord's REST API that a bot needs."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from . import payloads
from .model import Guild, Member, Message, Role, World
from .oauth2 import OAuth2

VERSION = re.compile(r"^/api/v\d+")
"""What every path begins with."""

Dispatch = Callable[[str, Guild, Mapping[str, Any]], None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An error answer, with Discord's own JSON code."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def answer(data: object, *, status: int = 200) -> web.Response:
    """A JSON answer. Its type has no charset: discord.py would hand back such an answer as text."""
    return web.Response(status=status, body=json.dumps(data).encode(), content_type="application/json")


class Rest:
    """The routes. What they change goes out on the gateway, too."""

    def __init__(
        self,
        world: World,
        token: str,
        *,
        shards: int,
        dispatch: Dispatch,
        posted: Callable[[Message], None],
        changed: Callable[[], None],
    ) -> None:
        self.unhandled: list[str] = []
        self.requests: Counter[str] = Counter()
        """How often each request was made, as ``"GET /users/1"``."""
        self.failures: dict[str, int] = {}
        """The status with which a request is answered, by its beginning."""
        self.in_progress = 0
        """How many requests are held at present."""
        self._held: dict[str, asyncio.Event] = {}
        self.oauth2 = OAuth2(world.bot.id)
        """The access tokens of users."""
        self._world = world
        self._token = token
        self._shards = shards
        self._dispatch = dispatch
        self._posted = posted
        self._changed = changed

    def routes(self) -> list[web.RouteDef]:
        """The routes, the one that catches the rest last."""
        api = r"/api/v{version:\d+}"
        application = f"{api}/applications/{{application}}"
        role = f"{api}/guilds/{{guild}}/members/{{user}}/roles/{{role}}"
        return [
            web.get("/oauth2/authorize", self.oauth2.authorize),
            web.post(f"{api}/oauth2/token", self.oauth2.token),
            web.get(f"{api}/users/@me", self._guarded(self.me, users=True)),
            web.get(f"{api}/users/{{user}}", self._guarded(self.get_user)),
            web.get(f"{api}/invites/{{code}}", self._guarded(self.get_invite)),
            web.get(f"{api}/channels/{{channel}}/messages/{{message}}", self._guarded(self.get_message)),
            web.get(f"{api}/oauth2/applications/@me", self._guarded(self.application)),
            web.get(f"{api}/gateway", self._guarded(self.gateway_bot)),
            web.get(f"{api}/gateway/bot", self._guarded(self.gateway_bot)),
            web.post(f"{api}/channels/{{channel}}/messages", self._guarded(self.post_message)),
            web.get(f"{api}/guilds/{{guild}}/members/{{user}}", self._guarded(self.get_member)),
            web.put(role, self._guarded(self.add_role)),
            web.delete(role, self._guarded(self.remove_role)),
            web.get(f"{application}/commands", self._guarded(self.nothing)),
            web.get(f"{api}/soundboard-default-sounds", self._guarded(self.nothing)),
            web.put(f"{application}/commands", self._guarded(self.sync)),
            web.put(f"{application}/guilds/{{guild}}/commands", self._guarded(self.sync)),
            web.route("*", "/{path:.*}", self.unknown),
        ]

    def _guarded(self, handler: Handler, *, users: bool = False) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                shown = request.headers.get("Authorization", "")
                if shown[:7] == "Bearer " and users:
                    await self._asked(f"{request.method} {VERSION.sub('', request.path)} as a user")
                    return self._own_user(shown)
                if shown != f"Bot {self._token}":
                    raise ApiError(401, 0, "401: Unauthorized")
                await self._asked(f"{request.method} {VERSION.sub('', request.path)}")
                return await handler(request)
            except ApiError as error:
                return answer({"code": error.code, "message": error.message}, status=error.status)

        return guarded

    def _own_user(self, shown: str) -> web.Response:
        """``GET /users/@me`` with an access token."""
        grant = self.oauth2.holder(shown)
        if grant is None:
            raise ApiError(401, 0, "401: Unauthorized")
        if "identify" not in grant.scopes:
            raise ApiError(403, 50001, "Missing Access")
        return answer(self.oauth2.me(grant))

    @contextmanager
    def held(self, beginning: str) -> Generator[None]:
        """Requests that begin so, ``"GET /users/"`` say, are answered at the end of the block."""
        released = self._held[beginning] = asyncio.Event()
        try:
            yield
        finally:
            del self._held[beginning]
            released.set()

    async def _asked(self, what: str) -> None:
        self.requests[what] += 1
        self._changed()
        for beginning, released in self._held.items():
            if what.startswith(beginning):
                self.in_progress += 1
                self._changed()
                try:
                    await released.wait()
                finally:
                    self.in_progress -= 1
                break
        for beginning, status in self.failures.items():
            if what.startswith(beginning):
                raise ApiError(status, 0, "the test wants it so")

    async def unknown(self, request: web.Request) -> web.Response:
        """Anything that is not spoken here."""
        self.unhandled.append(f"{request.method} {request.path}")
        return answer({"code": 0, "message": "404: Not Found"}, status=404)

    async def me(self, request: web.Request) -> web.Response:
        """``GET /users/@me``: the first request of a log-in."""
        return answer(payloads.user(self._world.bot))

    async def application(self, request: web.Request) -> web.Response:
        """``GET /oauth2/applications/@me``: the second one."""
        return answer(payloads.application(self._world.bot, self._world.owner, self._world.team))

    async def gateway_bot(self, request: web.Request) -> web.Response:
        """``GET /gateway/bot``: asked by a bot that wants to be told its number of shards, or by any of py-cord."""
        limit = {"total": 1000, "remaining": 1000, "reset_after": 86_400_000, "max_concurrency": 1}
        url = "wss://gateway.discord.gg"
        return answer({"url": url, "shards": self._shards, "session_start_limit": limit})

    async def nothing(self, request: web.Request) -> web.Response:
        """What py-cord asks for when it has logged in: commands and sounds, of which there are none."""
        return answer([])

    async def post_message(self, request: web.Request) -> web.Response:
        """``POST /channels/{channel}/messages``: the bot speaks, and hears itself on the gateway."""
        channel = self._world.channel(_id(request, "channel"))
        if channel is None:
            raise ApiError(404, 10003, "Unknown Channel")
        if request.content_type != "application/json":
            # Files are sent as multipart/form-data.
            self.unhandled.append(f"{request.method} {request.path} as {request.content_type}")
            raise ApiError(404, 0, "404: Not Found")
        sent: dict[str, Any] = await request.json()
        message = Message(
            self._world.next_id(),
            channel,
            self._world.bot,
            sent.get("content") or "",
            embeds=sent.get("embeds") or (),
            reference=sent.get("message_reference"),
            nonce=sent.get("nonce"),
        )
        if not message.content and not message.embeds:
            raise ApiError(400, 50006, "Cannot send an empty message")
        self._world.remember(message)
        payload = payloads.message(message)
        self._dispatch("MESSAGE_CREATE", channel.guild, payload)
        self._posted(message)
        return answer(payload)

    async def get_user(self, request: web.Request) -> web.Response:
        """``GET /users/{user}``."""
        user = self._world.users.get(_id(request, "user"))
        if user is None:
            raise ApiError(404, 10013, "Unknown User")
        return answer(payloads.user(user))

    async def get_message(self, request: web.Request) -> web.Response:
        """``GET /channels/{channel}/messages/{message}``."""
        message = self._world.messages.get(_id(request, "message"))
        if message is None or message.channel.id != _id(request, "channel"):
            raise ApiError(404, 10008, "Unknown Message")
        return answer(payloads.message(message))

    async def get_invite(self, request: web.Request) -> web.Response:
        """``GET /invites/{code}``."""
        channel = self._world.invites.get(request.match_info["code"])
        if channel is None:
            raise ApiError(404, 10006, "Unknown Invite")
        return answer(payloads.invite(request.match_info["code"], channel))

    async def get_member(self, request: web.Request) -> web.Response:
        """``GET /guilds/{guild}/members/{user}``."""
        return answer(payloads.member(self._member(request)))

    async def add_role(self, request: web.Request) -> web.Response:
        """``PUT /guilds/{guild}/members/{user}/roles/{role}``."""
        member, role = self._member_and_role(request)
        if role not in member.roles:
            member.roles.append(role)
            self._member_changed(member)
        return web.Response(status=204)

    async def remove_role(self, request: web.Request) -> web.Response:
        """``DELETE /guilds/{guild}/members/{user}/roles/{role}``."""
        member, role = self._member_and_role(request)
        if role in member.roles:
            member.roles.remove(role)
            self._member_changed(member)
        return web.Response(status=204)

    async def sync(self, request: web.Request) -> web.Response:
        """``PUT /applications/{application}[/guilds/{guild}]/commands``: echoes the commands with ids."""
        commands: list[dict[str, Any]] = await request.json()
        given = {"application_id": request.match_info["application"], "version": "1"}
        if "guild" in request.match_info:
            given["guild_id"] = request.match_info["guild"]
        return answer([{**command, **given, "id": str(self._world.next_id())} for command in commands])

    def _member(self, request: web.Request) -> Member:
        guild = self._world.guild(_id(request, "guild"))
        if guild is None:
            raise ApiError(404, 10004, "Unknown Guild")
        member = guild.member(_id(request, "user"))
        if member is None:
            raise ApiError(404, 10007, "Unknown Member")
        return member

    def _member_and_role(self, request: web.Request) -> tuple[Member, Role]:
        member = self._member(request)
        role = member.guild.role(_id(request, "role"))
        if role is None:
            raise ApiError(404, 10011, "Unknown Role")
        return member, role

    def _member_changed(self, member: Member) -> None:
        data = {**payloads.member(member), "guild_id": str(member.guild.id)}
        self._dispatch("GUILD_MEMBER_UPDATE", member.guild, data)


def _id(request: web.Request, name: str) -> int:
    try:
        return int(request.match_info[name])
    except ValueError:
        raise ApiError(400, 50035, f"Invalid Form Body: {name} is not a snowflake") from None
