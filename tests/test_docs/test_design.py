"""The design page: its drawing against the import contracts, and its log against real lines."""

from __future__ import annotations

import logging
import re
from configparser import ConfigParser
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest

from discord_tools import ipc
from discord_tools.ipc.wire.frames import SUBPROTOCOL
from equipment.checkout import ROOT
from equipment.until import until
from test_docs.blocks import checks
from test_docs.reader import Reader

DRAWING = ROOT / "docs/_static/design-layers.svg"

#: What is different each time, and what replaces it in a comparison.
ASIDE = [
    (re.compile(r"conn-\d+"), "conn-0"),
    (re.compile(r"conv-\d+"), "conv-0"),
    (re.compile(r"error id \w+"), "error id 0"),
    (re.compile(r"localhost:\d+"), "localhost:0"),
    # The system's words for a port where nothing listens.
    (re.compile(r"Cannot connect to host.*(?=; trying again)"), "..."),
]


def contract(package: str) -> list[set[str]]:
    """The layers of a package from high to low."""
    parser = ConfigParser()
    parser.read(ROOT / ".importlinter", "utf-8")
    (layers,) = (
        parser[name]["layers"]
        for name in parser.sections()
        if parser[name].get("containers", "").split() == [package]
    )
    return [{module.strip() for module in line.split("|")} for line in layers.strip().splitlines()]


def drawn() -> dict[str, list[set[str]]]:
    """The names in the boxes of the drawing from high to low, by the side that the boxes are on."""
    columns: dict[str, list[set[str]]] = {"client": [], "server": []}
    ends = dict.fromkeys(columns, 0.0)
    side = ""
    for element in ElementTree.parse(DRAWING).getroot():
        if element.tag.endswith("rect"):
            side = "server" if element.attrib["class"] == "server" else "client"
            top = float(element.attrib["y"])
            assert top > ends[side], "the boxes are not in order"
            ends[side] = top + float(element.attrib["height"])
            columns[side].append(set())
        elif element.attrib.get("class") == "layer":
            columns[side][-1].update((element.text or "").split(" · "))
    return columns


def test_the_drawing_has_the_layers_of_the_contracts() -> None:
    columns = drawn()
    assert columns["client"] == contract("discord_tools.ipc")
    assert columns["server"] == contract("discord_tools.ipc_server")


def same(line: str) -> str:
    for pattern, replacement in ASIDE:
        line = pattern.sub(replacement, line)
    return line


@checks("design-log-bot", "design-log-dashboard")
async def test_bot_and_dashboard_log_the_lines_of_the_page(
    reader: Reader, bot: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="discord_tools")

    async def guild_stats(request: ipc.Request) -> None:
        raise LookupError

    server = ipc.Server(bot, secret_key=key, multicast=False)
    server.add_route(guild_stats)
    await server.start()
    async with aiohttp.ClientSession(headers={"Authorization": key}) as http:
        socket = await http.ws_connect(
            server.ws_url.replace("localhost", "127.0.0.1"), protocols=[SUBPROTOCOL]
        )
        hello = {"jsonrpc": "2.0", "id": 0, "method": "rpc.hello", "params": {"client": "my-client/1"}}
        await socket.send_json(hello)
        await socket.receive()
        await socket.send_json({"jsonrpc": "2.0"})
        await socket.receive()
        await socket.close()
    with pytest.raises(ipc.Unauthorized):
        await ipc.ClientSession("127.0.0.1", server.port, secret_key="wrong").start()
    async with ipc.ClientSession(port=server.port, secret_key=key) as session:
        for endpoint in ("guild_stat", "guild_stats"):
            with pytest.raises(ipc.RemoteError):
                await session.request(endpoint)
        await server.terminate_server()
        await until(lambda: "trying again" in caplog.text)
    logged = {same(f"{record.levelname} {record.name}: {record.getMessage()}") for record in caplog.records}
    # A session may connect to either address of localhost.
    logged |= {line.replace("[conn-0 ::1 ", "[conn-0 127.0.0.1 ") for line in logged}
    shown = [*reader.text("design-log-bot").splitlines(), *reader.text("design-log-dashboard").splitlines()]
    assert [line for line in shown if same(line) not in logged] == [], "\n".join(sorted(logged))
