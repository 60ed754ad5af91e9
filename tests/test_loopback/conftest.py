from __future__ import annotations

from loopback.pytest_plugin import loopback_bot, loopback_discord

__all__ = ("loopback_bot", "loopback_discord")
