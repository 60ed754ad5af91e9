"""What happens on the bot, as it happens. The rest of the dashboard only sees what comes out of here."""

import asyncio
from collections.abc import AsyncIterator

from discord_tools.ipc import ClientSession, IPCError

from .models import Changes, Update
from .words import explain

PAUSE = 0.5  # seconds after an error, so that one that comes at once does not keep the dashboard spinning


async def updates(ipc: ClientSession) -> AsyncIterator[Update]:
    """Yield ``up`` once the bot answers (again), ``down`` when it stops, and every change between the two."""
    run, count = "", 0
    while True:
        # Answered when there is news, or after a while without any; at once if the run is another one.
        try:
            answer = await ipc.request("changes", Changes, run=run, after=count)
        except IPCError as error:
            yield {"type": "down", "data": explain(error)[1]}
            run = ""  # so that the bot answers the next call at once, and the page hears that it is back
            await asyncio.sleep(PAUSE)
            continue
        if not answer["complete"]:
            yield {"type": "up", "data": None}
        for change in answer["changes"]:
            yield {"type": "change", "data": change}
        run, count = answer["run"], answer["count"]
