"""The report's tables of speed: measured and published figures side by side, never mixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from assay.measure.speed.throughput import (
    HandedOn,
    ThroughputRow,
    find_best_row,
    find_outliers,
    is_unsteady,
)
from assay.models.record import ModelRecord, PublishedThroughput
from assay.report.sentences import describe_doubts
from assay.report.tables.table import Table

BEST = " *"
INVALID = " !"
CLOCK_NOTE = (
    "Clocks: `device` is what ais_bench calls throughput and trtexec calls GPU compute time; `call` is near "
    "benchmark_app's FPS, trtexec's throughput and MLPerf Offline's samples/s; `pipeline` has no "
    "equivalent there."
)


def make_throughput_tables(rows: Iterable[ThroughputRow], record: ModelRecord) -> list[Table]:
    """Return a table for each compiled model: images per second by batch size, measured and published."""
    by_model: dict[str, dict[int, list[ThroughputRow]]] = {}
    for row in rows:
        by_callers = by_model.setdefault(_name_rows(row), {})
        by_callers.setdefault(row.caller_count, []).append(row)
    return [
        _make_table(name if len(by_callers) == 1 else f"{name}, {count} callers", of_callers, record)
        for name, by_callers in by_model.items()
        for count, of_callers in by_callers.items()
    ]


def _name_rows(row: ThroughputRow) -> str:
    """What rows that can be compared have in common."""
    clock = "" if row.clock == "call" else f", {row.clock} clock"
    return f"{row.engine} on {row.device}, {row.precision}{clock}"


def _make_table(name: str, rows: Sequence[ThroughputRow], record: ModelRecord) -> Table:
    published = record.published_throughput
    best = find_best_row(rows)
    return Table(
        title=f"Throughput: {name}",
        header=("Batch", "Images/s", "range", "p50 ms", "p99 ms", *(column.device for column in published)),
        rows=tuple(
            (*_measured_cells(row, is_best=row is best), *_published_cells(row, published)) for row in rows
        ),
        notes=tuple(_make_notes(rows, published)),
    )


def format_rate(images_per_second: float) -> str:
    """Measured images per second in at most seven characters, mostly six: two of them make a range.

    >>> format_rate(17.9134), format_rate(32222.02), format_rate(322227.02), format_rate(2_250_000)
    ('17.91', '32,222', '322k', '2.25M')
    """
    if images_per_second >= 1_000_000:
        return f"{images_per_second / 1_000_000:.2f}M"
    if images_per_second >= 100_000:
        return f"{images_per_second / 1_000:.0f}k"
    return f"{images_per_second:,.0f}" if images_per_second >= 10_000 else f"{images_per_second:.2f}"


def _get_rate(row: ThroughputRow) -> float:
    return row.images_per_second.median


def _measured_cells(row: ThroughputRow, *, is_best: bool) -> tuple[str, ...]:
    values = row.images_per_second.values
    return (
        f"{row.batch_size}",
        f"{show_rate(row)}{BEST if is_best else ''}",
        f"{format_rate(min(values))}-{format_rate(max(values))}",
        f"{row.latency_ms.p50:.1f}",
        f"{row.latency_ms.p99:.1f}",
    )


def mark(*, is_valid: bool) -> str:
    """What stands behind a figure of an INVALID row, wherever it is shown."""
    return "" if is_valid else INVALID


def show_rate(row: ThroughputRow) -> str:
    """Return a row's images per second, marked where it is INVALID."""
    return f"{format_rate(_get_rate(row))}{mark(is_valid=row.is_valid)}"


def _published_cells(row: ThroughputRow, published: Iterable[PublishedThroughput]) -> list[str]:
    cells = []
    for column in published:
        rate = column.images_per_second.get(row.batch_size)
        is_best = rate is not None and rate == max(column.images_per_second.values())
        cells.append("" if rate is None else f"{rate}{BEST if is_best else ''}")  # the digits as published
    return cells


def _make_notes(rows: Sequence[ThroughputRow], published: Sequence[PublishedThroughput]) -> Iterable[str]:
    first = rows[0]
    yield (
        f"Images/s: median of {len(first.images_per_second.values)} repeats, {first.engine} on "
        f"{first.device}, {first.precision}, {first.clock} clock, {first.caller_count} callers at once; "
        f"range: lowest to highest repeat. {describe_best(rows)}"
    )
    if isinstance(first.handed_on, HandedOn):
        found = first.handed_on
        yield (
            f"Measured on {found.image_count:,} images, one batch after the other; the exact model answered "
            f"{found.count:,} ({found.percent:.1f} %). With another share the speed is another."
        )
    yield CLOCK_NOTE
    yield from _note_validity(rows)
    if first.fresh_processes:
        yield "Each repeat loaded the model in a process of its own."
    yield from describe_card(rows)
    yield from _note_sources(first, published)
    unsteady = [str(row.batch_size) for row in rows if is_unsteady(row.images_per_second.values)]
    if unsteady:
        yield (
            f"Unsteady: the repeats at batch {', '.join(unsteady)} differ by more than 10 %; something else "
            "used the machine. Measure again when it is quiet."
        )
    few = [
        f"{row.batch_size} ({_count_calls(row):,})" for row in rows if "p99" not in row.latency_ms.intervals
    ]
    if few:
        yield f"p99 without a 95 % interval, by batch and calls: {', '.join(few)}; it takes 368 calls."
    measured = {row.batch_size: _get_rate(row) for row in rows}
    named = [("measured", measured), *((column.device, column.images_per_second) for column in published)]
    for name, rates in named:
        for batch_size in find_outliers(rates):
            yield f"Outlier: {name} at batch {batch_size} lies far below both neighbours; do not rely on it."


