"""What events demand of acting users who hear them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from discord_tools.ipc_server.demands import checked_requires
from discord_tools.ipc_server.event_table.permissions import PERMISSIONS
from discord_tools.ipc_server.requirements import MEMBERSHIP, Permissions, Requirement

__all__ = ("EventDemands",)

#: To see a channel. In a channel, the default rule demands it of all events.
_VIEW: Final = "view_channel"

#: What the default rule demands, and what in a channel, by the name of an event.
_TABLE: Final = {name: (Permissions(permissions),) for name, permissions in PERMISSIONS.items()}
_IN_CHANNEL: Final = {
    name: (Permissions((_VIEW, *permissions)),) for name, permissions in PERMISSIONS.items()
}

#: The same for all other events.
_DEFAULT: Final = (MEMBERSHIP,)
_DEFAULT_IN_CHANNEL: Final = (Permissions((_VIEW,)),)


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

    def default(self, name: str, *, in_channel: bool = False) -> tuple[Requirement, ...]:
        """What the default rule demands in the guild of an event, or in its channels."""
        return _IN_CHANNEL.get(name, _DEFAULT_IN_CHANNEL) if in_channel else _TABLE.get(name, _DEFAULT)
