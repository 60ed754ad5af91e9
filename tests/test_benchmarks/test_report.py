from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.figures import Spread
from benchmarks.picture import WIDTH, panels, picture
from benchmarks.results import Results, Sample
from benchmarks.table import report, rows, short
from benchmarks.targets import verdicts

SVG = "{http://www.w3.org/2000/svg}"


def verdict(results: Results, words: str) -> tuple[str | None, bool]:
    """Value and judgement of the target whose title has these words."""
    (found,) = [one for one in verdicts(results) if words in one.title]
    return found.value, found.met


def test_a_target_is_judged_by_ratios_within_rounds_whatever_the_machine_does_meanwhile(
    results: Results,
) -> None:
    assert verdict(results, "requests a second") == ("0.7x", True)


def test_a_target_is_missed_on_its_wrong_side(results: Results) -> None:
    for cell in results.cells:
        if cell.side == "ours":
            cell.rate /= 2
            cell.p50 *= 2
    assert verdict(results, "requests a second") == ("0.35x", False)
    assert verdict(results, "median latency") == ("2.86x", False)


def test_a_target_without_figures_is_not_met_and_says_that_it_was_not_measured(results: Results) -> None:
    assert verdict(results, "nats-py") == (None, False)
    assert "| the same against nats-py | ≥ 2.5x | not measured |  |" in report(results)


def test_the_longest_stall_of_all_rounds_counts(results: Results) -> None:
    assert verdict(results, "stall") == ("12 ms", True)
    results.cells[-1].stall_cpu = 25.0
    assert verdict(results, "stall") == ("25 ms", False)


def test_memory_is_judged_from_the_first_hundred_thousand_requests_on(results: Results) -> None:
    assert verdict(results, "memory") == ("1%", True)
    results.memory.append(Sample(1_100_000, 63_000_000))
    assert verdict(results, "memory") == ("5%", False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.61234, "0.612"),
        (9.876, "9.88"),
        (123.4, "123"),
        (999.6, "1000"),
        (12_345.0, "12,300"),
        (1_234.0, "1,230"),
    ],
)
def test_numbers_have_three_significant_digits(value: float, expected: str) -> None:
    assert short(value) == expected


def test_a_table_has_as_many_columns_in_each_line() -> None:
    lines = rows(("", "one", "two"), [("a", "1", "2"), ("b", "3", "4")]).splitlines()
    assert lines[1] == "| :--- | ---: | ---: |"
    assert {line.count("|") for line in lines} == {4}


def test_the_report_tells_how_it_was_measured_and_what_is_missing(results: Results) -> None:
    text = report(results)
    for words in (
        "2026-01-02 in quick mode: 3 rounds",
        "A & B <CPU>, 2 cores",
        "bot pinned to core 0",
        "ipc-client 1.1.0",
        "nats did not take part: No module named 'nats'",
        "| **discord_tools.ipc** |",
        "1,000 connected clients cost the bot's process 0.40 % of a core (0.10 % without them)",
        "57.8 MiB after 1,000,000",
    ):
        assert words in text


def test_the_report_leaves_out_loads_that_were_not_measured(results: Results) -> None:
    text = report(results)
    assert "1 MiB" not in text
    assert "256 in flight" not in text


def test_the_report_compares_ours_with_each_other_side(results: Results) -> None:
    (line,) = [line for line in report(results).splitlines() if line.startswith("| limit | 100,000")]
    assert line.endswith("| 0.7x |")


def test_the_report_tells_how_far_off_the_farthest_round_was(results: Results) -> None:
    assert "| **discord_tools.ipc** | 70,000 ±50% | 70,000 ±50% |" in report(results)


def test_the_report_says_how_long_a_dashboard_takes_to_start(results: Results) -> None:
    assert "Importing the client takes 123 ms, and connecting a session 2.5 ms." in report(results)


def test_figures_of_other_loads_and_sides_are_kept_apart(results: Results) -> None:
    for cell in results.cells:
        if (cell.load, cell.side) == ("64", "ours"):
            cell.rate = 5.0 + cell.round
    assert results.of("ours", "64", "rate") == {0: 5.0, 1: 6.0, 2: 7.0}
    assert results.of("ours", "1", "rate") == {0: 70_000.0, 1: 84_000.0, 2: 35_000.0}
    assert results.of("limit", "64", "rate") == {0: 100_000.0, 1: 120_000.0, 2: 50_000.0}


def test_results_come_back_from_their_file_unchanged(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "benchmark.json"
    results.save(path)
    assert Results.load(path) == results


def test_the_picture_has_a_panel_for_each_figure_with_the_best_side_first(results: Results) -> None:
    found = panels(results)
    assert [panel.bars[0].name for panel in found] == ["limit"] * 3
    assert found[0].bars[1].value == Spread(70_000, 35_000, 84_000)


def test_bars_are_as_long_as_their_values_on_one_scale(results: Results) -> None:
    root = ElementTree.fromstring(picture(results))
    lengths = {
        kind: float(bars[0].attrib["width"]) for kind in ("limit", "ours") if (bars := rects(root, kind))
    }
    assert lengths["ours"] / lengths["limit"] == pytest.approx(0.7, abs=0.01)


def test_nothing_in_the_picture_is_beyond_its_edge(results: Results) -> None:
    root = ElementTree.fromstring(picture(results))
    for element in root.iter():
        ends = [float(element.attrib[name]) for name in ("x", "x1", "x2") if name in element.attrib]
        assert all(0 <= end <= WIDTH for end in ends), element.attrib
        if element.attrib.get("class") == "value":
            assert float(element.attrib["x"]) + 8 * len(element.text or "") <= WIDTH, element.text


def test_the_picture_says_in_words_what_it_shows(results: Results) -> None:
    title = ElementTree.fromstring(picture(results)).findtext(f"{SVG}title")
    assert title is not None
    assert "limit 100,000, discord_tools.ipc 70,000" in title


def test_the_picture_has_colours_for_dark_pages_for_all_that_it_draws(results: Results) -> None:
    text = picture(results)
    light, dark = text.split("prefers-color-scheme: dark")
    for kind in set(re.findall(r'class="(\w+)"', text)):
        assert f".{kind}" in light
        assert f".{kind}" in dark


def rects(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The bars of one kind, in order."""
    return [rect for rect in root.iter(f"{SVG}rect") if rect.attrib["class"] == kind]
