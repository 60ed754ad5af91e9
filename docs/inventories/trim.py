"""Makes the inventories here from complete ones: ``python trim.py FOLDER`` with python.inv, discord.inv, ...

Needs sphobjinv. Only what these pages can sensibly link to is kept, so that a refresh is small.
"""

import sys
from pathlib import Path

import sphobjinv

KEEP = {
    "python": (
        "asyncio.",
        "collections.abc.",
        "contextlib.",
        "datetime.datetime",
        "logging.",
        "os.PathLike",
        "os.environ",
        "ssl.SSLContext",
        "ssl.SSLError",
        "typing.",
        "types.",
    ),
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


def write(project: str, version: str, items: list[sphobjinv.DataObjStr]) -> None:
    inventory = sphobjinv.Inventory()
    inventory.project, inventory.version = project, version
    inventory.objects.extend(items)
    data = sphobjinv.compress(inventory.data_file(contract=True))
    sphobjinv.writebytes(str(Path(__file__).parent / f"{project}.inv"), data)


for project in KEEP:
    full = sphobjinv.Inventory(str(Path(sys.argv[1]) / f"{project}.inv"))
    write(project, full.version, [item for item in full.objects if keep(project, item)])

# No package has this one, and it takes one entry.
struct = {"domain": "py", "role": "class", "priority": "1", "uri": "api.html#$", "dispname": "-"}
write("msgspec", "", [sphobjinv.DataObjStr(name="msgspec.Struct", **struct)])
