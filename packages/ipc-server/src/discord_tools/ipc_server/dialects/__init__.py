"""Clients that do not speak our subprotocol: JSON-RPC 2.0, and the older libraries."""
