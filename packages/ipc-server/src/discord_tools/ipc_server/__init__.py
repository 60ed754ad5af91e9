"""The bot's side. Import its names from :mod:`discord_tools.ipc`."""

from discord_tools.ipc_server.installation import refuse_mixed

# Before anything imports discord.py: two libraries that are mixed fail in any way, or not until a bot runs.
refuse_mixed()

from discord_tools.ipc_server.audit import AuditEntry
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.checks import check, cooldown, max_concurrency
from discord_tools.ipc_server.cooldowns import by_caller
from discord_tools.ipc_server.demands import requires, requires_owner, requires_role
from discord_tools.ipc_server.groups import RouteGroup
from discord_tools.ipc_server.keys import Key
from discord_tools.ipc_server.parameters.objects import Cached
from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.routes import Route, route
from discord_tools.ipc_server.server import Server
from discord_tools.ipc_server.values.selecting import full, only

__all__ = (
    "AuditEntry",
    "Cached",
    "Caller",
    "Key",
    "Request",
    "Route",
    "RouteGroup",
    "Server",
    "by_caller",
    "check",
    "cooldown",
    "full",
    "max_concurrency",
    "only",
    "requires",
    "requires_owner",
    "requires_role",
    "route",
)
