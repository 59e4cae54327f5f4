"""Line charts as SVG, without a script or a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 520, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 30

STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 1rem; }
.charts h3 { font-size: .95rem; margin: .4rem 0; } .charts svg { width: 100%; height: auto; }
svg text { fill: var(--faint); font: 11px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg .curve { stroke: var(--bar); stroke-width: 1.8; fill: none; }
svg .dot { fill: var(--bar); }
"""

Point = tuple[float, float]


def line_chart(title: str, points: Sequence[Point], *, is_marked: bool = False) -> str:
    """Draw a curve over iterations.

    Args:
        title: Plain text above the chart.
        points: (iteration, value) in order; values that are not finite are left out.
        is_marked: Whether each point gets a dot with a tooltip.
    """
    known = [(x, y) for x, y in points if math.isfinite(y)]
    if not known:
        return ""
    x_ticks = ticks(0, max(x for x, _ in known))
    y_ticks = ticks(min(y for _, y in known), max(y for _, y in known))
    place = _Scale(x_ticks, y_ticks)
    parts = [_axes(place, x_ticks, y_ticks)]
    line = " ".join(f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in known)
    parts.append(f'<polyline class="curve" points="{line}"/>')
    if is_marked or len(known) == 1:
        parts += [
            f'<circle class="dot" cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="3.5">'
            f"<title>iteration {x:g}: {number(y)}</title></circle>"
            for x, y in known
        ]
    return (
        f'<div><h3>{escape(title)}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></div>'
    )


def ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return at most `most` + 1 round numbers that enclose a range."""
    if high <= low:
        spread = abs(low) / 2 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, last + 1)]


def number(value: float) -> str:
    """Format a value with few digits."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.3e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


class _Scale:
    """Maps iterations and values to the coordinates of the chart."""

    def __init__(self, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
        self.x_ends = x_ticks[0], x_ticks[-1]
        self.y_ends = y_ticks[0], y_ticks[-1]

    def x(self, value: float) -> float:
        low, high = self.x_ends
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_ends
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _axes(place: _Scale, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> str:
    lines = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place.y(y):.1f}" '
        f'y2="{place.y(y):.1f}"/><text x="{LEFT - 6}" y="{place.y(y) + 4:.1f}" '
        f'text-anchor="end">{number(round(y, 12))}</text>'
        for y in y_ticks
    ]
    lines += [
        f'<text x="{place.x(x):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
        f"{number(x)}</text>"
        for x in x_ticks
    ]
    return "".join(lines)
