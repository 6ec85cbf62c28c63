"""What a report says, whatever shows it: of one run, or of several with a column each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from assay.engines.cascade.record import CascadeRecord
from assay.measure.accuracy.accuracy import TopKAccuracy, describe_topk
from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.models.record import ModelRecord
from assay.report.cascade import describe_answers, describe_cascade, make_cascade_table
from assay.report.differences import list_differences
from assay.report.named_run import NamedRun, Picture
from assay.report.sentences import (
    describe_agreement,
    describe_calibration,
    describe_devices,
    describe_gates,
    describe_images,
    describe_paired,
    describe_real,
    describe_session,
    describe_shortfall,
    list_figures,
)
from assay.report.tables.accuracy import make_accuracy_table, make_calibration_table, make_failure_table
from assay.report.tables.batches import describe_batches, make_batch_table, make_pipeline_table
from assay.report.tables.benchmark import make_benchmark_tables
from assay.report.tables.machine import make_hash_table, make_machine_table
from assay.report.tables.original_layout import make_layout_accuracy_table, make_layout_throughput_table
from assay.report.tables.runs import (
    make_class_table,
    make_confused_table,
    make_failed_images_table,
    make_run_accuracy_table,
    make_runs_table,
)
from assay.report.tables.speed_overview import make_speed_overview
from assay.report.tables.table import Table
from assay.report.tables.throughput import (
    format_rate,
    make_best_batch_table,
    make_throughput_tables,
    show_rate,
)
from assay.report.verdicts import write_run_verdict, write_verdict_on


@dataclass(frozen=True, kw_only=True)
class Card:
    """A figure of the first screen, what stands under it, and a line that says the same as text."""

    name: str
    value: str
    details: tuple[str, ...]
    line: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All of a report but its charts.

    Args:
        title: Of the page.
        remark: What must be known before all else; mostly empty.
        differences: A line for each run after the first: what is not the same in it as in the first.
        verdict: What is known, what is not ruled out, and the speed.
        cards: The figures of the first screen.
        findings: What gates and comparisons say, a sentence each.
        notes: What must be known of the images and of the comparison.
        circumstances: How the models were made, what they ran on, how the run ended.
        not_run: Titles of what a single run left out.
        main_tables: Accuracy and throughput; they stand before the images.
        detail_tables: All others, in order.
        short_tables: Those of them that a terminal shows.
        runs: What they are of.
        reference: What images are compared with; empty where nothing is.
    """

    title: str
    remark: str
    differences: tuple[str, ...]
    verdict: str
    cards: tuple[Card, ...]
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    circumstances: tuple[str, ...]
    not_run: tuple[str, ...]
    main_tables: tuple[Table, ...]
    detail_tables: tuple[Table, ...]
    short_tables: tuple[Table, ...]
    runs: tuple[NamedRun, ...]
    reference: str

    @property
    def lines(self) -> tuple[str, ...]:
        """All sentences."""
        return self.findings + self.notes + self.circumstances

    @property
    def tables(self) -> tuple[Table, ...]:
        """All tables."""
        return self.main_tables + self.detail_tables

    @property
    def pictures(self) -> list[tuple[str, Picture]]:
        """The images to look at, each with the name of its run."""
        return [(run.name, picture) for run in self.runs for picture in run.gallery.pictures]


def gather_contents(runs: Sequence[NamedRun]) -> Contents:
    """What a report of these runs says; parts that were not run are left out.

    Args:
        runs: At least one; the first of several is what the others are compared with.
    """
    first = runs[0]
    alone = len(runs) == 1
    own = first.metrics.agreement if first.metrics else None
    return Contents(
        title=_choose_title(runs),
        remark="; ".join(dict.fromkeys(run.manifest.remark for run in runs if run.manifest.remark)),
        differences=tuple(_describe_differences(runs)),
        verdict=write_run_verdict(first) if alone else _write_verdicts(runs),
        cards=tuple(card for run in runs for card in _list_cards(run)),
        findings=_name_lines(runs, _list_findings),
        notes=_name_lines(runs, _list_notes),
        circumstances=_name_lines(runs, _list_circumstances),
        not_run=tuple(_list_not_run(first)) if alone else (),
        main_tables=tuple(_list_main_tables(runs)),
        detail_tables=tuple(_list_detail_tables(runs)),
        short_tables=tuple(_name_table(run, table) for run in runs for table in _list_short_tables(run)),
        runs=tuple(runs),
        reference=(own.reference if own else "") if alone else first.name,
    )


