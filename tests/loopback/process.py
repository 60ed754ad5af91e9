"""The loopback as a process of its own: a JSON line for each command on stdin, one on stdout for each answer.

Ids travel as strings, as in Discord's own JSON. The commands:

- ``{"op": "join", "guild": ID, "name": "ada"}`` answers ``{"ok": true, "member": ID}``; ``name`` is optional
- ``{"op": "leave", "guild": ID, "member": ID}``
- ``{"op": "say", "channel": ID, "member": ID, "text": "hello"}`` answers the ``message``'s id
- ``{"op": "edit", "message": ID, "channel": ID, "member": ID, "text": "hello"}`` edits what that member has said
- ``{"op": "delete", "message": ID, "channel": ID, "member": ID}``
- ``{"op": "ban", "guild": ID, "member": ID, "moderator": ID, "reason": "spam"}``; ``reason`` is optional
- ``{"op": "add_guild", "name": "Tea House", "members": 5}`` answers the ``guild``'s id; both optional
- ``{"op": "remove_guild", "guild": ID}``
- ``{"op": "drop_gateways", "resumable": true}``
- ``{"op": "guild", "guild": ID}`` answers the ``guild`` as GUILD_CREATE has it: members, channels, roles
- ``{"op": "state"}`` answers ``guilds`` (ids), ``sent`` (messages), ``identifies``, ``resumes`` and
  ``unhandled``
- ``{"op": "wait_sent"}`` waits for a bot's message and answers the next ``message``
- ``{"op": "wait_resumes", "count": 1}`` and ``wait_identifies`` wait for the counter to get there

A command that cannot be done is answered ``{"ok": false, "error": ...}``. The end of stdin ends the process,
so it cannot outlive the one that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from . import payloads
from .model import Channel, Guild, Member, Message
from .server import LoopbackDiscord

LINE_LIMIT = 1 << 26
EXIT_TIMEOUT = 10.0

T = TypeVar("T")


async def execute(discord_: LoopbackDiscord, line: str) -> dict[str, Any]:
    """Does one command and returns its answer."""
    try:
        command: dict[str, Any] = json.loads(line)
        return {"ok": True, **await _execute(discord_, command.pop("op"), command)}
    except (AttributeError, KeyError, TypeError, ValueError, TimeoutError) as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


async def _execute(discord_: LoopbackDiscord, op: str, fields: dict[str, Any]) -> dict[str, Any]:
    match op:
        case "join":
            member = await discord_.join(_guild(discord_, fields), name=fields.get("name"))
            return {"member": str(member.id)}
        case "leave":
            guild = _guild(discord_, fields)
            await discord_.leave(guild, _known(guild.member(int(fields["member"])), "member"))
        case "say":
            channel, author = _place(discord_, fields)
            return {"message": str((await discord_.say(channel, author, fields["text"])).id)}
        case "edit" | "delete":
            channel, author = _place(discord_, fields)
            message = Message(int(fields["message"]), channel, author.user, fields.get("text", ""))
            await (discord_.delete(message) if op == "delete" else discord_.edit(message, message.content))
        case "ban":
            guild = _guild(discord_, fields)
            member, moderator = (
                _known(guild.member(int(fields[who])), who) for who in ("member", "moderator")
            )
            await discord_.ban(member, moderator, fields.get("reason"))
        case "add_guild":
            return {"guild": str(discord_.add_guild(**fields).id)}
        case "remove_guild":
            discord_.remove_guild(_guild(discord_, fields))
        case "drop_gateways":
            await discord_.drop_gateways(**fields)
        case "guild":
            return {"guild": payloads.guild(_guild(discord_, fields))}
        case "wait_sent":
            return {"message": payloads.message(await discord_.wait_sent())}
        case "wait_resumes":
            await discord_.wait_until(lambda: discord_.resumes >= fields["count"])
        case "wait_identifies":
            await discord_.wait_until(lambda: discord_.identifies >= fields["count"])
        case "state":
            return state(discord_)
        case _:
            raise ValueError(f"no such op: {op}")
    return {}


def state(discord_: LoopbackDiscord) -> dict[str, Any]:
    """What the ``state`` command answers."""
    return {
        "guilds": [str(guild.id) for guild in discord_.guilds],
        "sent": [payloads.message(message) for message in discord_.sent],
        "identifies": discord_.identifies,
        "resumes": discord_.resumes,
        "unhandled": discord_.unhandled,
    }


def _guild(discord_: LoopbackDiscord, fields: Mapping[str, Any]) -> Guild:
    wanted = int(fields["guild"])
    return _known(next((guild for guild in discord_.guilds if guild.id == wanted), None), "guild")


def _place(discord_: LoopbackDiscord, fields: Mapping[str, Any]) -> tuple[Channel, Member]:
    channels = (guild.channel(int(fields["channel"])) for guild in discord_.guilds)
    channel = _known(next(filter(None, channels), None), "channel")
    return channel, _known(channel.guild.member(int(fields["member"])), "member")


def _known(found: T | None, what: str) -> T:
    if found is None:
        raise ValueError(f"no such {what}")
    return found


class LoopbackProcess:
    """Starts ``python -m loopback`` and talks to it; an asynchronous context manager.

    Parameters
    ----------
    options
        What the command line takes, such as ``guilds=3``.
    """

    def __init__(self, **options: int) -> None:
        self.port = 0
        """The port, once started: give it to :class:`.LoopbackConnector`."""
        self.guild_ids: list[int] = []
        """The guilds at the start."""
        self._arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loopback", *self._arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=LINE_LIMIT,
        )
        try:
            ready = await self._answer()
        except BaseException:
            await self.close()
            raise
        self.port = ready["port"]
        self.guild_ids = [int(guild_id) for guild_id in ready["guilds"]]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def command(self, op: str, **fields: Any) -> dict[str, Any]:
        """Sends a command and returns the answer. One at a time.

        Raises
        ------
        ValueError
            The command could not be done.
        """
        assert self._process is not None, "not started"
        assert self._process.stdin is not None, "it was asked for"
        self._process.stdin.write(json.dumps({"op": op, **fields}).encode() + b"\n")
        await self._process.stdin.drain()
        answer = await self._answer()
        if not answer["ok"]:
            raise ValueError(answer["error"])
        return answer

    async def close(self) -> int | None:
        """Ends the process and returns its exit status. Doing it twice does no harm."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None, "it was asked for"
        process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_TIMEOUT):
                return await process.wait()
        except TimeoutError:
            process.kill()
            return await process.wait()

    async def _answer(self) -> dict[str, Any]:
        assert self._process is not None, "not started"
        assert self._process.stdout is not None, "it was asked for"
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the loopback's process ended; see its stderr")
        return json.loads(line)
