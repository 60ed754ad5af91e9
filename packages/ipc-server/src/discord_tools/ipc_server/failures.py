"""Exceptions of discord.py that routes let through, as errors for callers."""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc.errors import (
    BadData,
    CheckFailed,
    DiscordError,
    MaxConcurrencyReached,
    OnCooldown,
    RemoteError,
)
from discord_tools.ipc_server.forks import app_commands, commands, discord

__all__ = ("typed",)

#: Maximum number of characters of a text of discord.py that are sent to callers.
TEXT_CHARS: Final = 500

#: Number of exceptions inside of each other that are unwrapped.
_DEPTH: Final = 8


def typed(error: Exception) -> RemoteError | None:
    """Returns what the caller gets for an exception of discord.py, or ``None`` for any other exception."""
    for _ in range(_DEPTH):
        # A command that a route invokes wraps what its callback raised.
        original = getattr(error, "original", None)
        wraps = isinstance(
            error, (commands.CommandInvokeError, app_commands.CommandInvokeError, commands.HybridCommandError)
        )
        if not wraps or not isinstance(original, Exception):
            break
        error = original
    if isinstance(error, discord.HTTPException):
        return _http(error)
    if isinstance(error, discord.RateLimited):
        data: dict[str, Any] = {"status": 429, "code": 0, "text": "", "retry_after": error.retry_after}
        return DiscordError("Discord limits how often the bot may do this", data=data)
    if isinstance(error, (commands.CommandOnCooldown, app_commands.CommandOnCooldown)):
        data = {
            "retry_after": error.retry_after,
            "rate": error.cooldown.rate,
            "per": error.cooldown.per,
        }
        return OnCooldown(_text(error), data=data)
    if isinstance(error, commands.MaxConcurrencyReached):
        return MaxConcurrencyReached(_text(error), data={"number": error.number})
    if isinstance(error, (commands.CheckFailure, app_commands.CheckFailure)):
        return CheckFailed(_text(error) or "a check of this route refused the call")
    if isinstance(error, commands.UserInputError):
        message = _text(error) or "the data does not fit"
        return BadData(message, data=[{"path": "", "message": message}])
    return None


def _http(error: discord.HTTPException) -> DiscordError:
    text = _cut(error.text)
    # discord.py takes these from the response as they are.
    given: tuple[Any, Any] = (error.status, error.code)
    status, code = (value if isinstance(value, int) else 0 for value in given)
    message = f"Discord answered with status {status} (error code {code})" + (f": {text}" if text else "")
    return DiscordError(message, data={"status": status, "code": code, "text": text})


def _text(error: Exception) -> str:
    return _cut(str(error))


def _cut(text: Any) -> str:
    text = text if isinstance(text, str) else ""
    return text if len(text) <= TEXT_CHARS else f"{text[: TEXT_CHARS - 3]}..."
