"""Request and reply between a Discord bot and everything around it.

The names of the server live in a distribution of their own and are looked up there when they are asked for, so a
dashboard that only has the client never imports discord.py.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from discord_tools.ipc import errors as _errors, refusals as _refusals
from discord_tools.ipc._version import __version__
from discord_tools.ipc.errors import *  # noqa: F403
from discord_tools.ipc.limits import ClientLimits, ServerLimits
from discord_tools.ipc.refusals import *  # noqa: F403
from discord_tools.ipc.session import ClientSession
from discord_tools.ipc.streams import Stream
from discord_tools.ipc.subscriptions import Event, EventInfo, Gap, Subscription
from discord_tools.ipc.views import SessionView

_SERVER_NAMES = (
    *("AuditEntry", "Cached", "Caller", "Key", "Request", "Route", "RouteGroup", "Server"),
    *("by_caller", "check", "cooldown", "full", "max_concurrency", "only", "requires", "requires_owner"),
    *("requires_role", "route"),
)
_HAS_SERVER = find_spec("discord_tools.ipc_server") is not None

if TYPE_CHECKING:
    from discord_tools.ipc_server import (
        AuditEntry,
        Cached,
        Caller,
        Key,
        Request,
        Route,
        RouteGroup,
        Server,
        by_caller,
        check,
        cooldown,
        full,
        max_concurrency,
        only,
        requires,
        requires_owner,
        requires_role,
        route,
    )

    __all__ = (
        "AuditEntry",
        "Cached",
        "Caller",
        "ClientLimits",
        "ClientSession",
        "Event",
        "EventInfo",
        "Gap",
        "Key",
        "Request",
        "Route",
        "RouteGroup",
        "Server",
        "ServerLimits",
        "SessionView",
        "Stream",
        "Subscription",
        "__version__",
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
    __all__ += _errors.__all__
    __all__ += _refusals.__all__
else:
    __all__ = (
        "ClientLimits",
        "ClientSession",
        "Event",
        "EventInfo",
        "Gap",
        "ServerLimits",
        "SessionView",
        "Stream",
        "Subscription",
        "__version__",
        *_errors.__all__,
        *_refusals.__all__,
        *(_SERVER_NAMES if _HAS_SERVER else ()),
    )

    def __getattr__(name: str) -> Any:
        if name not in _SERVER_NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            server = import_module("discord_tools.ipc_server")
        except ModuleNotFoundError as error:
            # Only the missing distribution is explained. A broken install, discord.py missing say, speaks for itself.
            if error.name != "discord_tools.ipc_server":
                raise
            raise ImportError(
                f"{__name__}.{name} belongs to the distribution ipc-server, which is not installed here",
                name=error.name,
            ) from error
        return getattr(server, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