def _describe_differences(runs: Sequence[NamedRun]) -> Iterator[str]:
    for run in runs[1:]:
        found = list_differences(runs[0].manifest, run.manifest)
        if found:
            yield f"{run.name} differs from {runs[0].name} in {'; '.join(map(str, found))}"


def _choose_title(runs: Sequence[NamedRun]) -> str:
    manifest = runs[0].manifest
    name = manifest.model.name if manifest.model else "unknown model"
    if len(runs) > 1:
        return f"{name}: {len(runs)} runs"
    if manifest.model is None and runs[0].benchmark is not None:
        return "Imported results"
    return f"{name} on {manifest.engine} ({manifest.device}, {manifest.precision})"


def _list_not_run(run: NamedRun) -> Iterator[str]:
    if run.metrics is None:
        yield "Accuracy"
    if run.benchmark is None:
        yield "Throughput"


def _write_verdicts(runs: Sequence[NamedRun]) -> str:
    verdicts = [(run.name, write_verdict_on(run, runs[0])) for run in runs[1:]]
    named = [text if text.startswith(name) else f"{name}: {text}" for name, text in verdicts if text]
    return " ".join(named) or "The runs have no images in common."


def _list_cards(run: NamedRun) -> Iterator[Card]:
    start = f"{run.name}: " if run.name else ""
    if run.metrics is not None:
        for name, topk in list_figures(run.metrics):
            yield _name_card(describe_card(run, name, topk), start)
    if run.benchmark is not None and run.benchmark.rows:
        yield _name_card(describe_speed_card(find_best_row(run.benchmark.rows)), start)


def _name_card(card: Card, start: str) -> Card:
    return dataclasses.replace(card, name=f"{start}{card.name}", line=f"{start}{card.line}")


def describe_card(run: NamedRun, name: str, topk: TopKAccuracy) -> Card:
    """An accuracy of a run, beside its reference and what was published."""
    if run.metrics is None:
        raise ValueError("the run has no accuracy")
    accuracy = run.metrics.accuracy
    low, high = topk.interval_percent
    beside = [
        *(_describe_reference(run) if topk is accuracy.top1 else ()),
        *(
            _describe_published(name[:5], run.manifest.model)
            if topk in (accuracy.top1, accuracy.top5)
            else ()
        ),
    ]
    return Card(
        name=name,
        value=f"{topk.percent:.2f} %",
        details=(f"{topk.hits:,} of {accuracy.image_count:,}; 95 %: {low:.2f} to {high:.2f}", *beside),
        line="; ".join((describe_topk(name, topk, accuracy), *beside)),
    )


def describe_speed_card(best: ThroughputRow) -> Card:
    """The speed of a row of a benchmark, with what it was measured at."""
    values = best.images_per_second.values
    name, value = "Best throughput", f"{show_rate(best)} images/s"
    details = (
        f"batch {best.batch_size}, {best.precision}, {best.clock} clock",
        f"{format_rate(min(values))} to {format_rate(max(values))} over {len(values)} repeats",
    )
    invalid = f"INVALID, as all rows are: {best.invalid_reasons}"
    mark = "" if best.is_valid else " (INVALID, as all rows are: the notes of the speeds say why)"
    return Card(
        name=name,
        value=value,
        details=details if best.is_valid else (invalid, *details),
        line=f"{name}  {value}{mark}; {'; '.join(details)}",
    )


def _describe_reference(run: NamedRun) -> Iterator[str]:
    """Yield what the reference reaches on the labelled images of both."""
    found = run.metrics.agreement if run.metrics else None
    found = run.agreement or found
    if found is not None:
        paired = found.paired
        right = paired.both_count + paired.lost_count
        yield f"reference {found.reference}: {100 * right / paired.image_count:.2f} %"


def _describe_published(name: str, record: ModelRecord | None) -> Iterator[str]:
    """Yield the span of the published figures, which are over the 50,000 validation images."""
    published = record.published_accuracy if record else ()
    all_figures = (one.top1_percent if name == "Top-1" else one.top5_percent for one in published)
    figures = sorted(figure for figure in all_figures if figure is not None)
    if figures:
        span = f"{figures[0]:g}" if figures[0] == figures[-1] else f"{figures[0]:g} to {figures[-1]:g}"
        yield f"published, of 50,000: {span} %"


def _name_lines(runs: Sequence[NamedRun], describe: Callable[[NamedRun], Iterator[str]]) -> tuple[str, ...]:
    return tuple(f"{run.name}: {line}" if run.name else line for run in runs for line in describe(run))


