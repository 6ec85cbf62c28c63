"""The agreement matrix for a terminal and as a page: the matrix, the ways, the images that differ."""

from __future__ import annotations

from collections.abc import Iterator

from assay.measure.accuracy.comparison import Flip
from assay.measure.agreement_matrix import AgreementCell, AgreementMatrix, RunningWay
from assay.report.charts.chart import Chart
from assay.report.charts.matrix_chart import draw_matrix
from assay.report.contents import Contents
from assay.report.html import PageParts, fill_page
from assay.report.sentences import describe_gates
from assay.report.tables.table import Table

WIDTH = 80
LISTED = 20  # differing images of a cell; all of them stand in agree.json


def describe_agreements(matrix: AgreementMatrix) -> Iterator[str]:
    """Yield what the matrix says, a sentence each, the least agreement first."""
    yield from (f"Note: {note}" for note in matrix.notes)
    if matrix.cells:
        least = min(matrix.cells, key=lambda cell: cell.answers.percent)
        yield f"Least agreement: {_describe_cell(least)}"
    for way in matrix.ways:
        if way.refusal:
            yield f"Not run: {way.name} {way.title}: {way.refusal}"
        elif way.full_call_count == 0:
            yield f"{way.name}: no call held {way.batch_size} images, for there are fewer"
    yield from _describe_batch_dependence(matrix)
    yield from _describe_repeats(matrix)
    yield from describe_gates(list(matrix.gates))


def _describe_cell(cell: AgreementCell) -> str:
    found = cell.answers
    low, high = found.interval_percent
    logits = "" if found.max_logit_difference is None else f", logits differ by up to {_show(cell)}"
    failed = f", {found.failed_count:,} failed" if found.failed_count else ""
    return (
        f"{cell.reference} and {cell.candidate}, same Top-1 on {found.same_top1_count:,} of "
        f"{found.image_count:,} (exact 95 %: {low:.2f} to {high:.2f} %), {len(found.lost):,} lost, "
        f"{len(found.won):,} won{failed}{logits}"
    )


def _show(cell: AgreementCell) -> str:
    difference = cell.answers.max_logit_difference
    if difference is None:
        return ""
    return f"{difference:.3g}" + ("" if cell.answers.is_over_all_logits else " (of the five likeliest)")


def _describe_batch_dependence(matrix: AgreementMatrix) -> Iterator[str]:
    cells = [cell for cell in matrix.cells if cell.is_same_model]
    differing = [cell for cell in cells if cell.answers.differing]
    if cells and not differing:
        yield f"Batch sizes: no answer of a model depends on them, over {len(cells)} pairs"
    yield from (f"Batch sizes: {_describe_cell(cell)}" for cell in differing)


def _describe_repeats(matrix: AgreementMatrix) -> Iterator[str]:
    called = [(way, way.repeated) for way in matrix.run_ways if way.repeated is not None]
    other = [(way, repeat) for way, repeat in called if repeat.max_logit_difference]
    if called and not other:
        yield f"Repeated: the same call twice gives the same logits, bit for bit, in all {len(called)} ways"
    for way, repeat in other:
        difference = f"{repeat.max_logit_difference:.3g}"
        yield f"Repeated: {way.name} gives other logits in a second call, by up to {difference}"


