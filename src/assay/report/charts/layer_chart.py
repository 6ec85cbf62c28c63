"""The error of each layer by itself, over the network from its input to its output, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 56, 16, 16, 44
_STEPS = (5, 10, 20, 50)  # dB between lines
_LARGEST_DB = 120.0  # rounding of float32 alone


@dataclass(frozen=True, kw_only=True)
class LayerPoint:
    """A tensor of the network: what is said of it, its signal to error in dB, and whether it is a suspect.

    `ratio_db` is None where values are not finite.
    """

    label: str
    ratio_db: float | None
    is_suspect: bool


def draw_layers(title: str, points: Sequence[LayerPoint], limit_db: float) -> str:
    """An SVG of the layers in the network's order, at least one; what is lower has more error.

    One point takes the focus, and the arrow keys go on from there; a finger or a mouse shows the nearest one.

    Args:
        title: What the chart is called for those who do not see it.
        points: From the input to the output.
        limit_db: Below it a layer has more error than those of a healthy network.
    """
    ratios = [_hold(point.ratio_db) for point in points]
    step = next((step for step in _STEPS if (max(ratios) - min(ratios)) / step <= 6), _STEPS[-1])
    low = math.floor(min(*ratios, limit_db) / step) * step
    high = max(math.ceil(max(*ratios, limit_db) / step) * step, low + step)

    def place_x(number: int) -> float:
        return LEFT + 10 + (number + 0.5) / len(points) * (WIDTH - LEFT - RIGHT - 20)

    def place_y(ratio: float) -> float:
        return HEIGHT - BOTTOM - (ratio - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    places = [(place_x(number), place_y(ratio)) for number, ratio in enumerate(ratios)]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" class="chart curve" '
            f'aria-label="{escape(title)}">',
            *_draw_axes([(tick, place_y(tick)) for tick in range(low, high + 1, step)], len(points)),
            f'<path class="ideal" d="M{LEFT} {place_y(limit_db):.1f}H{WIDTH - RIGHT}"/>',
            f'<path class="s0 thin" d="M{line}"/>',
            *(_draw_point(point, number, places[number]) for number, point in enumerate(points)),
            "</svg>",
        ]
    )


def _hold(ratio_db: float | None) -> float:
    """The ratio within what is drawn: what is not finite as if all were error."""
    return 0.0 if ratio_db is None else min(max(ratio_db, -20.0), _LARGEST_DB)


def _draw_axes(ticks: Sequence[tuple[int, float]], count: int) -> Iterator[str]:
    for tick, y in ticks:
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle:.0f})"'
    yield f'<text x="14" y="{middle:.0f}" text-anchor="middle" {turned}>dB</text>'
    yield (
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{count} tensors with an error, from the input to the output</text>"
    )


def _draw_point(point: LayerPoint, number: int, place: tuple[float, float]) -> str:
    style, label = "s4" if point.is_suspect else "s0", escape(point.label)
    return (
        f'<circle class="{style} point" tabindex="{-1 if number else 0}" role="img" aria-label="{label}" '
        f'cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{5 if point.is_suspect else 3}">'
        f"<title>{label}</title></circle>"
    )