def _list_findings(run: NamedRun) -> Iterator[str]:
    metrics = run.metrics
    own = metrics.agreement if metrics else None
    if metrics is not None:
        yield from describe_batches(metrics.batches)
    if agreement := run.agreement or own:
        yield describe_agreement(agreement)
        yield from describe_paired(agreement, run.name or "this run")
    if metrics is not None and isinstance(metrics.answered_by, dict):
        yield describe_answers(metrics.answered_by)
    if isinstance(run.manifest.cascade, CascadeRecord):
        yield from describe_cascade(run.manifest.cascade)
    if metrics is not None:
        yield from describe_real(metrics.real) if metrics.real else ()
        record = run.manifest.model
        yield describe_calibration(metrics.calibration_error, record.output.scores if record else None)
    yield from describe_gates(run.manifest.gates)


def _list_notes(run: NamedRun) -> Iterator[str]:
    if run.manifest.image_set is not None:
        yield from describe_images(run.manifest.image_set)
    if run.manifest.pixel_check.differing:
        yield "Pillow or libjpeg computes other pixels here than the verified ones."
    yield from run.notes
    if run.manifest.model is not None and run.metrics is not None:
        yield from describe_shortfall(run.metrics.accuracy, run.manifest.model)


def _list_circumstances(run: NamedRun) -> Iterator[str]:
    manifest, images, parity = run.manifest, run.manifest.image_set, run.manifest.logit_parity
    if parity is not None:
        yield (
            f"ONNX file against torch: largest logit difference {parity.max_difference:.2g}, same Top-1 on "
            f"{parity.top1_agreement_count} of {parity.image_count} images (opset {manifest.opset})"
        )
    yield from (f"{name}: {describe_session(found)}" for name, found in manifest.sessions.items())
    if manifest.devices:
        yield describe_devices(manifest.devices)
    if images is not None:
        yield f"Images: {images.image_count:,} in {images.form}; labels: {images.label_source}"
    yield f"Status: {manifest.status}; started {manifest.started}; assay {manifest.assay_version}"


def _list_main_tables(runs: Sequence[NamedRun]) -> Iterator[Table]:
    if len(runs) > 1:
        yield make_runs_table(runs)
        yield make_run_accuracy_table(runs)
    record = next((run.manifest.model for run in runs if run.manifest.model is not None), None)
    if record is not None:
        if any(run.metrics is not None for run in runs):
            yield make_layout_accuracy_table(runs, record)
        layout = make_layout_throughput_table(runs, record)
        if layout is not None:
            yield layout


def _list_detail_tables(runs: Sequence[NamedRun]) -> Iterator[Table]:
    for run in runs:
        yield from (_name_table(run, table) for table in _list_run_tables(run))
    classes = make_class_table(runs)
    if classes is not None:
        yield classes
    for run in runs:
        yield _name_table(run, make_machine_table(run.manifest))
        yield _name_table(run, make_hash_table(run.manifest))


def _list_run_tables(run: NamedRun) -> Iterator[Table]:
    metrics, benchmark, record = run.metrics, run.benchmark, run.manifest.model
    if metrics is not None and record is not None:
        yield make_accuracy_table(metrics, record)
    rows = benchmark.rows if benchmark is not None and record is not None else []
    yield from _list_figures_tables(run, make_throughput_tables(rows, record) if record else [])
    if rows and record is not None:
        yield make_best_batch_table(rows, record)
    for table in (make_batch_table(run), make_failed_images_table(run), make_confused_table(run)):
        yield from [table] if table else ()
    if metrics is not None and metrics.calibration_error and metrics.calibration_error.ece is not None:
        yield make_calibration_table(metrics.calibration_error)


def _list_short_tables(run: NamedRun) -> Iterator[Table]:
    """Yield what a terminal shows: all speeds in one table."""
    benchmark, record = run.benchmark, run.manifest.model
    rows = benchmark.rows if benchmark is not None and record is not None else []
    return _list_figures_tables(run, make_speed_overview(rows, record) if rows and record else [])


def _list_figures_tables(run: NamedRun, speeds: Sequence[Table]) -> Iterator[Table]:
    metrics, benchmark = run.metrics, run.benchmark
    if metrics is not None and metrics.accuracy.failures:
        yield make_failure_table(metrics.accuracy)
    if metrics is not None and isinstance(metrics.cascade, list):
        yield make_cascade_table(metrics.cascade)
    yield from speeds
    pipeline = make_pipeline_table(run)
    if pipeline is not None:
        yield pipeline
    if benchmark is not None:
        yield from make_benchmark_tables(benchmark)


def _name_table(run: NamedRun, table: Table) -> Table:
    return dataclasses.replace(table, title=f"{run.name}: {table.title}") if run.name else table
