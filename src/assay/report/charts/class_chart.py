"""The accuracy of every class as SVG, the lowest first: how many are weak, and which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 44


@dataclass(frozen=True, kw_only=True)
class ClassPoint:
    """A class: what is said of it, and the share of its images that are right, 0 to 1."""

    label: str
    share: float


def draw_classes(title: str, points: Sequence[ClassPoint]) -> str:
    """An SVG with a stem for each class, at least one, from the lowest to the highest.

    One class takes the focus, and the arrow keys go on from there; a finger or a mouse shows the nearest one.

    Args:
        title: What the chart is called for those who do not see it.
        points: In ascending order of the share.
    """
    places = [(_place_x(number, len(points)), _place_y(one.share)) for number, one in enumerate(points)]
    stems = "".join(f"M{x:.1f} {HEIGHT - BOTTOM}V{y:.1f}" for x, y in places)
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" class="chart curve" '
            f'aria-label="{escape(title)}">',
            *_draw_axes(len(points)),
            f'<path class="stem" d="{stems}"/>',
            *(_draw_class(point, number, places) for number, point in enumerate(points)),
            "</svg>",
        ]
    )


def _place_x(number: int, count: int) -> float:
    return LEFT + (number + 0.5) / count * (WIDTH - LEFT - RIGHT)


def _place_y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _draw_axes(count: int) -> Iterator[str]:
    for percent in (0, 25, 50, 75, 100):
        y = _place_y(percent / 100)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>'
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turned = f'transform="rotate(-90 14 {middle:.0f})"'
    yield f'<text x="14" y="{middle:.0f}" text-anchor="middle" {turned}>Top-1, %</text>'
    yield (
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{count:,} classes with images, the lowest first</text>"
    )


def _draw_class(point: ClassPoint, number: int, places: Sequence[tuple[float, float]]) -> str:
    x, y = places[number]
    return (
        f'<circle class="s0 solid point" tabindex="{-1 if number else 0}" role="img" '
        f'aria-label="{escape(point.label)}" cx="{x:.1f}" cy="{y:.1f}" r="{2 if len(places) > 60 else 4}"/>'
    )
