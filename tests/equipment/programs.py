"""Reverse proxies and other servers that are no Python: found, started, and ended."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from equipment.until import until

__all__ = ("NGINX", "nginx_files", "program", "running")

#: What surrounds a ``server`` block, so that nginx needs no rights and no folders of the system.
NGINX = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""


def program(name: str) -> str:
    """The path of a program. CI has to have it; elsewhere the test is skipped."""
    # Debian has servers in a folder that is not on a user's path.
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run {name}, and there is none on its PATH")
        pytest.skip(f"there is no {name}: install it")
    return found


def nginx_files(folder: Path, server: str) -> list[str]:
    """Writes the configuration with a ``server`` block, and returns the command."""
    path = program("nginx")
    file = folder / "nginx.conf"
    # Started by root, its workers would be another user, who has no access to the folder of a test.
    user = "user root;" if os.geteuid() == 0 else ""
    file.write_text(NGINX.format(folder=folder, server=server, user=user), "utf-8")
    return [path, "-e", "stderr", "-p", str(folder), "-c", str(file)]


@asynccontextmanager
async def running(command: list[str], port: int, folder: Path) -> AsyncIterator[None]:
    """Runs a server until the end, from the moment on when its port is open."""
    environment = {
        **os.environ,
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
    }
    with (folder / "errors.txt").open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env=environment, stdout=errors, stderr=errors
        )
    try:

        async def is_open() -> bool:
            assert process.returncode is None, (folder / "errors.txt").read_text("utf-8")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await until(is_open)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
