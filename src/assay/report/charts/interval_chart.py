"""Accuracies under one another, each with its interval: what overlaps and what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW, BOTTOM = 640, 16, 16, 8, 46, 44
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)  # between ticks


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A percentage or a gain, with its interval where it was measured here."""

    name: str
    percent: float
    interval: tuple[float, float] | None
    is_published: bool = False


def draw_intervals(title: str, figures: Sequence[Figure], axis: str = "Top-1, %", unit: str = " %") -> str:
    """An SVG with a row for each figure, at least one.

    Args:
        title: What the chart is called for those who do not see it.
        figures: From top to bottom.
        axis: What stands under the axis.
        unit: What stands behind a figure.
    """
    ticks = choose_steps([end for figure in figures for end in (figure.percent, *(figure.interval or ()))])

    def place(percent: float) -> float:
        return LEFT + 8 + (percent - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - LEFT - RIGHT - 16)

    bottom = TOP + ROW * len(figures)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {bottom + BOTTOM}" role="group" class="chart" '
        f'aria-label="{escape(title)}">'
    ]
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{place(tick):.1f} {TOP}V{bottom}"/>')
        parts.append(f'<text x="{place(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:.4g}</text>')
    if ticks[0] < 0 < ticks[-1]:
        parts.append(f'<path class="ideal" d="M{place(0):.1f} {TOP}V{bottom}"/>')
    parts.append(f'<text x="{WIDTH / 2:.0f}" y="{bottom + 38}" text-anchor="middle">{escape(axis)}</text>')
    for number, figure in enumerate(figures):
        y = TOP + ROW * number + 30
        style = "s1" if figure.is_published else "s0"
        label = f"{figure.name}: {figure.percent:.2f}{unit}"
        parts.append(f'<text class="name" x="{LEFT}" y="{y - 13}">{escape(figure.name)}</text>')
        if figure.interval is not None:
            one, other = map(place, figure.interval)
            label += f", 95 %: {figure.interval[0]:.2f} to {figure.interval[1]:.2f}"
            parts.append(f'<path class="{style}" d="M{one:.1f} {y}H{other:.1f}"/>')
            parts.append(f'<path class="{style}" d="M{one:.1f} {y - 5}v10M{other:.1f} {y - 5}v10"/>')
        parts.append(
            f'<circle class="{style} point" tabindex="0" role="img" aria-label="{escape(label)}" '
            f'cx="{place(figure.percent):.1f}" cy="{y}" r="5"><title>{escape(label)}</title></circle>'
        )
    return "\n".join([*parts, "</svg>"])


def choose_steps(values: Sequence[float]) -> list[float]:
    """Even ticks that enclose the values, at most eight of them.

    >>> choose_steps([75.87, 87.61])
    [74, 76, 78, 80, 82, 84, 86, 88]
    """
    low, high = min(values), max(values)
    step = next((step for step in STEPS if (high - low) / step <= 6), STEPS[-1])
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [number * step for number in range(first, last + 1)]
