"""Says in words, and as an HTTP status, what went wrong between the dashboard and the bot."""

from discord_tools import ipc


def explain(error: ipc.IPCError) -> tuple[int, str]:
    match error:
        case ipc.RouteError():  # the route's own words, meant for people; its codes are those of HTTP
            return (error.code if 400 <= error.code <= 599 else 502), error.message
        case ipc.Unauthorized():
            return 502, "The bot refused this dashboard's key. Both need the same IPC_SECRET_KEY."
        case ipc.ConnectionLost():
            return 503, "The connection was lost before the bot answered."
        case ipc.ConnectError():
            return 503, "The bot is not running, or cannot be reached."
        case ipc.RequestTimeout() | ipc.DeadlineExceeded():
            return 504, "The bot took too long to answer."
        case ipc.NotReady():
            return 503, "The bot is starting."
        case ipc.BadData():
            return 404, "The bot does not know this guild or channel."
        case ipc.UnknownEndpoint():
            return 503, "The bot is starting, stopping, or older than this dashboard."
        case ipc.RouteFailed():
            return 502, f"Something went wrong in the bot. Its log says more under {error.error_id}."
        case _:
            return 502, "The bot gave no usable answer."
