"""Builds both distributions once for all tests of this folder."""

import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from equipment.checkout import ROOT


@dataclass(frozen=True)
class Built:
    """One distribution: its folder in the checkout and what was built from it."""

    name: str
    folder: Path
    sdist: Path
    wheel: Path

    @property
    def files(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    @property
    def metadata(self) -> Message:
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
            return Parser().parsestr(archive.read(name).decode())

    @property
    def modules(self) -> set[str]:
        return {name for name in self.files if ".dist-info/" not in name}


def hatchling(folder: Path, target: str, out: Path) -> Path:
    """Build without isolation, hence without a network: Hatchling is a dependency of the tests."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=50)
    (built,) = out.iterdir()
    return built


def build(name: str, out: Path) -> Built:
    folder = ROOT / "packages" / name
    sdist = hatchling(folder, "sdist", out / "sdist")
    wheel = hatchling(folder, "wheel", out / "wheel")
    return Built(name, folder, sdist, wheel)


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build("ipc-client", tmp_path_factory.mktemp("client"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build("ipc-server", tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="session")
def server_wheel_from_sdist(server: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's wheel, built where the sibling with the version file does not exist."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(server.sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (folder,) = unpacked.iterdir()
    return hatchling(folder, "wheel", tmp_path_factory.mktemp("from-sdist"))
