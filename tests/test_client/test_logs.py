from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from discord_tools.ipc.logs import (
    INCIDENT_KINDS,
    INCIDENT_PERIOD,
    Incidents,
    LabelledLogger,
    connection_id,
    conversation_id,
)
from equipment.clocks import IncidentClock

NAME = "discord_tools.ipc.test"


@pytest.fixture
def labelled(caplog: pytest.LogCaptureFixture) -> LabelledLogger:
    caplog.set_level(logging.INFO, NAME)
    return LabelledLogger(logging.getLogger(NAME), "conn-7")


class Unprintable:
    """Fails the test that formats it."""

    def __str__(self) -> str:
        raise AssertionError("it was formatted")

    __repr__ = __str__


def test_the_label_is_in_front_of_every_line(
    labelled: LabelledLogger, caplog: pytest.LogCaptureFixture
) -> None:
    labelled.info("Connected to %s in %.1f s", "the bot", 1.25)
    labelled.warning("no arguments")
    assert caplog.messages == ["[conn-7] Connected to the bot in 1.2 s", "[conn-7] no arguments"]


def test_the_label_may_change(labelled: LabelledLogger, caplog: pytest.LogCaptureFixture) -> None:
    labelled.info("one")
    labelled.label = "conn-8"
    labelled.info("two")
    assert caplog.messages == ["[conn-7] one", "[conn-8] two"]


@pytest.mark.parametrize("label", ["fe80::1%eth0", "%s %d %", "100%", "%(name)s"])
def test_a_percent_sign_in_the_label_is_a_percent_sign(
    labelled: LabelledLogger, caplog: pytest.LogCaptureFixture, label: str
) -> None:
    labelled.label = label
    labelled.info("Lost %s", "the bot")
    labelled.info("no arguments")
    assert caplog.messages == [f"[{label}] Lost the bot", f"[{label}] no arguments"]


def test_a_line_whose_level_is_off_is_not_formatted(
    labelled: LabelledLogger, caplog: pytest.LogCaptureFixture
) -> None:
    labelled.label = Unprintable()  # pyright: ignore[reportAttributeAccessIssue]
    labelled.debug("%s", Unprintable())
    labelled.log(logging.DEBUG, Unprintable())
    assert caplog.records == []


def test_a_line_is_formatted_by_the_handlers_only(labelled: LabelledLogger) -> None:
    logger = logging.getLogger(NAME)
    logger.propagate = False
    try:
        handler = logging.Handler()
        handler.emit = lambda record: None
        logger.addHandler(handler)
        labelled.info("%s", Unprintable())
        logger.removeHandler(handler)
    finally:
        logger.propagate = True


