"""Writes `report.md`: the run on one page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from assay.report.contents import Contents
from assay.report.named_run import Gallery, NamedRun
from assay.report.sentences import (
    describe_agreement,
    describe_calibration,
    describe_gates,
    describe_images,
    describe_paired,
    describe_real,
    describe_session,
    describe_topk,
)
from assay.report.tables.accuracy import make_accuracy_table, make_calibration_table, make_failure_table
from assay.report.tables.benchmark import make_benchmark_tables
from assay.report.tables.machine import make_hash_table, make_machine_table
from assay.report.tables.original_layout import make_layout_accuracy_table, make_layout_throughput_table
from assay.report.tables.runs import (
    make_class_table,
    make_confused_table,
    make_failed_images_table,
    make_picture_table,
)
from assay.report.tables.table import Table
from assay.report.tables.throughput import make_best_batch_table, make_throughput_tables
from assay.runs.results_file import Benchmark, Manifest, Metrics

NO_GALLERY = Gallery()


def render_report(
    manifest: Manifest, metrics: Metrics | None, benchmark: Benchmark | None, gallery: Gallery = NO_GALLERY
) -> str:
    """Return the report of a run as Markdown; parts that were not run are named as not run."""
    run = NamedRun(name="", manifest=manifest, metrics=metrics, benchmark=benchmark, gallery=gallery)
    return "\n".join(_render_lines(run)) + "\n"


def render_contents(contents: Contents) -> str:
    """Return a report of several runs as Markdown."""
    lines = [f"# {contents.title}", "", f"**{_escape(contents.verdict)}**", ""]
    if contents.remark:
        lines += [f"> **{_escape(contents.remark)}**", ""]
    for card in contents.cards:
        lines.append(f"- {_escape(card.name)}: {card.value} ({_escape('; '.join(card.details))})")
    lines += [*(f"- {_escape(line)}" for line in contents.lines), ""]
    for table in contents.tables:
        lines += render_table(table)
    for run in contents.runs:
        pictures = make_picture_table(run.gallery, "" if run is contents.runs[0] else contents.reference)
        if pictures is not None:
            lines += render_table(dataclasses.replace(pictures, title=f"{run.name}: {pictures.title}"))
    return "\n".join(lines) + "\n"


def _render_lines(run: NamedRun) -> Iterator[str]:
    manifest, metrics, benchmark = run.manifest, run.metrics, run.benchmark
    name = manifest.model.name if manifest.model else "unknown model"
    if manifest.model is None and not manifest.engine and benchmark is not None:
        yield "# Imported results"
    else:
        yield f"# {name} on {manifest.engine} ({manifest.device}, {manifest.precision})"
    yield ""
    if manifest.remark:
        yield f"> **{manifest.remark}**"
        yield ""
    yield from _render_summary(manifest, metrics)
    if metrics is not None and manifest.model is not None:
        yield from render_table(make_accuracy_table(metrics.accuracy, manifest.model))
        yield from render_table(make_layout_accuracy_table([run], manifest.model))
        if metrics.accuracy.failures:
            yield from render_table(make_failure_table(metrics.accuracy))
    else:
        yield from ("## Accuracy", "", "Not run.", "")
    if benchmark is not None and manifest.model is not None:
        for table in make_throughput_tables(benchmark.rows, manifest.model):
            yield from render_table(table)
        yield from render_table(make_best_batch_table(benchmark.rows, manifest.model))
        yield from _render_found(make_layout_throughput_table([run], manifest.model))
    elif benchmark is None:
        yield from ("## Throughput", "", "Not run.", "")
    if benchmark is not None:
        for table in make_benchmark_tables(benchmark):
            yield from render_table(table)
    yield from _render_details(run)
    yield from render_table(make_machine_table(manifest))
    yield from render_table(make_hash_table(manifest))


def _render_details(run: NamedRun) -> Iterator[str]:
    """Yield the tables on single images and classes."""
    metrics = run.metrics
    if metrics is None:
        return
    yield from _render_found(make_failed_images_table(run))
    if metrics.calibration_error is not None and metrics.calibration_error.ece is not None:
        yield from render_table(make_calibration_table(metrics.calibration_error))
    reference = metrics.agreement.reference if metrics.agreement else ""
    yield from _render_found(make_picture_table(run.gallery, reference))
    yield from _render_found(make_confused_table(run))
    yield from _render_found(make_class_table([run]))


def _render_found(table: Table | None) -> Iterator[str]:
    if table is not None:
        yield from render_table(table)


def _render_summary(manifest: Manifest, metrics: Metrics | None) -> Iterator[str]:
    yield from (f"- **{_escape(line)}**" for line in describe_gates(manifest.gates))
    if metrics is not None:
        yield f"- {describe_topk('Top-1', metrics.accuracy.top1, metrics.accuracy)}"
        yield f"- {describe_topk('Top-5', metrics.accuracy.top5, metrics.accuracy)}"
        if metrics.real is not None:
            yield from (f"- {line}" for line in describe_real(metrics.real))
        if metrics.agreement is not None:
            yield f"- {describe_agreement(metrics.agreement)}"
            yield from (f"- {line}" for line in describe_paired(metrics.agreement))
        yield f"- {_escape(describe_calibration(metrics.calibration_error))}"
    if manifest.logit_parity is not None:
        parity = manifest.logit_parity
        yield (
            f"- ONNX file against torch: largest logit difference {parity.max_difference:.2g}, same Top-1 on "
            f"{parity.top1_agreement_count} of {parity.image_count} images (opset {manifest.opset})"
        )
    yield from (f"- {name}: {describe_session(found)}" for name, found in manifest.sessions.items())
    if manifest.image_set is not None:
        images = manifest.image_set
        yield f"- Images: {images.image_count:,} in {images.form}; labels: {images.label_source}"
        yield from (f"- {_escape(line)}" for line in describe_images(images))
    if manifest.pixel_check.differing:
        yield "- **Pillow or libjpeg computes other pixels here than the verified ones: see below.**"
    yield f"- Status: {manifest.status}; started {manifest.started}"
    yield ""


def render_table(table: Table) -> Iterator[str]:
    """Yield the lines of a table under its title as a heading."""
    yield f"## {table.title}"
    yield ""
    yield _render_row(table.header)
    yield _render_row(("---",) * len(table.header))
    yield from (_render_row(row) for row in table.rows)
    yield ""
    for note in table.notes:
        yield f"- {note}"
    if table.notes:
        yield ""


def _render_row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(cell: str) -> str:
    """Return the text so that Markdown shows it as it is."""
    return re.sub(r"([\\|*<])", r"\\\1", cell.replace("\n", " "))
