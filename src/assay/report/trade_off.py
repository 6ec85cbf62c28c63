"""How accurate and how fast each model of a report is: the points of its first chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from assay.measure.accuracy.accuracy import compute_wilson_interval
from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.models.record import ModelRecord, PublishedAccuracy, PublishedThroughput
from assay.report.charts.trade_off_chart import TradeOffPoint
from assay.report.named_run import NamedRun
from assay.report.tables.throughput import format_rate


@dataclass(frozen=True, kw_only=True)
class _Hits:
    """Top-1 of one model."""

    hits: int
    image_count: int

    @property
    def percent(self) -> float:
        return 100 * self.hits / self.image_count

    @property
    def interval_percent(self) -> tuple[float, float]:
        low, high = compute_wilson_interval(self.hits, self.image_count)
        return 100 * low, 100 * high


def list_points(runs: Sequence[NamedRun]) -> list[TradeOffPoint]:
    """Every model whose accuracy and speed were both measured, then the published ones.

    Published figures are left out where nothing was measured both ways.
    """
    measured = [point for run in runs for point in _list_measured(run)]
    record = next((run.manifest.model for run in runs if run.manifest.model), None)
    return [*measured, *(_list_published(record) if measured and record else ())]


def find_own_rows(run: NamedRun) -> list[ThroughputRow]:
    """The rows of the model that the run is of, on the call clock where it has any there.

    All rows where none is the model's own: the speeds of other models, measured alone.
    """
    rows = run.benchmark.rows if run.benchmark else []
    manifest = run.manifest
    own = [row for row in rows if (row.engine, row.precision) == (manifest.engine, manifest.precision)]
    return _keep_one_clock(own or rows)


def _keep_one_clock(rows: Sequence[ThroughputRow]) -> list[ThroughputRow]:
    return [row for row in rows if row.clock == "call"] or list(rows)


def _list_measured(run: NamedRun) -> Iterator[TradeOffPoint]:
    for name, found in _find_accuracies(run).items():
        all_rows = run.benchmark.rows if run.benchmark else ()
        rows = [row for row in all_rows if name == f"{row.engine} {row.precision}"]
        if not rows:
            continue
        best = find_best_row(_keep_one_clock(rows))
        values = best.images_per_second.values
        low, high = found.interval_percent
        full_name = f"{run.name} {name}" if run.name else name
        yield TradeOffPoint(
            name=run.name or name,
            details=(
                f"{full_name}: Top-1 {found.percent:.2f} % of {found.image_count:,} images, "
                f"95 %: {low:.2f} to {high:.2f}; {format_rate(best.images_per_second.median)} images/s "
                f"({format_rate(min(values))} to {format_rate(max(values))}) at batch {best.batch_size}, "
                f"{best.clock} clock{'' if best.is_valid else '; INVALID: ' + best.invalid_reasons}"
            ),
            percent=found.percent,
            percent_interval=found.interval_percent,
            rate=best.images_per_second.median,
            rate_range=(min(values), max(values)),
            is_valid=best.is_valid,
        )


def _find_accuracies(run: NamedRun) -> dict[str, _Hits]:
    """Top-1 by engine and precision: the run's own model; of a run alone, those it was compared with too."""
    if run.metrics is None:
        return {}
    accuracy, own, parts = run.metrics.accuracy, run.metrics.agreement, run.metrics.cascade
    found = {
        f"{run.manifest.engine} {run.manifest.precision}": _Hits(
            hits=accuracy.top1.hits, image_count=accuracy.image_count
        )
    }
    if run.name:
        return found
    for part in () if parts is UNSET else parts:
        found.setdefault(part.name, _Hits(hits=part.top1.hits, image_count=part.image_count))
    if own is not None:
        right = own.paired.both_count + own.paired.lost_count
        found.setdefault(own.reference, _Hits(hits=right, image_count=own.paired.image_count))
    return found


def _list_published(record: ModelRecord) -> Iterator[TradeOffPoint]:
    """Yield each published device at its best batch; one without a published accuracy has no place."""
    for device in record.published_throughput:
        accuracy = _find_published_accuracy(record, device)
        if accuracy is None:
            continue
        size, rate = max(device.images_per_second.items(), key=lambda item: item[1])
        yield TradeOffPoint(
            name=device.device,
            details=(
                f"{device.device}, as published, not run here: Top-1 {accuracy.top1_percent:g} % of 50,000 "
                f"images; {rate:g} images/s at batch {size}, {device.clock} clock"
            ),
            percent=accuracy.top1_percent,
            percent_interval=None,
            rate=rate,
            rate_range=None,
            is_published=True,
        )


def _find_published_accuracy(record: ModelRecord, device: PublishedThroughput) -> PublishedAccuracy | None:
    """The accuracy published for a device, at its best batch where several are."""
    found = [
        one for one in record.published_accuracy if one.setting.partition(",")[0].strip() == device.device
    ]
    return next((one for one in found if "best batch" in one.setting), found[0] if found else None)
