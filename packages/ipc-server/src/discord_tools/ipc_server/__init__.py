"""The bot's side. Import its names from :mod:`discord_tools.ipc`."""

from discord_tools.ipc_server.request import Request
from discord_tools.ipc_server.routes import Route, route
from discord_tools.ipc_server.server import Server

__all__ = ("Request", "Route", "Server", "route")
