"""Ways to reach a bot. Each connector opens transports to one server."""
