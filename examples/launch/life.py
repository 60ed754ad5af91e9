"""Life for the loopback Discord: every few seconds somebody joins, leaves or says something."""

import asyncio
import itertools
import json
import random
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
FEWEST = 5  # members; below that nobody leaves


async def command(discord: Child, op: str, **fields: Any) -> dict[str, Any]:
    """Make something happen on the loopback Discord; ``loopback.process`` lists what."""
    answer = json.loads(await discord.ask(json.dumps({"op": op, **fields})))
    if not answer.pop("ok"):
        raise ValueError(answer["error"])
    return answer


async def live(discord: Child) -> None:
    names = itertools.cycle(random.sample(NAMES, len(NAMES)))
    while True:
        await asyncio.sleep(random.uniform(1, 3))
        state = await command(discord, "state")
        guild = (await command(discord, "guild", guild=random.choice(state["guilds"])))["guild"]
        people = [member["user"]["id"] for member in guild["members"] if not member["user"].get("bot")]
        what = random.choices(("say", "join", "leave"), weights=(5, 2, 2))[0]
        if what == "join" or not people:
            await command(discord, "join", guild=guild["id"], name=next(names))
        elif what == "leave" and len(people) > FEWEST:
            await command(discord, "leave", guild=guild["id"], member=random.choice(people))
        else:
            channels = [channel["id"] for channel in guild["channels"] if channel["type"] == 0]
            channel = random.choice([*channels[:1] * 4, *channels])  # mostly the first, where a visitor looks
            member, text = random.choice(people), random.choice(TALK)
            await command(discord, "say", channel=channel, member=member, text=text)
