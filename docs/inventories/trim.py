"""Makes the inventories here from complete ones: ``python trim.py FOLDER`` with python.inv, discord.inv, aiohttp.inv.

Needs sphobjinv. Only what these pages can sensibly link to is kept, so that a refresh stays a readable change.
"""

import sys
from pathlib import Path

import sphobjinv

KEEP = {
    "python": ("asyncio.", "collections.abc.", "contextlib.", "logging.", "os.environ", "typing.", "types."),
    "discord": ("discord.",),
    "aiohttp": ("aiohttp.",),
}
# discord.py has thousands of attributes; only those of what a bot starts from are linked.
OWNERS = ("discord.Client.", "discord.ext.commands.Bot.", "discord.ext.commands.Cog.", "discord.on_")
TYPES = {"class", "exception"}
BUILTIN_ROLES = {"class", "exception", "function", "method", "data"}


def keep(project: str, item: sphobjinv.DataObjStr) -> bool:
    if item.domain != "py":
        return False
    if project == "discord":
        return item.name.startswith(KEEP[project]) and (item.role in TYPES or item.name.startswith(OWNERS))
    if item.name.startswith(KEEP[project]):
        return True
    first = item.name.partition(".")[0]
    return project == "python" and first in dir(__builtins__) and item.role in BUILTIN_ROLES


for project in KEEP:
    full = sphobjinv.Inventory(str(Path(sys.argv[1]) / f"{project}.inv"))
    trimmed = sphobjinv.Inventory()
    trimmed.project, trimmed.version = full.project, full.version
    trimmed.objects.extend(item for item in full.objects if keep(project, item))
    text = sphobjinv.compress(trimmed.data_file(contract=True))
    sphobjinv.writebytes(str(Path(__file__).parent / f"{project}.inv"), text)
    print(f"{project}: {len(trimmed.objects)} of {len(full.objects)}")