def list_matrix_tables(matrix: AgreementMatrix) -> Iterator[Table]:
    """Yield the matrix, in pieces of 80 columns, and the ways by their letters."""
    names = [way.name for way in matrix.run_ways]
    width = 1 + max(3, len(f"{matrix.image_count:,}"))
    step = max(1, (WIDTH - 4) // width)
    for start in range(0, max(0, len(names) - 1), step):
        columns = names[start : start + step]
        rows = [(one, *(_count(matrix, one, other) for other in columns)) for one in names]
        yield Table(
            title="Images with the same Top-1",
            header=("", *columns),
            rows=tuple(rows),
            notes=(f"Of {matrix.image_count:,} images; a failed image agrees with nothing.",),
        )
    yield make_way_table(matrix)


def _count(matrix: AgreementMatrix, one: str, other: str) -> str:
    cell = matrix.find(one, other)
    return "=" if cell is None else f"{cell.answers.same_top1_count:,}"


def make_way_table(matrix: AgreementMatrix) -> Table:
    """What each letter stands for, and how many labelled images it has right."""
    return Table(
        title="Ways of running the model",
        header=("", "Way", "Top-1 %", "Failed", "Layers in", "Folder"),
        rows=tuple(_show_way(way) for way in matrix.ways),
        is_text=True,
    )


def _show_way(way: RunningWay) -> tuple[str, ...]:
    top1 = "" if way.top1 is None else f"{way.top1.percent:.2f}"
    layers = ", ".join(f"{count} {kind}" for kind, count in way.computed_in.items())
    where = f"{way.source} (finished run)" if way.is_stored else way.source
    return way.name, way.title, "not run" if way.refusal else top1, f"{way.failed_count}", layers, where


def make_cell_table(matrix: AgreementMatrix) -> Table:
    """Every two ways, with bounds, images lost and won, and the largest difference of a logit."""
    return Table(
        title="Every two ways",
        header=("Ways", "Same Top-1", "exact 95 %", "Lost", "Won", "Other", "Same five", "Logits differ by"),
        rows=tuple(
            (
                f"{cell.reference}, {cell.candidate}",
                f"{cell.answers.same_top1_count:,} of {cell.answers.image_count:,}",
                f"{cell.answers.interval_percent[0]:.2f} to {cell.answers.interval_percent[1]:.2f}",
                f"{len(cell.answers.lost):,}",
                f"{len(cell.answers.won):,}",
                f"{len(cell.answers.changed):,}",
                f"{cell.answers.same_top5_count:,}",
                _show(cell),
            )
            for cell in matrix.cells
        ),
        notes=(
            "Lost: only the first has the label right; won: only the second; other: neither, or no label.",
        ),
    )


def make_differing_table(matrix: AgreementMatrix) -> Table | None:
    """The images that two ways answer otherwise, at most 20 of each two; None where there are none."""
    rows = [
        (f"{cell.reference}, {cell.candidate}", kind, flip.relative_path, *_show_flip(flip))
        for cell in matrix.cells
        for kind, flip in [
            (kind, flip) for kind in ("lost", "won", "changed") for flip in getattr(cell.answers, kind)
        ][:LISTED]
    ]
    if not rows:
        return None
    return Table(
        title="Images that are answered otherwise",
        header=("Ways", "", "Image", "Label", "First", "Second"),
        rows=tuple(rows),
        notes=(f"At most {LISTED} of each two ways; all of them stand in agree.json.",),
        is_text=True,
    )


def _show_flip(flip: Flip) -> tuple[str, str, str]:
    one, other = (
        flip.failure if number is None else f"{number} ({logit:.4g})"
        for number, logit in zip((flip.reference_class, flip.candidate_class), flip.logits, strict=True)
    )
    return "" if flip.label < 0 else f"{flip.label}", one, other


def render_agreement_page(matrix: AgreementMatrix) -> str:
    """The page, as HTML that needs nothing beside it."""
    sentences = tuple(describe_agreements(matrix))
    *_, ways = list_matrix_tables(matrix)
    differing = make_differing_table(matrix)
    contents = Contents(
        title="Agreement of ways to run a model",
        remark="",
        differences=(),
        verdict=next((line for line in sentences if not line.startswith("Note: ")), "No two ways were run"),
        cards=(),
        findings=sentences,
        notes=(),
        circumstances=(f"Images: {matrix.image_count:,}, {matrix.images}",),
        not_run=(),
        main_tables=(ways, make_cell_table(matrix)),
        detail_tables=(differing,) if differing else (),
        short_tables=(),
        runs=(),
        reference="",
    )
    title = "Images with the same Top-1"
    note = f"Of {matrix.image_count:,} images. Red: answers differ; full red from a tenth of the images on."
    first_chart = Chart(title=title, svg=draw_matrix(matrix), note=note)
    return fill_page(contents, PageParts(figures=contents.cards, first_chart=first_chart))
