from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from discord_tools.ipc.logs import LabelledLogger, connection_id, conversation_id

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
