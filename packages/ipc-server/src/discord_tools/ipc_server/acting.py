"""The Discord user for whom a call is made."""

from __future__ import annotations

from typing import Any

from discord_tools.ipc.snowflakes import snowflake
from discord_tools.ipc.wire.frames import ActingAs
from discord_tools.ipc.wire.users import is_token

__all__ = ("ActingUser",)


class ActingUser:
    """The user for whom one call is made, as far as the bot has found out.

    Parameters
    ----------
    given: :class:`~discord_tools.ipc.wire.frames.ActingAs`
        What the call says. It may be anything.
    """

    __slots__ = ("id", "member", "name", "problem", "token", "verified")

    def __init__(self, given: ActingAs) -> None:
        number = -1 if given.user_id is None else snowflake(given.user_id)
        #: The id of the user. ``None`` while only the token tells, and where the call has no usable id.
        self.id: int | None = number if number > 0 else None
        #: The access token, until it was verified. It is secret.
        self.token: str | None = given.token
        #: Whether Discord has said that it is this user.
        self.verified: bool = False
        #: The name of the user, where Discord has said it.
        self.name: str = ""
        #: The member of the guild that the call is about, once the user was judged.
        self.member: Any = None
        #: What is wrong with what the call says. Empty for nothing.
        self.problem: str = ""
        if given.user_id is not None and self.id is None:
            self.problem = "the id of the acting user is no id of Discord's"
        elif given.token is not None and not is_token(given.token):
            self.token = ""  # it may be long
            self.problem = (
                "the access token of the acting user has characters that no token has, or is too long"
            )
        elif given.user_id is None and given.token is None:
            self.problem = "the acting user needs an id or an access token"
