"""Run where both wheels are installed: a real server answers a real client, without Discord."""

import asyncio

import discord

from discord_tools.ipc import ClientSession, Request, Server, Unauthorized

HOST = "127.0.0.1"


async def double(request: Request, number: int) -> int:
    return number * 2


async def main() -> None:
    # Entering the client gives it its loop; there is no log-in.
    async with discord.Client(intents=discord.Intents.none()) as bot:
        server = Server(bot, HOST, 0, "a key", multicast_port=0)
        server.add_route(double)
        async with server:
            async with ClientSession(HOST, server.port, secret_key="a key") as session:
                answers = await asyncio.gather(*(session.request("double", number=n) for n in range(50)))
                assert answers == [n * 2 for n in range(50)], answers
            try:
                async with ClientSession(HOST, server.port, secret_key="another key") as session:
                    await session.request("double", number=1)
            except Unauthorized as error:
                print(f"a wrong key: {error}")
            else:
                raise AssertionError("a wrong key was let in")
    print(f"{len(answers)} requests answered")


if __name__ == "__main__":
    asyncio.run(main())
