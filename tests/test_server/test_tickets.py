"""Tickets: who gets one, and what it is worth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict

from discord_tools.ipc import BadData, Forbidden, Key, Overloaded
from discord_tools.ipc_server import tickets
from discord_tools.ipc_server.browsers import Pages, Refusal
from discord_tools.ipc_server.caller import Caller
from discord_tools.ipc_server.gate import WRONG_KEY, Gate
from discord_tools.ipc_server.keys import Keys
from discord_tools.ipc_server.tickets import Tickets, ticket_in
from equipment.clocks import Clock

OURS = "https://panel.example"
BACKEND = Caller("panel", "192.0.2.7", "native", "conn-7", frozenset({"read", "moderate"}))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issued(clock: Clock) -> Tickets:
    return Tickets(Pages((OURS,)).allows, clock)


def issue(issued: Tickets, caller: Caller = BACKEND, **wish: Any) -> str:
    return issued.issue(msgspec.json.encode({"origin": OURS, **wish}), caller)


def test_a_ticket_opens_what_the_key_opens_where_it_names_no_scopes(issued: Tickets) -> None:
    caller = issued.redeem(issue(issued), OURS)
    assert caller is not None
    assert (caller.key, caller.scopes, caller.origin) == ("panel", BACKEND.scopes, OURS)


def test_a_ticket_opens_only_the_scopes_that_it_names(issued: Tickets) -> None:
    caller = issued.redeem(issue(issued, scopes=["read"]), OURS)
    assert caller is not None
    assert caller.opens(("read",))
    assert not caller.opens(("moderate",))
    caller = issued.redeem(issue(issued, scopes=[]), OURS)
    assert caller is not None
    assert not caller.opens(("read",))


def test_a_key_without_scopes_may_give_any(issued: Tickets) -> None:
    master = Caller("secret_key", "192.0.2.7", "native", "conn-7")
    caller = issued.redeem(issue(issued, master, scopes=["anything"]), OURS)
    assert caller is not None
    assert caller.scopes == {"anything"}


def test_a_ticket_works_once(issued: Tickets) -> None:
    ticket = issue(issued)
    assert issued.redeem(ticket, OURS) is not None
    assert issued.redeem(ticket, OURS) is None


@pytest.mark.parametrize("origin", ["https://evil.example", None, "", "null", OURS + ":444"])
def test_a_ticket_that_another_origin_shows_is_refused_and_gone(issued: Tickets, origin: str | None) -> None:
    ticket = issue(issued)
    assert issued.redeem(ticket, origin) is None
    assert issued.redeem(ticket, OURS) is None


@pytest.mark.parametrize(("seconds", "accepted"), [(29.9, True), (30, False)])
def test_a_ticket_expires(issued: Tickets, clock: Clock, seconds: float, accepted: bool) -> None:
    ticket = issue(issued, expires_in=30)
    clock.now += seconds
    assert (issued.redeem(ticket, OURS) is not None) is accepted


def test_a_ticket_with_other_characters_is_refused(issued: Tickets) -> None:
    ticket = issue(issued)
    for changed in (f"x{ticket}", f"{ticket}x", ticket.removeprefix("ticket.")):
        assert issued.redeem(changed, OURS) is None
    assert issued.redeem(ticket, OURS) is not None


def test_a_page_gets_no_ticket(issued: Tickets) -> None:
    page = issued.redeem(issue(issued), OURS)
    assert page is not None
    with pytest.raises(Forbidden, match="its backend asks for it"):
        issue(issued, page)


def test_a_scope_that_the_key_does_not_have_is_refused_by_name(issued: Tickets) -> None:
    with pytest.raises(Forbidden, match=r"the scope 'ban', which the key 'panel' does not have") as caught:
        issue(issued, scopes=["read", "ban"])
    assert caught.value.scopes == ["ban"]


@pytest.mark.parametrize("origin", ["https://evil.example", "", "*", "panel.example"])
def test_an_origin_that_is_not_allowed_is_refused_with_what_to_write(issued: Tickets, origin: str) -> None:
    with pytest.raises(BadData, match=r"Server\(origins="):
        issue(issued, origin=origin)


@pytest.mark.parametrize(
    "wish",
    [
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": 3601},
        {"expires_in": "soon"},
        {"scopes": "read"},
        {"scopes": [1]},
        {"scopes": [""]},
        {"scopes": ["*"]},
        {"scopes": ["s"] * 65},
        {"scopes": ["s" * 101]},
        {"origin": None},
        {"origin": "https://" + "a" * 300},
        {"more": 1},
    ],
)
def test_wrong_parameters_are_refused(issued: Tickets, wish: dict[str, Any]) -> None:
    with pytest.raises(BadData, match="the parameters of a ticket are wrong"):
        issue(issued, **wish)


@pytest.mark.parametrize("params", [b"[]", b"{}", b"5", b'{"origin":"\xff"}'])
def test_parameters_that_are_no_object_with_an_origin_are_refused(issued: Tickets, params: bytes) -> None:
    with pytest.raises(BadData, match="the parameters of a ticket are wrong"):
        issued.issue(params, BACKEND)


def test_tickets_that_nobody_shows_are_bounded_for_each_key_and_forgotten_when_they_expire(
    issued: Tickets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "MAX_PER_KEY", 3)
    monkeypatch.setattr(tickets, "MAX_TICKETS", 5)
    for _ in range(3):
        issue(issued)
    with pytest.raises(Overloaded):
        issue(issued)
    other = Caller("status", "192.0.2.8", "native", "conn-8")
    for _ in range(2):
        issue(issued, other)
    with pytest.raises(Overloaded):
        issue(issued, Caller("third", "192.0.2.9", "native", "conn-9"))
    clock.now += 61
    assert issued.redeem(issue(issued), OURS) is not None


@pytest.mark.parametrize(
    ("headers", "ticket"),
    [
        ({"Sec-WebSocket-Protocol": "jsonrpc, ticket.abc"}, "ticket.abc"),
        ({"Sec-WebSocket-Protocol": "ticket.abc,jsonrpc"}, "ticket.abc"),
        ({"Sec-WebSocket-Protocol": "jsonrpc"}, None),
        ({"Authorization": "Bearer ticket.abc"}, "ticket.abc"),
        ({"Authorization": "bearer ticket.abc"}, "ticket.abc"),
        ({"Authorization": "ticket.abc"}, None),
        ({"Authorization": "Bearer key"}, None),
        ({}, None),
    ],
)
def test_a_ticket_is_found_among_the_subprotocols_or_after_bearer(
    headers: dict[str, str], ticket: str | None
) -> None:
    assert ticket_in(CIMultiDict(headers)) == ticket


# -- at the gate


def enter(gate: Gate, ticket: str, origin: str | None = OURS) -> Caller | Refusal:
    headers = CIMultiDict({"Sec-WebSocket-Protocol": f"jsonrpc, {ticket}", "Host": "localhost"})
    if origin is not None:
        headers["Origin"] = origin
    return gate.enter(headers, "192.0.2.8", "jsonrpc", "conn-8")


def gate_of(**keys: Key) -> tuple[Gate, Keys]:
    ring = Keys(None, keys)
    return Gate(ring, Pages((OURS, "https://other.example"))), ring


def backend(gate: Gate, key: str = "secret") -> Caller:
    caller = gate.enter(CIMultiDict(Authorization=key), "192.0.2.7", "native", "conn-7")
    assert isinstance(caller, Caller)
    return caller


def test_the_gate_makes_a_caller_of_a_ticket() -> None:
    gate, _ = gate_of(panel=Key("secret", scopes={"read", "moderate"}))
    caller = enter(gate, issue(gate.tickets, backend(gate), scopes=["read"]))
    assert isinstance(caller, Caller)
    assert (caller.key, caller.address, caller.dialect, caller.connection) == (
        "panel",
        "192.0.2.8",
        "jsonrpc",
        "conn-8",
    )
    assert caller.scopes == {"read"}


@pytest.mark.parametrize("origin", ["https://other.example", None])
def test_a_stolen_ticket_is_refused_as_a_wrong_key(origin: str | None) -> None:
    gate, _ = gate_of(panel=Key("secret"))
    assert enter(gate, issue(gate.tickets, backend(gate)), origin) == WRONG_KEY


def test_a_ticket_of_a_key_that_was_revoked_is_refused() -> None:
    gate, keys = gate_of(panel=Key("secret"), other=Key("another"))
    ticket = issue(gate.tickets, backend(gate))
    del keys["panel"]
    assert isinstance(enter(gate, ticket), Refusal)


def test_a_page_loses_what_its_key_loses() -> None:
    gate, keys = gate_of(panel=Key("secret", scopes={"read", "moderate"}))
    caller = enter(gate, issue(gate.tickets, backend(gate), scopes=["moderate"]))
    assert isinstance(caller, Caller)
    keys["panel"] = Key("secret", scopes={"read"})
    renewed = keys.renewed(caller)
    assert renewed is not None
    assert renewed.scopes == frozenset()
    keys["panel"] = Key("secret", scopes={"read"}, expires=datetime.now(UTC) - timedelta(seconds=1))
    assert keys.renewed(caller) is None


def test_a_page_resumes_no_conversation_of_its_backend_and_none_with_other_scopes() -> None:
    gate, _ = gate_of(panel=Key("secret"))
    owner = backend(gate)
    callers = [
        owner,
        *(enter(gate, issue(gate.tickets, owner, scopes=scopes)) for scopes in (["a"], ["b"], None)),
    ]
    identities = {caller.identity for caller in callers if isinstance(caller, Caller)}
    assert len(identities) == 4


def test_a_server_without_a_key_makes_tickets_too() -> None:
    gate = Gate(Keys(None), Pages((OURS,)))
    owner = gate.enter(CIMultiDict(), "192.0.2.7", "native", "conn-7")
    assert isinstance(owner, Caller)
    caller = enter(gate, issue(gate.tickets, owner, scopes=["read"]))
    assert isinstance(caller, Caller)
    assert caller.scopes == {"read"}


@pytest.mark.parametrize("scheme", ["", "Bearer "])
def test_a_key_that_looks_like_a_ticket_is_a_key(scheme: str) -> None:
    gate, _ = gate_of(panel=Key("ticket.secret"))
    caller = gate.enter(CIMultiDict(Authorization=f"{scheme}ticket.secret"), "192.0.2.7", "http", "conn-7")
    assert isinstance(caller, Caller)
    assert caller.origin is None


def test_a_wrong_key_is_not_excused_by_a_ticket_of_another_page() -> None:
    gate, _ = gate_of(panel=Key("secret"))
    ticket = issue(gate.tickets, backend(gate))
    headers = CIMultiDict(
        {"Authorization": f"Bearer {ticket}", "Origin": "https://other.example", "Host": "localhost"}
    )
    assert isinstance(gate.enter(headers, "192.0.2.8", "http", "conn-8"), Refusal)
