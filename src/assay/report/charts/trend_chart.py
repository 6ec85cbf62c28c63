"""A figure over time: a point for each run with its interval, and lines where it changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 280, 64, 16, 22, 48
MOST_LABELS = 4  # dates under the axis, which are larger on a phone


@dataclass(frozen=True, kw_only=True)
class TrendPoint:
    """One run's figure.

    Args:
        date: When it was run.
        label: All that is said of the point.
        value: The figure.
        low: The lower end of its interval.
        high: The upper end.
        is_invalid: Whether it proves nothing.
        is_baseline: Whether others are compared with it.
    """

    date: str
    label: str
    value: float
    low: float
    high: float
    is_invalid: bool = False
    is_baseline: bool = False


def draw_trend(
    title: str, unit: str, points: Sequence[TrendPoint], changes: Sequence[tuple[int, str]]
) -> str:
    """An SVG of figures from left to right, evenly spaced.

    Args:
        title: What the chart is called for those who do not see it.
        unit: Of the figures.
        points: At least one.
        changes: The places before which the level changes, with what is said of each.
    """
    ticks = _choose_ticks([end for point in points for end in (point.value, point.low, point.high)])
    bottom = HEIGHT - BOTTOM
    middle = (TOP + bottom) / 2
    step = max(1, math.ceil(len(points) / MOST_LABELS))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(title)}" class="chart">']
    for tick in ticks:
        y = _place_y(tick, ticks)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,.6g}</text>')
    parts.append(
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        f"{escape(unit)}</text>"
    )
    for place in range(0, len(points), step):
        x = _place_x(place, len(points))
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(points[place].date)}</text>'
        )
    for place, text in changes:
        x = (_place_x(place - 1, len(points)) + _place_x(place, len(points))) / 2
        parts.append(f'<path class="ideal" d="M{x:.1f} {TOP}V{bottom}"/>')
        parts.append(
            f'<text class="name" x="{x:.1f}" y="{TOP - 8}" text-anchor="middle">{escape(text)}</text>'
        )
    line = "L".join(
        f"{_place_x(n, len(points)):.1f} {_place_y(p.value, ticks):.1f}" for n, p in enumerate(points)
    )
    parts.append(f'<path class="s0 thin" d="M{line}"/>')
    parts += [_draw_point(point, _place_x(number, len(points)), ticks) for number, point in enumerate(points)]
    return "\n".join([*parts, "</svg>"])


def _draw_point(point: TrendPoint, x: float, ticks: Sequence[float]) -> str:
    low, high = _place_y(point.low, ticks), _place_y(point.high, ticks)
    style = "s1" if point.is_baseline else "s0"
    mark = " invalid" if point.is_invalid else ""
    label = escape(point.label)
    return (
        f'<path class="{style}" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
        f'<circle class="{style} point{mark}" tabindex="0" role="img" aria-label="{label}" cx="{x:.1f}" '
        f'cy="{_place_y(point.value, ticks):.1f}" r="4.5"><title>{label}</title></circle>'
    )


def _place_x(number: int, count: int) -> float:
    if count == 1:
        return (LEFT + WIDTH - RIGHT) / 2
    return LEFT + 16 + number / (count - 1) * (WIDTH - LEFT - RIGHT - 56)


def _place_y(value: float, ticks: Sequence[float]) -> float:
    return HEIGHT - BOTTOM - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT - TOP - BOTTOM)


def _choose_ticks(values: Sequence[float]) -> list[float]:
    """Round values that enclose the figures, evenly spaced.

    >>> _choose_ticks([97.0, 103.0])
    [96.0, 98.0, 100.0, 102.0, 104.0]
    """
    low, high = min(values), max(values)
    span = max(high - low, abs(high) * 0.01, 1e-6)
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 4)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]
