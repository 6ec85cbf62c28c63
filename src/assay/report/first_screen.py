"""The first screen of a page: three figures of a run, or what each of several found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assay.measure.accuracy.agreement import Agreement
from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.report.contents import Card, describe_card, describe_speed_card
from assay.report.named_run import NamedRun
from assay.report.sentences import list_figures
from assay.report.tables.table import Table
from assay.report.tables.throughput import mark, show_rate
from assay.report.trade_off import find_own_rows

MOST_FIGURES = 3


def pick_figures(runs: Sequence[NamedRun]) -> tuple[Card, ...]:
    """At most three figures of a run alone: Top-1, agreement or Top-5, speed; several runs have a table."""
    if len(runs) > 1:
        return ()
    (run,) = runs
    rows = find_own_rows(run)
    speed = [describe_speed_card(find_best_row(rows))] if rows else []
    return (*list(_list_accuracy_cards(run))[: MOST_FIGURES - len(speed)], *speed)


def _list_accuracy_cards(run: NamedRun) -> Iterator[Card]:
    """Yield Top-1 by each way of counting, then the agreement, then Top-5."""
    if run.metrics is None:
        return
    cards = [describe_card(run, name, topk) for name, topk in list_figures(run.metrics)]
    yield from (card for card in cards if card.name.startswith("Top-1"))
    agreement = run.agreement or run.metrics.agreement
    if agreement is not None:
        yield _describe_agreement_card(agreement)
    yield from (card for card in cards if not card.name.startswith("Top-1"))


def _describe_agreement_card(agreement: Agreement) -> Card:
    answered = agreement.image_count - agreement.coverage.failed_count
    paired = agreement.paired
    low, high = paired.interval_points
    return Card(
        name=f"Same answer as {agreement.reference}",
        value=f"{agreement.same_top1_count:,} of {answered:,}",
        details=(
            f"{paired.lost_count:,} lost, {paired.won_count:,} won",
            f"Top-1 {paired.difference_points:+.2f} points; 95 %: {low:+.2f} to {high:+.2f}",
        ),
        line="",
    )


def make_overview(runs: Sequence[NamedRun]) -> Table:
    """A row for each run: its accuracy, the difference from the first, its best speed and the ratio."""
    first = runs[0]
    best = [find_best_row(rows) if (rows := find_own_rows(run)) else None for run in runs]
    invalid = [
        f"{run.name}: {row.invalid_reasons}"
        for run, row in zip(runs, best, strict=True)
        if row and not row.is_valid
    ]
    return Table(
        title="What each run found",
        header=(
            "Run",
            "Top-1 %",
            "95 % interval",
            f"points from {first.name}",
            "95 % interval",
            "Images/s",
            "Batch",
            f"times {first.name}, best batches",
        ),
        rows=tuple(
            (run.name, *_show_accuracy(run), *_show_difference(run, first), *_show_speed(row, best[0]))
            for run, row in zip(runs, best, strict=True)
        ),
        notes=(
            "Images/s: the best batch of each run; a ratio stands only between speeds on the same clock.",
            *([f"! INVALID: {'; '.join(invalid)}."] if invalid else []),
        ),
    )


def _show_accuracy(run: NamedRun) -> tuple[str, str]:
    if run.metrics is None:
        return "not run", ""
    low, high = run.metrics.accuracy.top1.interval_percent
    return f"{run.metrics.accuracy.top1.percent:.2f}", f"{low:.2f} to {high:.2f}"


def _show_difference(run: NamedRun, first: NamedRun) -> tuple[str, str]:
    if run is first:
        return "", ""
    if run.agreement is None:
        return "not compared", ""
    low, high = run.agreement.paired.interval_points
    return f"{run.agreement.paired.difference_points:+.2f}", f"{low:+.2f} to {high:+.2f}"


def _show_speed(row: ThroughputRow | None, first: ThroughputRow | None) -> tuple[str, str, str]:
    if row is None:
        return "not run", "", ""
    if first is None or row is first:
        ratio = ""
    elif row.clock != first.clock:
        ratio = "other clock"
    else:
        times = row.images_per_second.median / first.images_per_second.median
        ratio = f"{times:.2f}{mark(is_valid=row.is_valid and first.is_valid)}"
    return show_rate(row), f"{row.batch_size}", ratio
