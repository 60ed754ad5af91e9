"""Decorators that demand something of the acting user."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Final, TypeAlias, TypeVar, cast

import discord

from discord_tools.ipc_server.checks import decorated_with, demands_of_class, mark_class
from discord_tools.ipc_server.requirements import Ownership, Permissions, Requirement, Roles
from discord_tools.ipc_server.routes import Route

__all__ = (
    "Demands",
    "Requires",
    "checked_requires",
    "requires",
    "requirements_of",
    "requires_owner",
    "requires_role",
)

T = TypeVar("T")

#: What events demand, as users give it.
Demands: TypeAlias = "Requires | Collection[Requires] | None"

#: What events take.
_EXPECTED: Final = "requires(manage_guild=True), or a list of such"


class Requires:
    """What :func:`requires`, :func:`requires_role` and :func:`requires_owner` return. It decorates routes, their
    functions and cogs, and is given to groups and events.

    .. versionadded:: 1.2
    """

    __slots__ = ("_name", "requirement")

    def __init__(self, name: str, requirement: Requirement) -> None:
        #: The decorator that made it.
        self._name = name
        #: What is demanded.
        self.requirement: Requirement = requirement

    def __call__(self, decorated: T, /) -> T:
        if isinstance(decorated, type):
            mark_class(decorated, self.requirement)
            return cast("T", decorated)
        return decorated_with(self._name, self.requirement)(decorated)

    def __repr__(self) -> str:
        return f"<Requires {self.requirement.described()}>"


def requires(**permissions: bool) -> Requires:
    """A decorator that demands permissions of the acting user: ``@requires(manage_guild=True)``.

    The bot judges it by what it knows itself of the guild that the call is about, never by what the client claims. That
    guild is the one of the route's parameters: of a :class:`discord.Guild`, or of a channel, member, role, message, ...
    If there are several, the user needs the permissions in each. Without one, ``guild_id`` or ``guild`` in the data
    names it.

    Where the route has a channel as parameter, the permissions are judged in that channel, with its overwrites, as
    ``has_permissions()`` of discord.py does; in a thread, those of its parent count, and in a private one only
    for users who are in it or may manage threads. Else the permissions in the whole guild count. The owner of the guild
    and administrators have all permissions; those who are timed out have few.

    It stands above or below :func:`route`, or above a :class:`~discord.ext.commands.Cog` for all of its routes. For a
    group, it is one of the ``checks``. It is judged after the data was bound to the parameters, before the hooks of the
    route.

    .. versionadded:: 1.2

    Parameters
    ----------
    **permissions: :class:`bool`
        Names of permissions, as :class:`discord.Permissions` has them, each with ``True``. Without one, the user has to
        be a member of the guild.

    Raises
    ------
    TypeError
        There is no permission of this name; the text has the nearest one. Or the value is not ``True``. Or the route
        cannot have a guild: it has parameters, and none that can name one.

    Returns
    -------
    Callable
        The decorator. Callers of the route get :exc:`ActingUserRequired`, :exc:`NotAMember` or
        :exc:`MissingPermissions` where it refuses them, and :exc:`FetchFailed` where the member is not in the cache and
        Discord did not answer.
    """
    for name, value in permissions.items():
        if name not in discord.Permissions.VALID_FLAGS:
            near = get_close_matches(name[:100], discord.Permissions.VALID_FLAGS, 1)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"requires(): there is no permission {name!r:.100}{hint}")
        if value is not True:
            raise TypeError(f"requires(): write {name}=True; {value!r:.100} cannot be demanded")
    return Requires("requires", Permissions(permissions))


def requires_role(*roles: int | str) -> Requires:
    """A decorator that demands one of some roles of the acting user: ``@requires_role("Moderator", 8138478876571)``.

    The guild is the one that :func:`requires` judges. As with ``has_any_role()`` of discord.py, neither the
    owner of the guild nor administrators are exempt.

    .. versionadded:: 1.2

    Parameters
    ----------
    *roles: Union[:class:`int`, :class:`str`]
        Ids of roles as :class:`int`, and names as :class:`str`, written exactly so.

    Raises
    ------
    TypeError
        There is no role, or one of a wrong type. Or the route cannot have a guild.
    ValueError
        A name is empty.

    Returns
    -------
    Callable
        The decorator. Callers of the route get :exc:`ActingUserRequired`, :exc:`NotAMember` or :exc:`MissingRole` where
        it refuses them.
    """
    if not roles:
        raise TypeError("requires_role() needs the id or the name of a role")
    for role in roles:
        if isinstance(role, bool) or not isinstance(role, int | str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"requires_role(): a role is an id (int) or a name (str), not {role!r:.100}")
        if role == "":
            raise ValueError("requires_role(): the name of a role must not be empty")
    return Requires("requires_role", Roles(roles))


def requires_owner() -> Requires:
    """A decorator that demands that the acting user owns the bot: the owner of its application, or an administrator or
    developer of the team that owns it. :attr:`Bot.owner_id <discord.ext.commands.Bot.owner_id>`, ``owner_ids`` and an
    ``is_owner()`` of your own count as for commands.

    .. versionadded:: 1.2

    Returns
    -------
    Callable
        The decorator. Callers of the route get :exc:`ActingUserRequired` or :exc:`NotOwner` where it refuses them.
    """
    return Requires("requires_owner", Ownership())


def requirements_of(route: Route[Any]) -> tuple[Requirement, ...]:
    """What a route demands of the acting user: its cog, its groups, and then the route itself."""
    of_rules = (one for rules in route.rules.inwards() for one in rules.requirements)
    return (*demands_of_class(route.cog), *of_rules)


def checked_requires(given: Any, where: str) -> tuple[Requirement, ...] | None:
    """Returns what an event demands, or ``None`` where that was not given.

    Raises
    ------
    TypeError
        It is neither what :func:`requires` returns, nor a collection of such.
    """
    if given is None:
        return None
    several = (given,) if isinstance(given, Requires) else given
    if isinstance(several, str | bytes) or not isinstance(several, Iterable):
        raise TypeError(f"{where}: requires must be {_EXPECTED}, not {given!r:.100}")
    found = tuple(cast("Iterable[Any]", several))
    for one in found:
        if not isinstance(one, Requires):
            raise TypeError(f"{where}: requires must be {_EXPECTED}, not {one!r:.100}")
    return tuple(one.requirement for one in found)
