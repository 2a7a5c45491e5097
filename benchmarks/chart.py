"""Figures → a chart of horizontal bars, or of curves over time, as SVG text. Pure.

Text and lines take their colours from the reader's light or dark scheme; the background is the page's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 760
_NAMES = 270  # the width of the bars' names
_VALUES = 70  # and of their values, at the longest bar's end
_BAR, _GAP = 18, 8
_TITLE, _AXIS, _BETWEEN = 34, 44, 26
_NOTE = 20
# Of curves: the width of their values, the height of their plot, the width of a name in the legend
_LEFT, _CURVES, _LEGEND = 64, 150, 90

_STYLE = """
    text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 15px; font-weight: 600 }
    .axis { font-size: 12px; fill: #59636e }
    text.own { font-weight: 600 }
    line { stroke: #d1d9e0; stroke-width: 1 }
    rect { fill: #8c959f }
    rect.own { fill: #0969da }
    rect.before { fill: #9ec5f4 }
    polyline { fill: none; stroke: #8c959f; stroke-width: 2; stroke-linejoin: round }
    polyline.own { stroke: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .axis { fill: #9198a1 }
      line { stroke: #3d444d }
      rect { fill: #656c76 }
      rect.own { fill: #4493f8 }
      rect.before { fill: #2b4a73 }
      polyline { stroke: #656c76 }
      polyline.own { stroke: #4493f8 }
    }
"""


@dataclass(frozen=True)
class Panel:
    """Bars on one axis.

    Args:
        title: what is compared.
        axis: what the axis counts, and that less, or more, is better.
        bars: name and value of each, from top to bottom.
        own: the bar that stands out.
        before: one that belongs to it.
        note: what there is to know about them, in a line.
    """

    title: str
    axis: str
    bars: Sequence[tuple[str, float]]
    own: str
    before: str = ""
    note: str = ""

    @property
    def height(self) -> int:
        return _TITLE + len(self.bars) * (_BAR + _GAP) + _AXIS + (_NOTE if self.note else 0)

    def draw(self, top: int) -> str:
        ticks = _ticks(max(value for _, value in self.bars))
        scale = (_WIDTH - _NAMES - _VALUES) / ticks[-1]
        bottom = top + _TITLE + len(self.bars) * (_BAR + _GAP)
        lines = [_title(self.title, top)]
        for tick in ticks:
            x = _NAMES + tick * scale
            lines.append(f'  <line x1="{x:.1f}" y1="{top + _TITLE - 4}" x2="{x:.1f}" y2="{bottom}"/>')
            lines.append(f'  <text class="axis" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
        lines.append(f'  <text class="axis" x="{_NAMES}" y="{bottom + 36}">{escape(self.axis)}</text>')
        if self.note:
            y = bottom + 36 + _NOTE
            lines.append(f'  <text class="axis" x="{_WIDTH}" y="{y}" text-anchor="end">{escape(self.note)}</text>')
        kinds = {self.own: ' class="own"', self.before: ' class="before"'}
        for row, (name, value) in enumerate(self.bars):
            y, kind = top + _TITLE + row * (_BAR + _GAP), kinds.get(name, "")
            width, base = value * scale, y + _BAR - 4
            lines.append(f'  <text{kind} x="{_NAMES - 10}" y="{base}" text-anchor="end">{escape(name)}</text>')
            lines.append(f'  <rect{kind} x="{_NAMES}" y="{y}" width="{max(width, 1):.1f}" height="{_BAR}" rx="2"/>')
            lines.append(f'  <text{kind} x="{_NAMES + width + 6:.1f}" y="{base}">{_value(value)}</text>')
        return "\n".join(lines)


@dataclass(frozen=True)
class Curves:
    """Lines over time.

    Args:
        title: what they show.
        axis: what the time is counted in.
        lines: name → its points, times and values; the first one stands out. One alone needs no name.
    """

    title: str
    axis: str
    lines: Mapping[str, Sequence[tuple[float, float]]]

    @property
    def height(self) -> int:
        return _TITLE + _CURVES + _AXIS

    def draw(self, top: int) -> str:
        points = [point for line in self.lines.values() for point in line]
        times, values = (_ticks(max(each)) for each in zip(*points, strict=True))
        width, bottom = _WIDTH - _LEFT - _VALUES, top + _TITLE + _CURVES
        across, up = width / times[-1], _CURVES / values[-1]
        drawn = [_title(self.title, top)]
        for tick in values:
            y = bottom - tick * up
            drawn.append(f'  <line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + width}" y2="{y:.1f}"/>')
            drawn.append(f'  <text class="axis" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>')
        for tick in times:
            x = _LEFT + tick * across
            drawn.append(f'  <text class="axis" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
        drawn.append(f'  <text class="axis" x="{_LEFT}" y="{bottom + 36}">{escape(self.axis)}</text>')
        for number, (name, line) in enumerate(self.lines.items()):
            kind = "" if number else ' class="own"'
            path = " ".join(f"{_LEFT + time * across:.1f},{bottom - value * up:.1f}" for time, value in line)
            drawn.append(f'  <polyline{kind} points="{path}"/>')
            if len(self.lines) > 1:
                x, y = _WIDTH - _LEGEND * (len(self.lines) - number), top + 14
                drawn.append(f'  <polyline{kind} points="{x},{y} {x + 24},{y}"/>')
                drawn.append(f'  <text{kind} x="{x + 30}" y="{y + 4}">{escape(name)}</text>')
        return "\n".join(drawn)


def chart(panels: Sequence[Panel | Curves]) -> str:
    """The panels, one below the other."""
    parts, top = [], 0
    for panel in panels:
        parts.append(panel.draw(top))
        top += panel.height + _BETWEEN
    height = top - _BETWEEN + 8
    label = escape("; ".join(panel.title for panel in panels), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="{label}">\n  <style>{_STYLE}  </style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _title(title: str, top: int) -> str:
    return f'  <text class="title" x="0" y="{top + 18}">{escape(title)}</text>'


def _ticks(most: float) -> list[float]:
    """From 0 to the first round number that is not below the most, in steps of 1, 2 or 5 of some power of ten."""
    step = 10.0**-3
    while True:
        for factor in (1, 2, 5):
            if most <= 6 * factor * step:
                count = -int(-most // (factor * step))
                return [round(number * factor * step, 6) for number in range(max(count, 1) + 1)]
        step *= 10


def _value(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
