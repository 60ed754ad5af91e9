"""Listening on every address of a host: IPv4, IPv6, both, and addresses that no interface has."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from discord_tools.ipc import ListenError
from discord_tools.ipc.address import Address
from discord_tools.ipc_server.listeners.sockets import addresses_of, listen
from equipment.ports import needs_ipv6

V4, V6 = (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")
#: TEST-NET-1 and the documentation prefix: addresses that no interface has.
NOBODY = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]


@pytest.fixture
def closing() -> Iterator[Any]:
    """Closes sockets at the end."""
    with ExitStack() as stack:

        def add(sockets: list[socket.socket]) -> list[socket.socket]:
            for one in sockets:
                stack.enter_context(one)
            return sockets

        yield add


def names(sockets: list[socket.socket]) -> list[tuple[Any, ...]]:
    return [one.getsockname()[:2] for one in sockets]


def test_ipv4_alone_is_listened_on(closing: Any) -> None:
    (one,) = closing(listen([V4], "h", 0))
    assert one.family == socket.AF_INET
    assert not one.getblocking()
    assert one.getsockname()[1] > 0


@needs_ipv6
def test_ipv6_alone_is_listened_on(closing: Any) -> None:
    (one,) = closing(listen([V6], "h", 0))
    assert one.family == socket.AF_INET6


@needs_ipv6
def test_both_get_the_same_port_where_the_system_picks_it(closing: Any) -> None:
    one, two = names(closing(listen([V4, V6], "h", 0)))
    assert (one[0], two[0]) == ("127.0.0.1", "::1")
    assert one[1] == two[1]


@pytest.mark.parametrize("absent", NOBODY)
def test_an_address_that_no_interface_has_is_left_out(closing: Any, absent: Any) -> None:
    for addresses in ([V4, absent], [absent, V4]):
        assert [name[0] for name in names(closing(listen(addresses, "h", 0)))] == ["127.0.0.1"]


def test_a_host_that_no_interface_has_is_an_error() -> None:
    with pytest.raises(ListenError) as caught:
        listen(NOBODY, "elsewhere", 0)
    assert (caught.value.host, caught.value.port) == ("elsewhere", 0)
    assert caught.value.reason


def test_a_port_that_is_taken_is_an_error(closing: Any) -> None:
    (taken,) = closing(listen([V4], "h", 0))
    port = taken.getsockname()[1]
    with pytest.raises(ListenError) as caught:
        listen([V4], "h", port)
    assert caught.value.port == port
    assert os.strerror(errno.EADDRINUSE) in caught.value.reason


@needs_ipv6
def test_a_port_that_is_taken_on_one_address_frees_the_others(closing: Any) -> None:
    (taken,) = closing(listen([V6], "h", 0))
    port = taken.getsockname()[1]
    with pytest.raises(ListenError):
        listen([V4, V6], "h", port)
    closing(listen([V4], "h", port))


def test_it_is_an_error_when_no_port_is_free_on_all_addresses(closing: Any) -> None:
    # The second is the same address, so whatever port the first gets is taken for it.
    with pytest.raises(ListenError, match="no port is free on all addresses"):
        listen([V4, V4], "h", 0)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_an_error(port: int) -> None:
    with pytest.raises(ListenError, match="from 0 to 65535"):
        listen([V4], "h", port)


async def test_localhost_is_both_loopback_addresses_whatever_the_hosts_file_says() -> None:
    assert await addresses_of("localhost") == [V4, V6]


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", V4), ("::1", V6), ("0.0.0.0", (socket.AF_INET, "0.0.0.0"))]
)
async def test_an_address_stands_for_itself(host: str, address: Any) -> None:
    assert await addresses_of(host) == [address]


async def test_an_empty_host_stands_for_every_address() -> None:
    addresses = await addresses_of("")
    assert (socket.AF_INET, "0.0.0.0") in addresses
    assert all(Address(host=address).is_exposed for _, address in addresses)


@pytest.mark.parametrize("host", ["name.invalid", "a" * 70 + ".example", "a\0b", "..", "1.2.3.4.5"])
async def test_a_host_that_cannot_be_resolved_is_an_os_error(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        await addresses_of(host)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("::1", False),
        ("::1%lo", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.0.0.1", True),
        ("fe80::1%eth0", True),
    ],
)
def test_an_address_is_exposed_unless_it_is_a_loopback_address(address: str, expected: bool) -> None:
    assert Address(host=address).is_exposed is expected


# -- whole machines, as network namespaces of Linux

PROGRAM = textwrap.dedent(
    """
    import asyncio, discord
    from discord_tools.ipc import ClientSession, Server

    async def main():
        async with discord.Client(intents=discord.Intents.none()) as client:
            server = Server(client, port=0, multicast_port=0)

            @server.route()
            async def ping(request):
                return "pong"

            async with server, ClientSession(multicast_port=server.multicast_port) as session:
                print(await session.request("ping"))

    asyncio.run(main())
    """
)

BOTH = "ip link set lo up"
IPV4_ONLY = "ip link set lo up && sysctl -qw net.ipv6.conf.lo.disable_ipv6=1"
IPV6_ONLY = "ip link set lo up && ip address del 127.0.0.1/8 dev lo"

HOSTS_V4, HOSTS_V6 = "127.0.0.1 localhost\n", "::1 localhost\n"


def in_namespace(commands: str, hosts: str, *program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program on a machine of its own, with a hosts file of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".hosts") as file:
        file.write(hosts)
        file.flush()
        script = f'{{ {commands} && mount --bind "$1" /etc/hosts; }} || exit 99; shift; exec "$@"'
        return subprocess.run(
            ["unshare", "--net", "--mount", "--", "sh", "-c", script, "sh", file.name, *program],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )


@pytest.fixture(scope="module")
def namespaces() -> None:
    """Skips where there are no network namespaces; in CI there are."""
    tools = [tool for tool in ("unshare", "ip", "sysctl", "mount") if shutil.which(tool) is None]
    why = f"needs {', '.join(tools)}" if tools else ""
    if not why:
        result = in_namespace(BOTH, HOSTS_V4, "true")
        why = "" if result.returncode == 0 else f"cannot make a network namespace: {result.stderr.strip()}"
    if why:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize(
    ("machine", "hosts"),
    [
        pytest.param(BOTH, HOSTS_V4 + HOSTS_V6, id="both"),
        pytest.param(IPV4_ONLY, HOSTS_V4, id="IPv4 only"),
        pytest.param(IPV4_ONLY, HOSTS_V6 + HOSTS_V4, id="IPv4 only, the hosts file names ::1"),
        pytest.param(IPV6_ONLY, HOSTS_V6, id="IPv6 only"),
    ],
)
def test_localhost_works_on_every_kind_of_machine(machine: str, hosts: str) -> None:
    result = in_namespace(machine, hosts, sys.executable, "-W", "ignore", "-c", PROGRAM)
    assert result.returncode != 99, f"the namespace could not be made: {result.stderr}"
    assert result.stdout == "pong\n", result.stderr
