"""Accuracy against speed as SVG: each model a point with its interval both ways, published ones hollow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from assay.report.charts.interval_chart import choose_steps
from assay.report.charts.line_chart import MARKS, choose_ticks

WIDTH, HEIGHT = 640, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 18, 50
LABEL_HEIGHT, LETTER_WIDTH = 20, 11  # of a name at a phone's size, in the drawing's own units


@dataclass(frozen=True, kw_only=True)
class TradeOffPoint:
    """How accurate and how fast one model is.

    Args:
        name: What stands beside the point.
        details: What hovering, focus and a screen reader tell of it.
        percent: Its Top-1.
        percent_interval: The 95 % interval of that, where there is one.
        rate: Images per second, above 0.
        rate_range: The lowest and the highest repeat, where it was measured here.
        is_published: Somebody else's figures, which were not measured here.
        is_valid: Whether nothing is known against its speed.
    """

    name: str
    details: str
    percent: float
    percent_interval: tuple[float, float] | None
    rate: float
    rate_range: tuple[float, float] | None
    is_published: bool = False
    is_valid: bool = True


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """The ticks of both axes: images/s on a logarithm, Top-1 in even steps."""

    rates: Sequence[float]
    percents: Sequence[float]

    def place_x(self, rate: float) -> float:
        """Where a speed lies, held within the axis."""
        share = math.log(rate / self.rates[0]) / math.log(self.rates[-1] / self.rates[0])
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def place_y(self, percent: float) -> float:
        """Where an accuracy lies."""
        share = (percent - self.percents[0]) / (self.percents[-1] - self.percents[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def draw_trade_off(title: str, points: Sequence[TradeOffPoint]) -> str:
    """An SVG of the points, at least one: up is more accurate, right is faster.

    Args:
        title: What the chart is called for those who do not see it.
        points: The measured ones first.
    """
    axes = _Axes(
        rates=choose_ticks([rate for one in points for rate in (one.rate, *(one.rate_range or ()))]),
        percents=choose_steps(
            [end for one in points for end in (one.percent, *(one.percent_interval or ()))]
        ),
    )
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" class="chart" aria-label="{escape(title)}">',
            *_draw_axes(axes),
            *(part for number, one in enumerate(points) for part in _draw_point(one, number, axes)),
            *_draw_names(points, axes),
            "</svg>",
        ]
    )


def _draw_axes(axes: _Axes) -> Iterator[str]:
    for percent in axes.percents:
        y = axes.place_y(percent)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{percent:.4g}</text>'
    for rate in axes.rates:
        x = axes.place_x(rate)
        yield f'<path class="grid" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        yield f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{rate:,g}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        "images/s at the best batch size</text>"
    )
    yield (
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        "Top-1, %</text>"
    )


def _draw_point(one: TradeOffPoint, number: int, axes: _Axes) -> Iterator[str]:
    style = "soft" if one.is_published else f"s{number % MARKS}"
    x, y = axes.place_x(one.rate), axes.place_y(one.percent)
    if one.percent_interval is not None:
        low, high = map(axes.place_y, one.percent_interval)
        caps = f"M{x - 5:.1f} {low:.1f}h10M{x - 5:.1f} {high:.1f}h10"
        yield f'<path class="{style}" d="M{x:.1f} {low:.1f}V{high:.1f}{caps}"/>'
    if one.rate_range is not None:
        left, right = map(axes.place_x, one.rate_range)
        caps = f"M{left:.1f} {y - 5:.1f}v10M{right:.1f} {y - 5:.1f}v10"
        yield f'<path class="{style}" d="M{left:.1f} {y:.1f}H{right:.1f}{caps}"/>'
    kind = "" if one.is_published else " solid"
    label = escape(one.details)
    yield (
        f'<circle class="{style} point{kind}" tabindex="0" role="img" aria-label="{label}" '
        f'cx="{x:.1f}" cy="{y:.1f}" r="6"><title>{label}</title></circle>'
    )


def _draw_names(points: Sequence[TradeOffPoint], axes: _Axes) -> Iterator[str]:
    """Yield what stands beside the points, where it covers none of those before it."""
    taken: list[tuple[float, float, float]] = []
    for one in points:
        text = f"{one.name}{'' if one.is_valid else ' !'}"
        left, y, anchor = _find_room(axes, one, len(text) * LETTER_WIDTH, taken)
        taken.append((left, left + len(text) * LETTER_WIDTH, y))
        x = axes.place_x(one.rate) + (10 if anchor == "start" else -10)
        yield f'<text class="name" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _find_room(
    axes: _Axes, one: TradeOffPoint, width: float, taken: Sequence[tuple[float, float, float]]
) -> tuple[float, float, str]:
    """Where a name of such a width starts, its height, and its anchor: near its point, right before left."""
    x, y = axes.place_x(one.rate), axes.place_y(one.percent)
    places = [
        (left, y - 9 + number * LABEL_HEIGHT, anchor)
        for number in (0, 1.5, -1, 2.5, -2, 3.5, -3)
        for left, anchor in ((x + 10, "start"), (x - 10 - width, "end"))
    ]
    within = [place for place in places if place[0] >= LEFT and place[0] + width <= WIDTH and place[1] > TOP]
    free = [place for place in within if not any(_overlaps(place, width, box) for box in taken)]
    return next(iter([*free, *within, *places]))


def _overlaps(place: tuple[float, float, str], width: float, box: tuple[float, float, float]) -> bool:
    left, right, y = box
    return place[0] < right and left < place[0] + width and abs(place[1] - y) < LABEL_HEIGHT
