"""Figures → a chart of horizontal bars, as SVG text. Pure.

Text and lines take their colours from the reader's light or dark scheme; the background is the page's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 760
_NAMES = 270  # the width of the bars' names
_VALUES = 70  # and of their values, at the longest bar's end
_BAR, _GAP = 18, 8
_TITLE, _AXIS, _BETWEEN = 34, 44, 26

_STYLE = """
    text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 15px; font-weight: 600 }
    .axis { font-size: 12px; fill: #59636e }
    text.own { font-weight: 600 }
    line { stroke: #d1d9e0; stroke-width: 1 }
    rect { fill: #8c959f }
    rect.own { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .axis { fill: #9198a1 }
      line { stroke: #3d444d }
      rect { fill: #656c76 }
      rect.own { fill: #4493f8 }
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
    """

    title: str
    axis: str
    bars: Sequence[tuple[str, float]]
    own: str


def chart(panels: Sequence[Panel]) -> str:
    """The panels, one below the other."""
    parts, top = [], 0
    for panel in panels:
        parts.append(_panel(panel, top))
        top += _height(panel) + _BETWEEN
    height = top - _BETWEEN + 8
    label = escape("; ".join(panel.title for panel in panels), quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' role="img" aria-label="{label}">\n  <style>{_STYLE}  </style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _height(panel: Panel) -> int:
    return _TITLE + len(panel.bars) * (_BAR + _GAP) + _AXIS


def _panel(panel: Panel, top: int) -> str:
    ticks = _ticks(max(value for _, value in panel.bars))
    scale = (_WIDTH - _NAMES - _VALUES) / ticks[-1]
    bottom = top + _TITLE + len(panel.bars) * (_BAR + _GAP)
    lines = [f'  <text class="title" x="0" y="{top + 18}">{escape(panel.title)}</text>']
    for tick in ticks:
        x = _NAMES + tick * scale
        lines.append(f'  <line x1="{x:.1f}" y1="{top + _TITLE - 4}" x2="{x:.1f}" y2="{bottom}"/>')
        lines.append(f'  <text class="axis" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    lines.append(f'  <text class="axis" x="{_NAMES}" y="{bottom + 36}">{escape(panel.axis)}</text>')
    for row, (name, value) in enumerate(panel.bars):
        y, own = top + _TITLE + row * (_BAR + _GAP), ' class="own"' if name == panel.own else ""
        end, baseline = _NAMES + value * scale, y + _BAR - 4
        lines.append(f'  <text{own} x="{_NAMES - 10}" y="{baseline}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'  <rect{own} x="{_NAMES}" y="{y}" width="{max(end - _NAMES, 1):.1f}" height="{_BAR}" rx="2"/>')
        lines.append(f'  <text{own} x="{end + 6:.1f}" y="{baseline}">{_value(value)}</text>')
    return "\n".join(lines)


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
