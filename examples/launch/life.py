"""Life for the loopback Discord: every few seconds somebody joins, leaves, says something, or is moderated."""

import asyncio
import contextlib
import itertools
import json
import random
from collections import deque
from typing import Any

from children import Child

NAMES = ("Ines", "Jonas", "Mei", "Omar", "Priya", "Quinn", "Rosa", "Sven", "Tala", "Uma", "Wren", "Zoe")
TALK = (
    "Good morning, everyone!",
    "Has anybody tried the new release yet?",
    "That worked on the first try. I am suspicious.",
    "Who is in for a game tonight?",
    "I wrote it down somewhere. Now I need to find where.",
    "Thank you, that helped a lot.",
    "The kettle is on.",
    "Does anyone have a spare keycap?",
    "I'll be late, start without me.",
    "Look what I made this weekend!",
)
REASONS = ("spam", "insults", "a raid")
FEWEST = 5  # members; below that nobody leaves


async def command(discord: Child, op: str, **fields: Any) -> dict[str, Any]:
    """Make something happen on the loopback Discord; ``loopback.process`` lists what."""
    answer = json.loads(await discord.ask(json.dumps({"op": op, **fields})))
    if not answer.pop("ok"):
        raise ValueError(answer["error"])
    return answer


async def live(discord: Child) -> None:
    names = itertools.cycle(random.sample(NAMES, len(NAMES)))
    said: deque[dict[str, str]] = deque(maxlen=20)  # what may be edited or deleted
    while True:
        await asyncio.sleep(random.uniform(1, 3))
        state = await command(discord, "state")
        guild = (await command(discord, "guild", guild=random.choice(state["guilds"])))["guild"]
        people = [member["user"]["id"] for member in guild["members"] if not member["user"].get("bot")]
        what = random.choices(("say", "join", "leave", "edit", "delete", "ban"), weights=(10, 4, 4, 3, 3, 1))[
            0
        ]
        if what == "join" or not people:
            await command(discord, "join", guild=guild["id"], name=next(names))
        elif what == "edit" and said:
            await moderate(discord, "edit", random.choice(said), text=random.choice(TALK))
        elif what == "delete" and said:
            await moderate(discord, "delete", said.popleft())
        elif what == "ban" and len(people) > FEWEST:
            reason = random.choice(REASONS)
            await command(
                discord, "ban", guild=guild["id"], moderator=people[0], member=people[-1], reason=reason
            )
        elif what == "leave" and len(people) > FEWEST:
            await command(discord, "leave", guild=guild["id"], member=random.choice(people))
        else:
            channels = [channel["id"] for channel in guild["channels"] if channel["type"] == 0]
            channel = random.choice([*channels[:1] * 4, *channels])  # mostly the first, where a visitor looks
            member, text = random.choice(people), random.choice(TALK)
            message = await command(discord, "say", channel=channel, member=member, text=text)
            said.append({"channel": channel, "member": member, **message})


async def moderate(discord: Child, op: str, message: dict[str, str], **fields: str) -> None:
    with contextlib.suppress(ValueError):  # the author may have left
        await command(discord, op, **message, **fields)
