"""The protocol without input or output: bytes in, events out. Nothing here knows a socket, a clock or a task."""
