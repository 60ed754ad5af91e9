"""The guide to containers: its files fit together, and its programs run with what Compose gives them."""

from __future__ import annotations

import re
import runpy
import signal

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from loopback import TOKEN, LoopbackDiscord
from test_docs.blocks import checks
from test_docs.programs import running_program
from test_docs.reader import Reader
from test_docs.shell import check_dockerfile, environment_of

FILES = ("containers-bot", "containers-web", "containers-dockerfile-bot", "containers-dockerfile-web")


@checks(*FILES)
def test_only_the_image_of_the_bot_installs_the_server(reader: Reader) -> None:
    files = {reader.block(name).file or "" for name in FILES}
    bot = check_dockerfile(reader.text("containers-dockerfile-bot"), files)
    web = check_dockerfile(reader.text("containers-dockerfile-web"), files)
    assert bot == {"ipc-client", "ipc-server"}
    assert web == {"ipc-client"}


@checks(*FILES, "containers-compose", "containers-env")
def test_compose_builds_these_images_and_sets_what_the_programs_read(reader: Reader) -> None:
    files = {reader.block(name).file for name in FILES}
    services = yaml.safe_load(reader.text("containers-compose"))["services"]
    assert services.keys() == {"bot", "web"}
    for name, service in services.items():
        assert service["build"]["dockerfile"] in files
        assert (f"COPY {name}.py" in reader.text(f"containers-dockerfile-{name}")) is True
        needed, optional = environment_of(reader.text(f"containers-{name}"))
        assert needed | optional == service["environment"].keys()
    # A published port of the bot would open it to the network; and only SIGINT lets discord.py close it.
    assert "ports" not in services["bot"]
    assert services["bot"]["stop_signal"] == "SIGINT"
    assert services["web"]["environment"]["IPC_HOST"] in services
    (port,) = services["web"]["ports"]
    assert f"web.run_app(app, port={port.rpartition(':')[2]})" in reader.text("containers-web")
    assert port.startswith("127.0.0.1:")

    from_file = set(re.findall(r"\$\{(\w+)", reader.text("containers-compose")))
    assert {line.partition("=")[0] for line in reader.text("containers-env").splitlines()} == from_file


@checks("containers-bot", "containers-web", "containers-compose")
async def test_bot_and_web_application_talk_with_the_settings_of_compose(
    reader: Reader, loopback: LoopbackDiscord, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = yaml.safe_load(reader.text("containers-compose"))["services"]
    secrets = {"IPC_SECRET_KEY": key, "DISCORD_TOKEN": TOKEN}
    # Any free port stands in for 8000, and this machine's address for the name of the bot's container.
    environment = {**services["bot"]["environment"], **secrets, "IPC_PORT": "0"}
    async with running_program(reader.save("containers-bot"), environment, loopback.port) as bot:
        assert bot.multicast_port is None
        settings = {
            **services["web"]["environment"],
            **secrets,
            "IPC_HOST": "127.0.0.1",
            "IPC_PORT": str(bot.port),
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        app = runpy.run_path(str(reader.save("containers-web")))["app"]
        async with TestClient(TestServer(app)) as client, client.get("/guilds") as response:
            assert [guild["name"] for guild in await response.json()] == ["Discord Developers", "Tea House"]
        code, stderr = await bot.stop(signal.SIGINT)
    assert code == 0, stderr


@checks("containers-bot")
async def test_the_bot_does_not_start_on_all_addresses_without_a_key(
    reader: Reader, loopback: LoopbackDiscord
) -> None:
    file = reader.save("containers-bot")
    text = file.read_text("utf-8")
    keyless = "\n".join(line for line in text.splitlines() if "secret_key=" not in line)
    assert keyless != text
    file.write_text(keyless, "utf-8")
    environment = {"IPC_HOST": "0.0.0.0", "IPC_PORT": "0", "DISCORD_TOKEN": TOKEN}
    with pytest.raises(AssertionError, match="can be reached from outside"):
        async with running_program(file, environment, loopback.port):
            pass
