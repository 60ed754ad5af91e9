"""Exceptions about acting users: what they may not do, and who they are not. A branch of the tree in :mod:`.errors`."""

from __future__ import annotations

from typing import Any, cast

from discord_tools.ipc.error_data import id_of, strings_of
from discord_tools.ipc.errors import Forbidden

__all__ = (
    "ActingUserRequired",
    "InvalidToken",
    "MissingPermissions",
    "MissingRole",
    "NotAMember",
    "NotOwner",
)


class ActingUserRequired(Forbidden):
    """The route demands an acting user, and the call has none: see :meth:`ClientSession.acting_as`. The route did not
    run.

    .. versionadded:: 1.2
    """

    #: Its number on the wire.
    code = -32015

    @property
    def needs_token(self) -> bool:
        """:class:`bool`: Whether the key demands that the bot verifies the user, so that the call needs
        ``acting_as(token=...)``.
        """
        data: Any = self.data
        return isinstance(data, dict) and cast("dict[str, Any]", data).get("needs_token") is True


class NotAMember(Forbidden):
    """The acting user is not a member of the guild that the call is about, or not any more. The route did not run.

    .. versionadded:: 1.2
    """

    #: Its number on the wire.
    code = -32016


class MissingPermissions(Forbidden):
    """The acting user is a member of the guild and lacks a permission that the route or the event demands. The route
    did not run.

    .. versionadded:: 1.2
    """

    #: Its number on the wire.
    code = -32017

    @property
    def missing_permissions(self) -> list[str]:
        """List[:class:`str`]: The permissions that the user lacks, by their names in discord.py."""
        return strings_of(self.data, "missing_permissions")

    @property
    def channel_id(self) -> int | None:
        """Optional[:class:`int`]: The channel in which they were judged. ``None`` for the whole guild."""
        return id_of(self.data, "channel_id")


class MissingRole(Forbidden):
    """The acting user is a member of the guild and has none of the roles that the route or the event demands. The route
    did not run.

    .. versionadded:: 1.2
    """

    #: Its number on the wire.
    code = -32018

    @property
    def missing_roles(self) -> list[str]:
        """List[:class:`str`]: The names or the ids of the roles of which the user needs one."""
        return strings_of(self.data, "missing_roles")


class NotOwner(Forbidden):
    """The acting user is not the owner of the bot, nor in the team that owns it. The route did not run.

    .. versionadded:: 1.2
    """

    #: Its number on the wire.
    code = -32019


class InvalidToken(Forbidden):
    """Discord does not accept the access token of the acting user: it has expired, was revoked, or never was one. Or it
    belongs to another user than the call says. The route did not run.

    .. versionadded:: 1.2
    """

    #: Its number on the wire.
    code = -32020
