"""Writes `report.html`: the run on one page that needs no network and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from assay.images.labels import read_synsets
from assay.measure.accuracy import ClassAccuracy, TopKAccuracy
from assay.measure.comparison import judge_difference
from assay.measure.mistakes import ConfusedPair
from assay.report.benchmark_tables import make_benchmark_tables
from assay.report.charts import Series, draw_chart
from assay.report.results_file import Benchmark, Manifest, Metrics
from assay.report.tables import (
    Table,
    describe_gates,
    describe_images,
    describe_paired,
    describe_session,
    make_accuracy_table,
    make_failure_table,
    make_hash_table,
    make_machine_table,
)
from assay.report.throughput_tables import format_rate, make_best_batch_table, make_throughput_tables

MARGIN_POINTS = 0.1


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of the gallery.

    Args:
        relative_path: Which image.
        kind: lost, won, changed (against the reference), or mistake.
        label: Its label.
        top: What the run says: classes with logits.
        reference_top: What the reference says; may be empty.
        thumbnail: A data URI, or empty where the image is not there any more.
    """

    relative_path: str
    kind: str
    label: int
    top: str
    reference_top: str = ""
    thumbnail: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images worth looking at, and how often classes are confused; `hidden_count` are not shown."""

    pictures: Sequence[Picture] = ()
    hidden_count: int = 0
    confused: Sequence[ConfusedPair] = ()
    note: str = ""


def render_page(
    manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None, gallery: Gallery
) -> str:
    """Return the page as HTML; parts that were not run are left out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("assay.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    name = manifest.model.name if manifest.model else "unknown model"
    tables = list(_list_tables(manifest, metrics, benchmark, gallery))
    kinds = dict.fromkeys(("lost", "won", "changed", "mistake"), 0)
    for picture in gallery.pictures:
        kinds[picture.kind] += 1
    return environment.get_template("report.html.j2").render(
        title=f"{name} on {manifest.engine} ({manifest.device}, {manifest.precision})",
        remark=manifest.remark,
        verdict=write_verdict(manifest, metrics),
        cards=list(_list_cards(metrics, benchmark)),
        lines=list(_list_lines(manifest, metrics, gallery)),
        charts=list(_list_charts(manifest, benchmark)),
        tables=[_give_id(table, number) for number, table in enumerate(tables)],
        pictures=gallery.pictures,
        kinds=[(kind, count) for kind, count in kinds.items() if count],
        reference=metrics.agreement.reference if metrics and metrics.agreement else "",
        hidden_count=gallery.hidden_count,
    )


def write_verdict(manifest: Manifest, metrics: Metrics | None) -> str:
    """Return the sentence at the head of the page: the gates, else the comparison, else the accuracy."""
    if manifest.gates:
        failed = [gate for gate in manifest.gates if gate.outcome != "pass"]
        if not failed:
            return f"Passes every gate: {', '.join(gate.gate for gate in manifest.gates)}"
        return "; ".join(describe_gates(failed))
    if metrics is None:
        return "Only speed was measured."
    if metrics.agreement is not None:
        verdict = judge_difference(metrics.agreement.paired, MARGIN_POINTS, "This model")
        return f"Against {metrics.agreement.reference}: {verdict.sentence}"
    count = metrics.accuracy.image_count
    return f"Top-1 {metrics.accuracy.top1.percent:.2f} % of {count:,} images; not compared with a reference"


def _list_cards(metrics: Metrics | None, benchmark: Benchmark | None) -> Iterator[dict[str, str]]:
    if metrics is not None:
        for name, topk in (("Top-1", metrics.accuracy.top1), ("Top-5", metrics.accuracy.top5)):
            yield {
                "name": name,
                "value": f"{topk.percent:.2f} %",
                "detail": f"{_describe_counts(topk, metrics)}",
            }
    if benchmark is not None and benchmark.rows:
        best = max(benchmark.rows, key=lambda row: row.images_per_second.median)
        yield {
            "name": "Best throughput",
            "value": f"{format_rate(best.images_per_second.median)} images/s",
            "detail": f"batch {best.batch_size}, {best.precision}, {best.clock} clock",
        }


def _describe_counts(topk: TopKAccuracy, metrics: Metrics) -> str:
    low, high = topk.interval_percent
    return f"{topk.hits:,} of {metrics.accuracy.image_count:,}; 95 %: {low:.2f} to {high:.2f}"


def _list_lines(manifest: Manifest, metrics: Metrics | None, gallery: Gallery) -> Iterator[str]:
    yield from describe_gates(manifest.gates)
    if metrics is not None and metrics.agreement is not None:
        yield from describe_paired(metrics.agreement)
    if manifest.logit_parity is not None:
        parity = manifest.logit_parity
        yield (
            f"ONNX file against torch: largest logit difference {parity.max_difference:.2g} on "
            f"{parity.image_count} images"
        )
    yield from (f"{name}: {describe_session(found)}" for name, found in manifest.sessions.items())
    if manifest.image_set is not None:
        images = manifest.image_set
        yield f"Images: {images.image_count:,} in {images.form}; labels: {images.label_source}"
        yield from describe_images(images)
    if manifest.pixel_check.differing:
        yield "Pillow or libjpeg computes other pixels here than the verified ones."
    if gallery.note:
        yield gallery.note
    yield f"Status: {manifest.status}; started {manifest.started}; assay {manifest.assay_version}"


def _list_charts(manifest: Manifest, benchmark: Benchmark | None) -> Iterator[dict[str, str]]:
    if benchmark is None or not benchmark.rows:
        return
    rates, medians, tails = (dict[str, list[tuple[int, float, float, float]]]() for _ in range(3))
    for row in benchmark.rows:
        name = f"{row.engine} {row.precision}, {row.clock} clock"
        values, latency = row.images_per_second.values, row.latency_ms
        rates.setdefault(name, []).append(
            (row.batch_size, row.images_per_second.median, min(values), max(values))
        )
        medians.setdefault(f"p50, {name}", []).append((row.batch_size, latency.p50, latency.p50, latency.p50))
        tails.setdefault(f"p99, {name}", []).append((row.batch_size, latency.p99, latency.p99, latency.p99))
    published = manifest.model.published_throughput if manifest.model else ()
    for column in published:
        rates[f"{column.device}, published, {column.clock} clock"] = [
            (size, rate, rate, rate) for size, rate in sorted(column.images_per_second.items())
        ]
    for title, unit, lines in (
        ("Throughput by batch size", "images/s", rates),
        ("Latency of a call by batch size", "ms", medians | tails),
    ):
        series = [Series(name=name, points=sorted(points)) for name, points in lines.items()]
        yield {"title": title, "svg": draw_chart(title, unit, series)}


def _list_tables(
    manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None, gallery: Gallery
) -> Iterator[Table]:
    if metrics is not None and manifest.model is not None:
        yield make_accuracy_table(metrics.accuracy, manifest.model)
        if metrics.accuracy.failures:
            yield make_failure_table(metrics.accuracy)
    if benchmark is not None and benchmark.rows and manifest.model is not None:
        yield from make_throughput_tables(benchmark.rows, manifest.model)
        yield make_best_batch_table(benchmark.rows, manifest.model)
    if benchmark is not None:
        yield from make_benchmark_tables(benchmark)
    if gallery.confused:
        rows = tuple(
            (_name_class(pair.label, manifest), _name_class(pair.predicted, manifest), f"{pair.count:,}")
            for pair in gallery.confused
        )
        yield Table(title="Most confused pairs", header=("Label", "taken for", "Images"), rows=rows)
    if metrics is not None and metrics.per_class:
        yield _make_class_table(metrics.per_class, manifest)
    yield make_machine_table(manifest)
    yield make_hash_table(manifest)


def _make_class_table(classes: Sequence[ClassAccuracy], manifest: Manifest) -> Table:
    rows = tuple(
        (
            _name_class(one.label, manifest),
            f"{one.image_count:,}",
            f"{100 * one.top1_hits / one.image_count:.1f}",
            f"{100 * one.top5_hits / one.image_count:.1f}",
            f"{one.failed_count:,}",
        )
        for one in sorted(classes, key=lambda one: (one.top1_hits / one.image_count, one.label))
    )
    header = ("Class", "Images", "Top-1 %", "Top-5 %", "failed")
    return Table(title="Accuracy by class, the lowest first", header=header, rows=rows)


def _name_class(number: int, manifest: Manifest) -> str:
    """Return a class as its number, with its ImageNet synset where the classes are ImageNet's."""
    synsets = read_synsets()
    is_imagenet = manifest.model is not None and manifest.model.label_count == len(synsets)
    return f"{number} {synsets[number]}" if is_imagenet and 0 <= number < len(synsets) else f"{number}"


def _give_id(table: Table, number: int) -> dict[str, Any]:
    return {
        "id": f"table{number}",
        "title": table.title,
        "header": table.header,
        "rows": table.rows,
        "notes": table.notes,
        "is_text": table.is_text,
    }
