"""The link between network namespaces: it drops packets, and nobody gets an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import __main__ as command, link
from benchmarks.chaos.notes import Report
from benchmarks.chaos.scenarios import HALF_OPEN_LINK, SCENARIOS, Scenario
from equipment.checkout import ROOT

#: What passes before, during and after a drop, of each direction and of both.
DROPS = """
import asyncio
from benchmarks.chaos.link import Link

async def main():
    async with Link() as link:
        print(await link.passes())
        for to_bot, to_callers in ((True, True), (True, False), (False, True)):
            await link.drop(to_bot=to_bot, to_callers=to_callers)
            print(await link.passes())
            await link.restore()
            print(await link.passes())

asyncio.run(main())
"""


#: Asking starts a program.
REFUSAL = link.refusal()


@pytest.mark.skipif(REFUSAL is not None, reason=f"no network namespaces: {REFUSAL}")
def test_a_link_drops_packets_of_each_direction_and_passes_them_again() -> None:
    code = f"from benchmarks.chaos.link import run_inside; import sys; run_inside(sys.executable, '-c', {DROPS!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.split() == ["True", *["False", "True"] * 3]


def test_without_network_namespaces_the_command_says_why_and_runs_the_other_scenarios(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran: list[str] = []

    async def run(scenario: Scenario, *_: object) -> Report:
        ran.append(scenario.name)
        return Report(answered=1)

    monkeypatch.setattr(sys, "argv", ["chaos"])
    monkeypatch.setattr(command, "run", run)
    command.main()
    assert ran == [name for name in SCENARIOS if name != HALF_OPEN_LINK]
    said = capsys.readouterr().out
    reason = "the program unshare is missing" if sys.platform.startswith("linux") else "only Linux"
    assert f"half-open-link is left out: {reason}" in said
    assert "half-open uses a proxy that drops" in said
