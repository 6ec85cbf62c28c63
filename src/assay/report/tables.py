"""The report's tables and sentences, as plain text cells that any page or terminal can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assay.measure.accuracy import Accuracy, TopKAccuracy
from assay.measure.agreement import Agreement
from assay.measure.throughput import ThroughputRow, find_outliers, is_unsteady
from assay.models.record import ModelRecord, PublishedThroughput
from assay.report.results_file import Manifest


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text: every row has as many cells as the header. Notes stand below it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def describe_topk(name: str, topk: TopKAccuracy, accuracy: Accuracy) -> str:
    """Return one line: counts first, then the percentage, then its interval.

    Where images failed, the percentage of the scored ones follows.
    """
    low, high = topk.interval_percent
    line = (
        f"{name}  {topk.hits:,} of {accuracy.image_count:,}  {topk.percent:.2f} %  "
        f"(95 %: {low:.2f} to {high:.2f})"
    )
    if topk.percent_of_scored is not None:
        line += f"; of scored: {topk.percent_of_scored:.2f} %"
    return line


def describe_agreement(agreement: Agreement) -> str:
    """Return one line: how many images have the same Top-1 as the reference."""
    differing = agreement.image_count - agreement.same_top1_count
    verdict = "on every image" if differing == 0 else f"on all but {differing:,}"
    return (
        f"Same Top-1 as {agreement.reference} {verdict}: "
        f"{agreement.same_top1_count:,} of {agreement.image_count:,}"
    )


def make_accuracy_table(accuracy: Accuracy, record: ModelRecord) -> Table:
    """Return the measured accuracy and, each with its source, the published ones."""
    rows = [("measured here", "Top-1", *_topk_cells(accuracy.top1, accuracy))]
    rows.append(("measured here", "Top-5", *_topk_cells(accuracy.top5, accuracy)))
    for published in record.published_accuracy:
        who = f"published: {published.source}"
        who += f" ({published.setting})" if published.setting else ""
        rows.append((who, "Top-1", "of 50,000", f"{published.top1_percent:g}", ""))
        rows.append((who, "Top-5", "of 50,000", f"{published.top5_percent:g}", ""))
    notes = ["Failed images count as wrong."] if accuracy.failed_count else []
    if record.published_accuracy and accuracy.image_count != 50_000:
        notes.append("The published figures are over other images than the measured one.")
    header = ("Accuracy", "", "right", "%", "95 % interval")
    return Table(title="Accuracy", header=header, rows=tuple(rows), notes=tuple(notes))


def _topk_cells(topk: TopKAccuracy, accuracy: Accuracy) -> tuple[str, str, str]:
    low, high = topk.interval_percent
    return (
        f"{topk.hits:,} of {accuracy.image_count:,}",
        f"{topk.percent:.2f}",
        f"{low:.2f} to {high:.2f}",
    )


def make_failure_table(accuracy: Accuracy) -> Table:
    """Return how many images failed for each reason."""
    rows = tuple((reason, f"{count:,}") for reason, count in accuracy.failures.items())
    return Table(title="Failed images", header=("Reason", "Images"), rows=rows)


def make_throughput_table(rows: Sequence[ThroughputRow], record: ModelRecord) -> Table:
    """Return images per second by batch size: measured, and published for other devices.

    Measured rows of several compiled models stand below one another.
    """
    published = record.published_throughput
    devices = [column.device for column in published]
    best = max(rows, key=_get_rate)
    cells = [(*_measured_cells(row, is_best=row is best), *_published_cells(row, published)) for row in rows]
    return Table(
        title="Throughput",
        header=("Batch", "Images/s", "range", "p50 ms", "p99 ms", *devices),
        rows=tuple(cells),
        notes=tuple(_make_throughput_notes(rows, published)),
    )


def format_rate(images_per_second: float) -> str:
    """Return images per second with two decimals, or none from 10,000 on.

    >>> format_rate(1113.52), format_rate(322227.02)
    ('1113.52', '322,227')
    """
    return f"{images_per_second:,.0f}" if images_per_second >= 10_000 else f"{images_per_second:.2f}"


def _get_rate(row: ThroughputRow) -> float:
    return row.images_per_second.median


def _measured_cells(row: ThroughputRow, *, is_best: bool) -> tuple[str, ...]:
    values = row.images_per_second.values
    return (
        f"{row.batch_size}",
        f"{format_rate(_get_rate(row))}{' *' if is_best else ''}",
        f"{format_rate(min(values))}-{format_rate(max(values))}",
        f"{row.latency_ms.p50:.1f}",
        f"{row.latency_ms.p99:.1f}",
    )


def _published_cells(row: ThroughputRow, published: Iterable[PublishedThroughput]) -> list[str]:
    cells = []
    for column in published:
        rate = column.images_per_second.get(row.batch_size)
        is_best = rate is not None and rate == max(column.images_per_second.values())
        cells.append("" if rate is None else f"{format_rate(rate)}{' *' if is_best else ''}")
    return cells


def _make_throughput_notes(
    rows: Sequence[ThroughputRow], published: Sequence[PublishedThroughput]
) -> Iterable[str]:
    first = rows[0]
    yield (
        f"Images/s: median of {len(first.images_per_second.values)} repeats, {first.engine} on "
        f"{first.device}, {first.precision}, {first.clock} clock, {first.caller_count} callers at once. "
        "* marks the best batch."
    )
    sources: dict[tuple[str, str], list[str]] = {}
    for column in published:
        sources.setdefault((column.clock, column.source), []).append(column.device)
    for (clock, source), devices in sources.items():
        yield f"{', '.join(devices)}: as published, {clock} clock; not run here. Source: {source}."
    clocks = {column.clock for column in published}
    if published and clocks != {first.clock}:
        yield (
            "The call clock includes what the device clock leaves out (copies, queues, the host), so no "
            "ratio between measured and published figures is given."
        )
    unsteady = [str(row.batch_size) for row in rows if is_unsteady(row.images_per_second.values)]
    if unsteady:
        yield (
            f"Unsteady: the repeats at batch {', '.join(unsteady)} differ by more than 10 %; something else "
            "used the machine. Measure again when it is quiet."
        )
    measured = {row.batch_size: _get_rate(row) for row in rows}
    named = [("measured", measured), *((column.device, column.images_per_second) for column in published)]
    for name, rates in named:
        for batch_size in find_outliers(rates):
            yield f"Outlier: {name} at batch {batch_size} lies far below both neighbours; do not rely on it."


def make_best_batch_table(rows: Sequence[ThroughputRow], record: ModelRecord) -> Table:
    """Return each device's best batch, and its ratio to the first published device on the same clock."""
    best = max(rows, key=_get_rate)
    candidates = [(f"measured: {best.engine} on {best.device}", best.clock, best.batch_size, _get_rate(best))]
    for column in record.published_throughput:
        batch_size, rate = max(column.images_per_second.items(), key=lambda item: item[1])
        candidates.append((f"published: {column.device}", column.clock, batch_size, rate))
    base = candidates[1] if len(candidates) > 1 else candidates[0]
    cells = [
        (
            name,
            clock,
            f"{batch_size}",
            format_rate(rate),
            f"{rate / base[3]:.2f}" if clock == base[1] else "other clock",
        )
        for name, clock, batch_size, rate in candidates
    ]
    base_name = base[0].removeprefix("published: ")
    return Table(
        title="Best batch",
        header=("Device", "Clock", "Batch", "Images/s", f"of {base_name}"),
        rows=tuple(cells),
    )


def make_machine_table(manifest: Manifest) -> Table:
    """Return the machine and software that the run was made with."""
    machine = manifest.machine
    quota = "" if machine.processor_quota is None else f", limited to {machine.processor_quota:g}"
    rows = [
        ("Processor", f"{machine.processor}, {machine.processors} processors{quota}"),
        ("Memory", f"{machine.memory_bytes / 2**30:.1f} GiB"),
        ("System", machine.system),
        ("Load average at the start", f"{machine.load_average:.2f}"),
        ("Python", machine.python),
        ("assay", manifest.assay_version),
    ]
    rows += [(name, version) for name, version in machine.packages.items()]
    check = manifest.pixel_check
    verdict = f"differ: {', '.join(check.differing)}" if check.differing else "as verified"
    rows.append(("Pixels of the built-in JPEGs", f"{verdict} ({check.pillow_jpeg})"))
    return Table(title="Machine and software", header=("What", "Found"), rows=tuple(rows))


def make_hash_table(manifest: Manifest) -> Table:
    """Return the sha256 of what went in and what came out."""
    return Table(title="sha256", header=("What", "sha256"), rows=tuple(manifest.hashes.items()))
