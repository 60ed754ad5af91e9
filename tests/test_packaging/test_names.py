"""The names of discord_tools.ipc, with both distributions and with the client alone."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import discord_tools.ipc as ipc

if TYPE_CHECKING:
    from test_packaging.conftest import Built

# From the reference, and what it needs to be usable. A name may be added here, never taken away before 2.0.
CLIENT_NAMES = {
    "ActingUserRequired",
    "AlreadyResponded",
    "BadData",
    "Cancelled",
    "CheckFailed",
    "ClientLimits",
    "ClientSession",
    "ConnectError",
    "ConnectionLost",
    "ConverterError",
    "DeadlineExceeded",
    "DecodeError",
    "DiscordError",
    "DuplicateRoute",
    "EncodeError",
    "Event",
    "EventInfo",
    "FellBehind",
    "FetchFailed",
    "Forbidden",
    "Gap",
    "IPCError",
    "InvalidRequest",
    "InvalidToken",
    "ListenError",
    "MaxConcurrencyReached",
    "MissingPermissions",
    "MissingRole",
    "NotAMember",
    "NotOwner",
    "NotReady",
    "OnCooldown",
    "Overloaded",
    "ProtocolError",
    "RemoteError",
    "RequestTimeout",
    "RequestTooLarge",
    "ResolutionError",
    "RouteError",
    "RouteFailed",
    "ServerLimits",
    "SessionClosed",
    "SessionView",
    "Stream",
    "Subscription",
    "TooLarge",
    "Unauthorized",
    "UnknownEndpoint",
    "UnknownObject",
    "UnprovenServer",
    "Unsupported",
    "Violation",
    "WrongEventLoop",
    "__version__",
}
SERVER_NAMES = {
    "AuditEntry",
    "Cached",
    "Caller",
    "Key",
    "Request",
    "Route",
    "RouteGroup",
    "Server",
    "by_caller",
    "check",
    "cooldown",
    "full",
    "max_concurrency",
    "only",
    "requires",
    "requires_owner",
    "requires_role",
    "route",
}


@pytest.fixture(scope="session")
def client_alone(client: "Built", tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client-alone")
    with zipfile.ZipFile(client.wheel) as archive:
        archive.extractall(folder)
    return folder


def run_with_client_alone(folder: Path, code: str) -> str:
    """Run code where the client's wheel is installed and the server is not.

    Without site (-S) the editable installs' .pth files are not read, so ours comes from the folder only; the
    dependencies are found because their folder is put on the path by hand.
    """
    spec = importlib.util.find_spec("aiohttp")
    assert spec is not None
    assert spec.origin is not None
    site_packages = Path(spec.origin).parents[1]
    prelude = f"import sys; sys.path += [{str(folder)!r}, {str(site_packages)!r}]\n"
    command = [sys.executable, "-I", "-S", "-c", prelude + code]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_all_lists_the_public_names_of_both_distributions() -> None:
    assert set(ipc.__all__) == CLIENT_NAMES | SERVER_NAMES
    assert len(ipc.__all__) == len(set(ipc.__all__))


@pytest.mark.parametrize("name", sorted(CLIENT_NAMES | SERVER_NAMES))
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(ipc, name) is not None
    assert name in dir(ipc)


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Sever"):
        getattr(ipc, "Sever")  # noqa: B009


def test_the_client_alone_lists_its_own_names_only(client_alone: Path) -> None:
    code = "import discord_tools.ipc as ipc; print(*ipc.__all__)"
    assert set(run_with_client_alone(client_alone, code).split()) == CLIENT_NAMES


def test_the_client_alone_says_which_distribution_has_the_server(client_alone: Path) -> None:
    code = """
for name in ("Server", "Request", "Route", "full", "only", "route"):
    try:
        exec(f"from discord_tools.ipc import {name}")
    except ImportError as error:
        assert name in str(error), error
        assert "ipc-server" in str(error), error
    else:
        raise SystemExit(f"{name} came from nowhere")
print("all refused")
"""
    assert run_with_client_alone(client_alone, code) == "all refused\n"


def test_importing_the_client_loads_no_discord_py(client_alone: Path) -> None:
    code = """
from discord_tools.ipc import ClientSession
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"discord", "nacl", "audioop", "requests"}))
"""
    assert run_with_client_alone(client_alone, code) == "\n"


def test_a_broken_server_is_not_called_missing(client_alone: Path, tmp_path: Path) -> None:
    package = tmp_path / "discord_tools" / "ipc_server"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import a_module_that_is_not_there\n")
    code = f"""
sys.path.append({str(tmp_path)!r})
try:
    from discord_tools.ipc import Server
except ImportError as error:
    print(error.name)
"""
    assert run_with_client_alone(client_alone, code) == "a_module_that_is_not_there\n"
