"""Discord's ids: how they are read from JSON, and how a schema describes them."""

from __future__ import annotations

from typing import Any, Final

from discord_tools.ipc.snowflakes import snowflake

__all__ = ("SNOWFLAKE_SCHEMA", "snowflake")

#: JavaScript's numbers are too small for Discord's ids, so they are described as strings, though numbers do, too.
SNOWFLAKE_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9]+$"}
