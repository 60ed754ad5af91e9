"""The page's API: what it answers, and what it refuses."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from demo import Demo

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOREIGN = {"Origin": "https://evil.example"}


async def first_channel(http: aiohttp.ClientSession) -> str:
    async with http.get("/api/guilds") as response:
        guild = (await response.json())[0]
    async with http.get(f"/api/guilds/{guild['id']}") as response:
        return (await response.json())["channels"][0]["id"]


async def test_the_dashboard_can_import_the_client_only(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/about") as response:
        about = await response.json()
    assert about["importable"] == {"discord": False, "discord_tools.ipc_server": False}


async def test_a_guild_has_its_members_and_channels(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/guilds") as response:
        card = (await response.json())[0]
    async with http.get(f"/api/guilds/{card['id']}") as response:
        guild: dict[str, Any] = await response.json()
    assert {name: guild[name] for name in card} == card
    assert len(guild["members"]) == card["member_count"]
    assert [channel["can_send"] for channel in guild["channels"]] == [True] * 3


@pytest.mark.parametrize("path", ["/api/guilds/7", "/api/channels/7/messages"])
async def test_an_unknown_guild_or_channel_is_not_found(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path) as response:
        assert response.status == 404
        assert (await response.json())["error"] == "The bot does not know this guild or channel."


async def test_an_empty_message_is_refused_in_the_words_of_the_route(http: aiohttp.ClientSession) -> None:
    channel = await first_channel(http)
    async with http.post(f"/api/channels/{channel}/messages", json={"text": " "}) as response:
        assert response.status == 400
        assert (await response.json())["error"] == "There is nothing to send: the message is empty."


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"{}", b'{"text": 1}', b'"text"', b"\xff"])
async def test_a_body_without_a_text_is_refused(http: aiohttp.ClientSession, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with http.post("/api/channels/7/messages", data=body, headers=headers) as response:
        assert response.status == 400


async def test_another_site_cannot_make_the_bot_speak(http: aiohttp.ClientSession) -> None:
    path = f"/api/channels/{await first_channel(http)}/messages"
    async with http.post(path, json={"text": "spam"}, headers=FOREIGN) as response:
        assert response.status == 403
    async with http.post(path, data={"text": "spam"}) as response:  # what a form can send
        assert response.status == 415
    async with http.post(path, data=b'{"text": "spam"}', headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 415
    async with http.get(path) as response:
        assert "spam" not in await response.text()


async def test_another_name_for_this_machine_is_refused(http: aiohttp.ClientSession) -> None:
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "[",
        "localhost:99999",
    ):
        async with http.get("/api/guilds", headers={"Host": host}) as response:
            assert response.status == 403


async def test_nothing_that_is_served_has_the_key(demo: Demo, http: aiohttp.ClientSession) -> None:
    key = demo.environment["IPC_SECRET_KEY"]
    for path in ("/", "/api/about", "/api/status", "/static/app.js"):
        async with http.get(path) as response:
            assert response.status == 200
            assert key not in await response.text()
            assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
