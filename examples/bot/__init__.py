"""A Discord bot that a dashboard can ask and steer: one bot class, its routes in cogs."""