@pytest.mark.parametrize("method", ["info", "warning", "error", "critical", "exception", "log"])
def test_a_record_has_the_file_line_and_function_of_its_caller(
    labelled: LabelledLogger, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    write: Callable[..., None] = getattr(labelled, method)
    frame = inspect.currentframe()
    assert frame is not None
    write(*([logging.INFO] if method == "log" else []), "here")
    line = frame.f_lineno - 1
    (record,) = caplog.records
    assert (Path(record.pathname), record.lineno) == (Path(__file__), line)
    assert record.funcName == test_a_record_has_the_file_line_and_function_of_its_caller.__name__


def test_a_helper_may_name_its_own_caller(labelled: LabelledLogger, caplog: pytest.LogCaptureFixture) -> None:
    def helper() -> None:
        labelled.info("here", stacklevel=2)

    helper()
    assert [record.funcName for record in caplog.records] == [test_a_helper_may_name_its_own_caller.__name__]


def test_the_exception_and_extra_members_are_kept(
    labelled: LabelledLogger, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        raise KeyError("a fault")
    except KeyError:
        labelled.exception("Sending failed", extra={"route": "/stats"})
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.route == "/stats"  # pyright: ignore[reportAttributeAccessIssue]
    assert "KeyError: 'a fault'" in caplog.text


def test_ids_of_connections_and_conversations_are_short_and_differ() -> None:
    connections = [connection_id() for _ in range(3)]
    conversations = [conversation_id() for _ in range(3)]
    assert len({*connections, *conversations}) == 6
    assert all(one.startswith("conn-") and one[5:].isdigit() for one in connections)
    assert all(one.startswith("conv-") and one[5:].isdigit() for one in conversations)


# -- what another side can cause any number of times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> IncidentClock:
    return IncidentClock(monkeypatch)


@pytest.fixture
def incidents(clock: IncidentClock, caplog: pytest.LogCaptureFixture) -> Incidents:
    caplog.set_level(logging.INFO, NAME)
    return Incidents(logging.getLogger(NAME))


def test_an_incident_is_logged_once_in_a_period_and_counted_when_the_next_one_begins(
    incidents: Incidents, clock: IncidentClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        incidents.warning("10.0.0.7", "Refused a request: %d", number)
    assert caplog.messages == ["[10.0.0.7] Refused a request: 0"]
    clock.now += INCIDENT_PERIOD - 0.001
    incidents.warning("10.0.0.7", "Refused a request: %d", 1000)
    assert len(caplog.messages) == 1
    clock.now += 0.001
    incidents.warning("10.0.0.8", "Refused a connection")
    assert caplog.messages[1:] == [
        "[10.0.0.7] 1000 more within a minute: Refused a request: 0",
        "[10.0.0.8] Refused a connection",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_an_incident_is_logged_again_in_each_period_and_without_a_count_where_it_was_the_only_one(
    incidents: Incidents, clock: IncidentClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        incidents.warning("10.0.0.7", "Refused")
        clock.pass_period()
    assert caplog.messages == ["[10.0.0.7] Refused"] * 3


def test_the_first_incident_is_logged_however_short_the_machine_runs(
    incidents: Incidents, clock: IncidentClock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now = 0.0
    incidents.warning("10.0.0.7", "Refused")
    incidents.warning("10.0.0.7", "Refused")
    assert caplog.messages == ["[10.0.0.7] Refused"]


def test_each_caller_and_each_message_has_its_own_line(
    incidents: Incidents, clock: IncidentClock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        for caller in ("10.0.0.7", "10.0.0.8"):
            for message in ("Refused", "Closed"):
                incidents.warning(caller, message)
    lines = [f"[10.0.0.{last}] {message}" for last in (7, 8) for message in ("Refused", "Closed")]
    assert caplog.messages == lines
    clock.pass_period()
    caplog.clear()
    incidents.warning("10.0.0.9", "Refused")
    counts = [
        f"[10.0.0.{last}] 2 more within a minute: {message}"
        for last in (7, 8)
        for message in ("Refused", "Closed")
    ]
    assert caplog.messages == [*counts, "[10.0.0.9] Refused"]


def test_callers_without_number_cause_a_bounded_number_of_lines(
    incidents: Incidents, clock: IncidentClock, caplog: pytest.LogCaptureFixture
) -> None:
    callers = [f"10.0.{number // 256}.{number % 256}" for number in range(1000)]
    for caller in callers:
        incidents.warning(caller, "Refused")
    # The last line stands for all others.
    assert caplog.messages == [f"[{caller}] Refused" for caller in callers[: INCIDENT_KINDS + 1]]
    caplog.clear()
    clock.pass_period()
    incidents.warning("10.0.9.9", "Refused")
    assert caplog.messages == [
        f"[others] {1000 - INCIDENT_KINDS - 1} more within a minute: more kinds of incidents",
        "[10.0.9.9] Refused",
    ]


def test_a_kind_that_was_logged_is_counted_as_itself_when_there_are_too_many(
    incidents: Incidents, clock: IncidentClock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(INCIDENT_KINDS):
        incidents.warning(f"caller {number}", "Refused")
    incidents.warning("caller 0", "Refused")
    clock.pass_period()
    caplog.clear()
    incidents.warning("caller 0", "Refused")
    assert caplog.messages == ["[caller 0] 1 more within a minute: Refused", "[caller 0] Refused"]


def test_a_line_about_an_incident_has_the_label_and_the_level_that_were_given(
    incidents: Incidents, caplog: pytest.LogCaptureFixture
) -> None:
    incidents.warning("10.0.0.7", "Closed", label="conn-7 100% 10.0.0.7", level=logging.INFO)
    incidents.warning("10.0.0.7", "Closed", label="conn-8 10.0.0.7", level=logging.INFO)
    assert caplog.messages == ["[conn-7 100% 10.0.0.7] Closed"]
    assert caplog.records[0].levelno == logging.INFO
