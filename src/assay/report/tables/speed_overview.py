"""The terminal's tables of speed: all that was measured in one, what was published in another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from assay.measure.speed.throughput import HandedOn, ThroughputRow, find_best_row, find_outliers, is_unsteady
from assay.models.record import ModelRecord
from assay.report.sentences import describe_doubts
from assay.report.tables.table import Table
from assay.report.tables.throughput import BEST, describe_best, describe_card, format_rate, show_rate

Model = tuple[str, str, str, str, int]
SHORTEST_TAIL_CALLS = 368  # from which p99 has a 95 % interval


def make_speed_overview(rows: Sequence[ThroughputRow], record: ModelRecord) -> list[Table]:
    """The measured speeds, each note once; and the published ones, where the record has them."""
    return [_make_measured(rows), *([_make_published(record)] if record.published_throughput else [])]


def _make_measured(rows: Sequence[ThroughputRow]) -> Table:
    best = {id(find_best_row(of_model)) for of_model in _group(rows).values()}
    is_plain = all(row.clock == "call" for row in rows)
    on_cpu = all(row.device == "CPU" for row in rows)
    header = ("Engine", "Precision", "Callers", "Batch", "Images/s", "range", "p50 ms", "p99 ms")
    return Table(
        title="Throughput",
        header=header if is_plain else (*header, "clock"),
        rows=tuple(
            (
                row.engine if on_cpu else f"{row.engine} {row.device}",
                row.precision,
                f"{row.caller_count}",
                f"{row.batch_size}",
                f"{show_rate(row)}{BEST if id(row) in best else ''}",
                _show_range(row),
                f"{row.latency_ms.p50:.1f}",
                f"{row.latency_ms.p99:.1f}",
                *(() if is_plain else (row.clock,)),
            )
            for row in rows
        ),
        notes=tuple(_make_notes(rows)),
    )


def _group(rows: Sequence[ThroughputRow]) -> dict[Model, list[ThroughputRow]]:
    grouped: dict[Model, list[ThroughputRow]] = {}
    for row in rows:
        key = (row.engine, row.device, row.precision, row.clock, row.caller_count)
        grouped.setdefault(key, []).append(row)
    return grouped


def _show_range(row: ThroughputRow) -> str:
    values = row.images_per_second.values
    return f"{format_rate(min(values))}-{format_rate(max(values))}"


def _is_invalid_for(reason: str, row: ThroughputRow) -> bool:
    return row.validity is not None and reason in row.validity.reasons


def _make_notes(rows: Sequence[ThroughputRow]) -> Iterator[str]:
    repeats = " or ".join(f"{count}" for count in sorted({len(row.images_per_second.values) for row in rows}))
    yield f"Images/s: median of {repeats} repeats; range: lowest to highest. {describe_best(rows)}"
    reasons = dict.fromkeys(reason for row in rows if row.validity for reason in row.validity.reasons)
    for reason in reasons:
        where = _find(rows, partial(_is_invalid_for, reason))
        yield f"INVALID (!), {reason}: {where}."
    if where := _find(rows, lambda row: is_unsteady(row.images_per_second.values)):
        yield f"Unsteady, repeats differ by more than 10 %: {where}. Measure again when the machine is quiet."
    if where := _find(rows, lambda row: "p99" not in row.latency_ms.intervals):
        yield f"p99 without a 95 % interval, which takes {SHORTEST_TAIL_CALLS} calls: {where}."
    if any(row.fresh_processes for row in rows):
        yield "Each repeat loaded the model in a process of its own."
    for row in rows:
        if isinstance(row.handed_on, HandedOn):
            yield f"{row.engine}: the exact model answered {row.handed_on.percent:.1f} % of the images."
            break
    for key, of_model in _group(rows).items():
        rates = {row.batch_size: row.images_per_second.median for row in of_model}
        for size in find_outliers(rates):
            yield f"Outlier: {key[0]} {key[2]}, batch {size}: far below both neighbours; do not rely on it."
        yield from describe_card(of_model)


def _find(rows: Sequence[ThroughputRow], is_meant: Callable[[ThroughputRow], bool]) -> str:
    """Where something holds: `all rows`, else the batches, by model where there are several; may be empty."""
    found = [row for row in rows if is_meant(row)]
    if len(found) == len(rows):
        return "all rows"
    models = _group(rows)
    parts = []
    for key, of_model in models.items():
        sizes = ", ".join(f"{row.batch_size}" for row in of_model if row in found)
        if sizes:
            parts.append(f"{key[2]} x{key[4]} at batch {sizes}" if len(models) > 1 else f"batch {sizes}")
    return "; ".join(parts)


def _make_published(record: ModelRecord) -> Table:
    published = record.published_throughput
    sizes = sorted({size for column in published for size in column.images_per_second})
    sources: dict[tuple[str, str], list[str]] = {}
    for column in published:
        sources.setdefault((column.clock, column.source), []).append(column.device)
    return Table(
        title="Published throughput",
        header=("Batch", *(f"{column.device}, published" for column in published)),
        rows=tuple(
            (f"{size}", *(f"{column.images_per_second.get(size, '')}" for column in published))
            for size in sizes
        ),
        notes=(
            *(
                f"As published, {clock} clock, not run here: no ratio to what was measured on another clock. "
                f"Source: {source}."
                for clock, source in sources
            ),
            *describe_doubts(published),
        ),
    )
