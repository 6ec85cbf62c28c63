"""The reliability diagram of a calibration error, as SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from assay.measure.accuracy.calibration_error import CalibrationBin, CalibrationError
from assay.report.sentences import describe_calibration

SIDE, LEFT, TOP, BOTTOM = 280, 56, 12, 44  # of the diagram, its margins


def draw_reliability(found: CalibrationError, title: str) -> str:
    """Return an SVG: a bar for each bin, as high as its accuracy, and the line of perfect calibration."""
    width, height = LEFT + SIDE + 16, TOP + SIDE + BOTTOM
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="group" aria-label="{escape(title)}" '
        'class="chart square">',
        *_draw_axes(),
        *(_draw_bar(one) for one in found.bins if one.image_count),
        f'<path class="ideal" d="M{LEFT} {TOP + SIDE}L{LEFT + SIDE} {TOP}"/>',
        "</svg>",
        f'<p class="note">{escape(describe_calibration(found))}. Dashed: as often right as sure.</p>',
    ]
    return "\n".join(parts)


def _draw_axes() -> Iterator[str]:
    for percent in (0, 20, 40, 60, 80, 100):
        at = SIDE * percent / 100
        yield f'<path class="grid" d="M{LEFT} {TOP + SIDE - at:.1f}h{SIDE}"/>'
        yield f'<text x="{LEFT - 6}" y="{TOP + SIDE - at + 4:.1f}" text-anchor="end">{percent}</text>'
        yield f'<text x="{LEFT + at:.1f}" y="{TOP + SIDE + 18}" text-anchor="middle">{percent}</text>'
    yield (
        f'<text x="{LEFT + SIDE / 2:.0f}" y="{TOP + SIDE + 38}" text-anchor="middle">'
        "probability of Top-1, %</text>"
    )
    middle = TOP + SIDE / 2
    yield (
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 14 {middle:.0f})">'
        "right, %</text>"
    )


def _draw_bar(one: CalibrationBin) -> str:
    share = one.hits / one.image_count
    confidence = one.confidence or 0.0
    label = escape(
        f"{100 * one.low:.0f} to {100 * one.high:.0f} % sure: {one.image_count:,} images, "
        f"mean {100 * confidence:.1f} %, right {100 * share:.1f} %"
    )
    x, wide = LEFT + SIDE * one.low + 1, SIDE * (one.high - one.low) - 2
    tall = max(SIDE * share, 2.0)  # a bin where all is wrong is seen too
    return (
        f'<rect class="bar point" tabindex="0" role="img" aria-label="{label}" x="{x:.1f}" '
        f'y="{TOP + SIDE - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"><title>{label}</title></rect>'
    )
