"""Discord's users on the wire: their ids, and what their access tokens look like."""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc.snowflakes import snowflake
from discord_tools.ipc.wire.frames import ActingAs

__all__ = ("MAX_TOKEN_CHARS", "checked_acting_as", "is_token")

#: Maximum length of an access token, in characters. Those of Discord have 30.
MAX_TOKEN_CHARS: Final = 1024


def is_token(token: str) -> bool:
    """Whether a text may be an access token. What else is in a header could end it, and begin another one."""
    return 0 < len(token) <= MAX_TOKEN_CHARS and token.isascii() and token.isprintable() and " " not in token


def checked_acting_as(user_id: Any, token: Any) -> ActingAs:
    """Returns the user of a view. Raises :exc:`TypeError` or :exc:`ValueError` for one that cannot be.

    No error has the token in it.
    """
    if user_id is None and token is None:
        raise TypeError(
            "acting_as() needs the id of a user, or a token: acting_as(user_id), acting_as(token=...)"
        )
    if user_id is not None:
        if isinstance(user_id, bool) or not isinstance(user_id, int | str):
            raise TypeError(f"acting_as(): the id of a user must be an int or a str, not {user_id!r:.100}")
        if snowflake(user_id) <= 0:
            raise ValueError(f"acting_as(): this is no id of a user: {user_id!r:.100}")
    if token is not None:
        if not isinstance(token, str):
            raise TypeError(f"acting_as(): token must be a str, not {type(token).__name__}")
        if not is_token(token):
            raise ValueError(
                f"acting_as(): token must have 1 to {MAX_TOKEN_CHARS} printable ASCII characters, no spaces, and "
                "nothing before it such as 'Bearer'"
            )
    return ActingAs(None if user_id is None else str(user_id), token)
