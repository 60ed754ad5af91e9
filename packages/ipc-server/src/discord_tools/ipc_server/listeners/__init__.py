"""Ports: listening sockets, HTTP, and the WebSockets of native clients."""
