"""Addresses of images. Made of ids and hashes, since an asset of discord.py costs more than the rest of a user."""

from __future__ import annotations

from typing import Any, Final

__all__ = ("guild_icon_url", "member_avatar_url", "role_icon_url", "user_avatar_url")

CDN: Final = "https://cdn.discordapp.com"


def _suffix(key: str) -> str:
    return "gif" if key[:2] == "a_" else "png"


def user_avatar_url(user: Any) -> str:
    """What ``user.display_avatar.url`` is."""
    key: str | None = user._avatar
    if key is not None:
        return f"{CDN}/avatars/{user.id}/{key}.{_suffix(key)}?size=1024"
    number = (user.id >> 22) % 6 if user.discriminator in ("0", "0000") else int(user.discriminator) % 5
    return f"{CDN}/embed/avatars/{number}.png"


def member_avatar_url(member: Any) -> str:
    """What ``member.display_avatar.url`` is."""
    key: str | None = member._avatar
    if key is None:
        return user_avatar_url(member._user)
    return f"{CDN}/guilds/{member.guild.id}/users/{member._user.id}/avatars/{key}.{_suffix(key)}?size=1024"


def guild_icon_url(guild: Any) -> str | None:
    """What ``guild.icon.url`` is, if there is one."""
    key: str | None = guild._icon
    return None if key is None else f"{CDN}/icons/{guild.id}/{key}.{_suffix(key)}?size=1024"


def role_icon_url(role: Any) -> str | None:
    """What ``role.icon.url`` is, if there is one."""
    key: str | None = role._icon
    return None if key is None else f"{CDN}/role-icons/{role.id}/{key}.png?size=1024"
