"""Charts as SVG: axes with units, error bars, and every value on hover; no script and no file besides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 48
MARKS = 5  # at most so many colours; they are told apart by dashes too
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 3")


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart: (x, y, low, high) for each point, x and y over 0; `invalid` x are marked."""

    name: str
    points: Sequence[tuple[int, float, float, float]]
    invalid: frozenset[int] = frozenset()


def draw_chart(title: str, unit: str, series: Sequence[Series]) -> str:
    """Return an SVG of the series over the batch size; both axes are logarithmic.

    Args:
        title: What a screen reader says of it.
        unit: Of the values.
        series: At least one, each with a point.
    """
    sizes = sorted({x for one in series for x, *_ in one.points})
    ticks = choose_ticks([y for one in series for _, _, *ends in one.points for y in ends])
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(title)}" class="chart">',
        *_draw_axes(sizes, ticks, unit),
        *(part for number, one in enumerate(series) for part in _draw_series(one, number, sizes, ticks)),
        "</svg>",
        '<ul class="legend">',
        *(
            f'<li><svg viewBox="0 0 24 8" aria-hidden="true"><path class="s{number % MARKS}" d="M0 4H24" '
            f'stroke-dasharray="{_choose_dash(number)}"/></svg>{escape(one.name)}</li>'
            for number, one in enumerate(series)
        ),
        "</ul>",
    ]
    return "\n".join(parts)


def _choose_dash(number: int) -> str:
    """Return another dash for the second five, so that colour and dash together tell 25 series apart."""
    return DASHES[(number + number // MARKS) % MARKS]


def choose_ticks(values: Sequence[float]) -> list[float]:
    """Return 1, 2 and 5 times powers of ten that enclose the values.

    >>> choose_ticks([12.0, 90.0])
    [10.0, 20.0, 50.0, 100.0]
    >>> choose_ticks([1.28, 1804.86])
    [1.0, 10.0, 100.0, 2000.0]
    """
    low, high = max(min(values), 1e-3), max(*values, 1e-3)
    steps = [
        float(f"{factor}e{power}")
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    first = max(number for number, step in enumerate(steps) if step <= low)
    last = min((number for number, step in enumerate(steps) if step >= high), default=len(steps) - 1)
    chosen = steps[first : max(last, first + 1) + 1]
    if len(chosen) <= 8:
        return chosen
    between = [
        step for step in chosen[1:-1] if f"{step:e}"[0] == "1" and 2.5 * chosen[0] < step < chosen[-1] / 2.5
    ]
    return [chosen[0], *between, chosen[-1]]  # the ends enclose all values, whatever lies between


def _place_x(size: int, sizes: Sequence[int]) -> float:
    if len(sizes) == 1:
        return (LEFT + WIDTH - RIGHT) / 2
    share = math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
    return LEFT + 12 + share * (WIDTH - LEFT - RIGHT - 24)


def _place_y(value: float, ticks: Sequence[float]) -> float:
    share = math.log(max(value, 1e-9) / ticks[0]) / math.log(ticks[-1] / ticks[0])
    return HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM)


def _draw_axes(sizes: Sequence[int], ticks: Sequence[float], unit: str) -> Iterator[str]:
    for tick in ticks:
        y = _place_y(tick, ticks)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,g}</text>'
    for size in sizes:
        x = _place_x(size, sizes)
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size}</text>'
    yield f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">batch size</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        f"{escape(unit)}</text>"
    )


def _draw_series(one: Series, number: int, sizes: Sequence[int], ticks: Sequence[float]) -> Iterator[str]:
    style = f"s{number % MARKS}"
    places = [(_place_x(x, sizes), _place_y(y, ticks)) for x, y, *_ in one.points]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    yield f'<path class="{style}" d="M{line}" stroke-dasharray="{_choose_dash(number)}"/>'
    for (size, value, low, high), (x, y) in zip(one.points, places, strict=True):
        if low != high:
            ends = f"{_place_y(low, ticks):.1f}V{_place_y(high, ticks):.1f}"
            yield f'<path class="{style}" d="M{x:.1f} {ends}"/>'
        spread = f" ({_format(low)} to {_format(high)})" if low != high else ""
        verdict = " INVALID" if size in one.invalid else ""
        label = escape(f"{one.name}, batch {size}: {_format(value)}{spread}{verdict}")
        yield (
            f'<circle class="{style} point{verdict.lower()}" tabindex="0" role="img" aria-label="{label}" '
            f'cx="{x:.1f}" cy="{y:.1f}" r="4.5"><title>{label}</title></circle>'
        )


def _format(value: float) -> str:
    """Return a value at about four digits.

    >>> _format(1113.52), _format(17.913)
    ('1,114', '17.91')
    """
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
