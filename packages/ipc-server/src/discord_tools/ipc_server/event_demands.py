"""What events demand of acting users who hear them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from discord_tools.ipc_server.demands import checked_requires
from discord_tools.ipc_server.event_table.permissions import PERMISSIONS
from discord_tools.ipc_server.requirements import MEMBERSHIP, Permissions, Requirement

__all__ = ("VIEW", "EventDemands")

#: To see a channel. In the default rule it comes before everything else.
VIEW: Final = Permissions(("view_channel",))

_TABLE: Final = {name: (Permissions(permissions),) for name, permissions in PERMISSIONS.items()}

_DEFAULT: Final = (MEMBERSHIP,)


class EventDemands:
    """The demands of all events of one server."""

    def __init__(self) -> None:
        #: Those that the bot has declared, by the names of the events.
        self._declared: dict[str, tuple[Requirement, ...]] = {}

    def declare(self, names: Iterable[str], requires: Any, where: str) -> None:
        """Sets what events of these names demand, as users give it. ``None`` leaves them as they are.

        Raises
        ------
        TypeError
            It is something else.
        """
        requirements = checked_requires(requires, where)
        if requirements is not None:
            self._declared.update(dict.fromkeys(names, requirements))

    def declared(self, name: str) -> tuple[Requirement, ...] | None:
        """What the bot has declared for events of a name; ``None`` for the default rule."""
        return self._declared.get(name)

    def of(self, name: str) -> tuple[Requirement, ...]:
        """What events of a name demand in the guild."""
        declared = self.declared(name)
        return self.default(name) if declared is None else declared

    def default(self, name: str) -> tuple[Requirement, ...]:
        """What the default rule demands in the guild and in the channels of an event."""
        return _TABLE.get(name, _DEFAULT)
