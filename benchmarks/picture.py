"""The figures as a picture: bars in an SVG that needs nothing else, on a light and on a dark page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from benchmarks.figures import Spread
from benchmarks.results import Results
from benchmarks.table import short

__all__ = ("Bar", "Panel", "panels", "picture")

WIDTH: Final = 760
NAMES: Final = 210
VALUES: Final = 120
BAR: Final = 16
STEP: Final = 25
MARGIN: Final = 20

# The card brings its own background, so that it can be read on any page; it follows the reader's system.
_STYLE: Final = """
  .card { fill: #ffffff; stroke: #d8dee4 }
  .title { fill: #1f2328; font-weight: 600; font-size: 14px }
  .name, .value { fill: #1f2328; font-size: 12px }
  .small { fill: #59636e; font-size: 11px }
  .bar { fill: #9aa7b4 } .ours { fill: #4f5fe8 } .limit { fill: #c9d1d9 }
  .range { stroke: #1f2328; stroke-width: 1.2; opacity: .55 }
  @media (prefers-color-scheme: dark) {
    .card { fill: #151b23; stroke: #3d444d }
    .title, .name, .value { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .bar { fill: #656c76 } .ours { fill: #7b8aff } .limit { fill: #3d444d }
    .range { stroke: #f0f6fc }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One bar. ``kind`` is a class of the style."""

    name: str
    kind: str
    value: Spread


@dataclass(frozen=True)
class Panel:
    """Bars that share a scale."""

    title: str
    bars: list[Bar]

    @property
    def height(self) -> int:
        """How tall it is."""
        return 34 + STEP * len(self.bars) + 10


def panels(results: Results) -> list[Panel]:
    """What the picture shows, as far as it was measured."""
    wanted = (
        ("Requests a second, 64 in flight (more is better)", "64", "rate"),
        ("Median latency in microseconds, one at a time (less is better)", "1", "p50"),
        ("CPU microseconds of the bot for each request, 64 in flight (less is better)", "64", "bot_cpu"),
    )
    found: list[Panel] = []
    for title, load, figure in wanted:
        bars: list[Bar] = []
        for side, (name, _) in results.sides.items():
            value = results.spread(side, load, figure)
            if value is not None:
                kind = "limit" if side == "limit" else "ours" if side.startswith("ours") else "bar"
                bars.append(Bar(name, kind, value))
        bars.sort(key=lambda bar: bar.value.median, reverse=figure == "rate")
        if bars:
            found.append(Panel(title, bars))
    return found


def picture(results: Results) -> str:
    """An SVG."""
    shown = panels(results)
    height = sum(panel.height for panel in shown) + 2 * MARGIN + 14
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"',
        'role="img" font-family="system-ui, sans-serif">',
        f"<title>{escape(_alternative(shown))}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
    ]
    top = MARGIN
    for panel in shown:
        lines += _panel(panel, top)
        top += panel.height
    foot = f"{results.date} · {results.machine['cpu']} · {results.machine['python']} · {results.mode} mode"
    lines.append(f'<text class="small" x="{MARGIN}" y="{height - MARGIN + 4}">{escape(foot)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(panel: Panel, top: int) -> list[str]:
    lines = [f'<text class="title" x="{MARGIN}" y="{top + 16}">{escape(panel.title)}</text>']
    highest = max(bar.value.high for bar in panel.bars) or 1
    scale = (WIDTH - 2 * MARGIN - NAMES - VALUES) / highest
    left = MARGIN + NAMES
    for number, bar in enumerate(panel.bars):
        y = top + 34 + STEP * number
        middle = y + BAR / 2
        length, low, high = (part * scale for part in (bar.value.median, bar.value.low, bar.value.high))
        lines += [
            f'<text class="name" x="{left - 10}" y="{y + 12}" text-anchor="end">{escape(bar.name)}</text>',
            # At least a line: nothing at all would look like a figure that is missing.
            f'<rect class="{bar.kind}" x="{left}" y="{y}" width="{max(length, 1.5):.1f}" height="{BAR}" rx="2"/>',
            f'<line class="range" x1="{left + low:.1f}" y1="{middle}" x2="{left + high:.1f}" y2="{middle}"/>',
            f'<text class="value" x="{left + high + 8:.1f}" y="{y + 12}">{short(bar.value.median)}</text>',
        ]
    return lines


def _alternative(shown: list[Panel]) -> str:
    """The same in words, for who cannot see it."""
    said = [
        f"{panel.title}: " + ", ".join(f"{bar.name} {short(bar.value.median)}" for bar in panel.bars)
        for panel in shown
    ]
    return ". ".join(said)
