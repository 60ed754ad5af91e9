from __future__ import annotations

import pytest
from discord.ext import commands

from discord_tools.ipc import Server
from test_conversations.routes import Routes


@pytest.fixture
def routes(server: Server[commands.Bot]) -> Routes:
    """Adds routes to ``server``."""
    return Routes(server)