def describe_card(rows: Sequence[ThroughputRow]) -> Iterator[str]:
    """Yield what a card of several such devices would do, where the user said how many it has."""
    count, best = rows[0].card_devices, find_best_row(rows)
    if count > 1:
        yield (
            f"One device was measured. A card has {count} such devices, as was stated: "
            f"{count} x {show_rate(best)} = "
            f"{format_rate(count * _get_rate(best))}{mark(is_valid=best.is_valid)} images/s at "
            "best, computed, not measured."
        )


def describe_best(rows: Iterable[ThroughputRow]) -> str:
    """What the mark of the best batch means."""
    if find_best_row(rows).is_valid:
        return "* marks the best VALID batch."
    return "* marks the best batch; none is VALID."


def _note_validity(rows: Sequence[ThroughputRow]) -> Iterable[str]:
    """Which rows are VALID, and why the others are not, with the figures that say so."""
    judged = [(row.batch_size, row.validity) for row in rows if row.validity is not None]
    valid = [str(size) for size, validity in judged if validity.is_valid]
    if valid:
        yield f"VALID: batch {', '.join(valid)}."
    reasons = dict.fromkeys(reason for _, validity in judged for reason in validity.reasons)
    for reason in reasons:
        sizes = [str(size) for size, validity in judged if reason in validity.reasons]
        yield f"INVALID (!), {reason}: batch {', '.join(sizes)}."


def _count_calls(row: ThroughputRow) -> int:
    return sum(map(len, row.call_ms))


def _note_sources(measured: ThroughputRow, published: Sequence[PublishedThroughput]) -> Iterable[str]:
    devices: dict[tuple[str, str], list[str]] = {}
    for column in published:
        devices.setdefault((column.clock, column.source), []).append(column.device)
    for (clock, source), names in devices.items():
        yield f"{', '.join(names)}: as published, {clock} clock; not run here. Source: {source}."
    yield from describe_doubts(published)
    others = sorted({clock for clock, _ in devices} - {measured.clock})
    if others:
        yield (
            f"The {measured.clock} clock and the {' and '.join(others)} clock count different things: "
            "copies, queues, the host. So no ratio between measured and published figures is given."
        )


def make_best_batch_table(rows: Sequence[ThroughputRow], record: ModelRecord) -> Table:
    """Return each device's best batch, and its ratio to the first published device on the same clock."""
    by_name: dict[str, list[ThroughputRow]] = {}
    for row in rows:
        by_name.setdefault(_name_rows(row), []).append(row)
    best_rows = {name: find_best_row(named) for name, named in by_name.items()}
    candidates = [
        (f"measured: {name}", row.clock, row.batch_size, _get_rate(row), show_rate(row))
        for name, row in best_rows.items()
    ]
    for column in record.published_throughput:
        batch_size, rate = max(column.images_per_second.items(), key=lambda item: item[1])
        candidates.append((f"published: {column.device}", column.clock, batch_size, rate, f"{rate}"))
    base_name, base_clock, _, base_rate, base_text = candidates[min(len(best_rows), len(candidates) - 1)]
    return Table(
        title="Best batch",
        header=("Device", "Clock", "Batch", "Images/s", f"of {base_name.removeprefix('published: ')}"),
        rows=tuple(
            (
                name,
                clock,
                f"{size}",
                text,
                f"{rate / base_rate:.2f}{_find_mark(text, base_text)}"
                if clock == base_clock
                else "other clock",
            )
            for name, clock, size, rate, text in candidates
        ),
        notes=(
            *explain_marks(text for *_, text in candidates),
            *describe_doubts(record.published_throughput),
        ),
    )


def _find_mark(*figures: str) -> str:
    """Return the mark of a ratio of these figures."""
    return mark(is_valid=not any(INVALID in figure for figure in figures))


def explain_marks(figures: Iterable[str]) -> Iterator[str]:
    """Yield what the mark of INVALID means, where one of the figures has it."""
    if any(INVALID in figure for figure in figures):
        yield "! marks figures that are INVALID: the notes of Throughput say why."
