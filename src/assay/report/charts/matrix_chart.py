"""The agreement matrix as SVG: a square for each two ways, the redder the more answers differ."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from assay.measure.agreement_matrix import AgreementCell, AgreementMatrix

CELL, LEFT, TOP = 52, 40, 30
LEAST_SEEN = 0.25  # opacity of one differing answer


def draw_matrix(matrix: AgreementMatrix) -> str:
    """An SVG of all ways that were run, below the diagonal; each square says its counts."""
    names = [way.name for way in matrix.run_ways]
    side = CELL * len(names)
    parts = [
        f'<svg viewBox="0 0 {LEFT + side + 8} {TOP + side + 8}" role="group" class="chart" '
        'aria-label="Images with the same Top-1">'
    ]
    for number, name in enumerate(names):
        middle = CELL * number + CELL // 2
        parts.append(
            f'<text class="name" x="{LEFT + middle}" y="{TOP - 8}" text-anchor="middle">{name}</text>'
        )
        parts.append(
            f'<text class="name" x="{LEFT - 10}" y="{TOP + middle + 5}" text-anchor="end">{name}</text>'
        )
    for row, one in enumerate(names):
        for column, other in enumerate(names[:row]):
            cell = matrix.find(one, other)
            if cell is not None:
                parts += _draw_cell(cell, LEFT + CELL * column, TOP + CELL * row)
    return "\n".join([*parts, "</svg>"])


def _draw_cell(cell: AgreementCell, x: int, y: int) -> Iterator[str]:
    found = cell.answers
    different = found.image_count - found.same_top1_count
    style = "differs" if different else "agrees"
    opacity = LEAST_SEEN + (1 - LEAST_SEEN) * min(1.0, 10 * different / found.image_count) if different else 1
    low, high = found.interval_percent
    label = escape(
        f"{cell.reference} and {cell.candidate}: same Top-1 on {found.same_top1_count:,} of "
        f"{found.image_count:,} images, exact 95 %: {low:.2f} to {high:.2f} %"
    )
    yield (
        f'<rect class="{style} point" tabindex="0" role="img" aria-label="{label}" x="{x + 1}" y="{y + 1}" '
        f'width="{CELL - 2}" height="{CELL - 2}" fill-opacity="{opacity:.2f}"><title>{label}</title></rect>'
    )
    yield (
        f'<text class="name" x="{x + CELL // 2}" y="{y + CELL // 2 + 5}" text-anchor="middle" '
        f'pointer-events="none">{found.same_top1_count}</text>'
    )
