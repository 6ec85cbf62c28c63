"""Whether answers depend on the batch size, in sentences and image by image; and the pipeline clock."""

from __future__ import annotations

from collections.abc import Iterator

from assay.measure.accuracy.answers import BatchAccuracy
from assay.measure.accuracy.comparison import Flip
from assay.measure.speed.throughput import find_best_row
from assay.report.named_run import NamedRun, name_class
from assay.report.tables.table import Table
from assay.report.tables.throughput import format_rate, mark, show_rate
from assay.runs.results_file import Manifest


def describe_batches(batches: tuple[BatchAccuracy, ...]) -> Iterator[str]:
    """Yield what the answers at each batch size are against those at the first, and what proves less."""
    for batch in batches:
        if batch.same is not None:
            first, same = batches[0].batch_size, batch.same
            low, high = same.interval_percent
            count = f"{same.same_top1_count:,} of {same.image_count:,}"
            verdict = "all answers are the same" if not same.differing else "answers differ"
            yield (
                f"Batch {batch.batch_size} against batch {first}: {verdict}: same Top-1 on {count} images "
                f"(exact 95 %: {low:.2f} to {high:.2f} %), same five classes on {same.same_top5_count:,}; "
                f"{_describe_difference(batch)}"
            )
            if same.failed_count:
                yield f"Batch {batch.batch_size}: {same.failed_count:,} failed images are no same answers"
        if batch.is_best and not batch.is_proven:
            yield f"Batch {batch.batch_size} is the fastest, but no row is VALID: no best batch is proven"
        if not batch.full_call_count:
            yield f"No call held {batch.batch_size} images, for there are fewer: this proves nothing of it"
    if len(batches) == 1 and batches[0].is_best:
        yield f"The best batch is {batches[0].batch_size}: both rows are one evaluation"


def _describe_difference(batch: BatchAccuracy) -> str:
    same = batch.same
    if same is None or same.max_logit_difference is None:
        return "no image was answered by both"
    of = "" if same.is_over_all_logits else " of the five likeliest"
    return f"largest logit difference{of} {same.max_logit_difference:.3g}"


def list_accuracies(batches: tuple[BatchAccuracy, ...]) -> Iterator[tuple[str, BatchAccuracy]]:
    """Yield the rows of a table, by what it calls them; the best batch has one beside the first's own."""
    for number, batch in enumerate(batches):
        if not number or not batch.is_best:
            yield f"{batch.batch_size}", batch
        if batch.is_best:
            yield f"best ({batch.batch_size})" + ("" if batch.is_proven else " !"), batch


def make_batch_table(run: NamedRun) -> Table | None:
    """Each image whose answer depends on the batch size; None where there is none."""
    batches = run.metrics.batches if run.metrics else ()
    rows = [
        (flip.relative_path, name_label(flip, run.manifest), f"{batch.batch_size}", *cells)
        for batch in batches
        if batch.same is not None
        for flip in batch.same.differing
        for cells in [show_flip(flip, run.manifest)]
    ]
    if not rows:
        return None
    first = batches[0].batch_size
    return Table(
        title="Images whose answer depends on the batch size",
        header=("Image", "Label", "Batch", f"At batch {first}", "At that batch"),
        rows=tuple(rows),
        is_text=True,
    )


def name_label(flip: Flip, manifest: Manifest) -> str:
    """The label of an image; nothing where it has none."""
    offset = manifest.model.output.label_offset if manifest.model else 0
    return "" if flip.label < 0 else name_class(flip.label + offset, manifest)


def show_flip(flip: Flip, manifest: Manifest) -> tuple[str, str]:
    """What both say of an image, each with its logit; why it failed where it did."""
    classes = (flip.reference_class, flip.candidate_class)
    one, other = (
        flip.failure if number is None else f"{name_class(number, manifest)} ({logit:.4g})"
        for number, logit in zip(classes, flip.logits, strict=True)
    )
    return one, other


def make_pipeline_table(run: NamedRun) -> Table | None:
    """Images per second from encoded images to predictions, beside the calls alone; None where not timed."""
    evaluated = [
        (
            name.split(",")[0],
            speed.batch_size,
            format_rate(speed.images_per_second),
            f"{speed.image_count:,}",
            "; ".join(("once", *speed.list_remarks())),
        )
        for name, speed in run.manifest.pipelines.items()
    ]
    repeated = [
        (
            f"{row.engine} {row.precision}",
            row.batch_size,
            f"{format_rate(row.images_per_second.median)}{mark(is_valid=row.is_valid)}",
            f"{row.image_count:,}",
            f"median of {len(row.images_per_second.values)}",
        )
        for row in (run.benchmark.pipelines if run.benchmark else ())
    ]
    rows = [
        (name, f"{size}", rate, _find_call(run, name, size), *rest)
        for name, size, rate, *rest in evaluated + repeated
    ]
    if not rows:
        return None
    return Table(
        title="What a user waits for",
        header=("Model", "Batch", "pipeline images/s", "call images/s", "Images", "Timed"),
        rows=tuple(rows),
        notes=tuple(_note_pipelines(run)),
    )


def _find_call(run: NamedRun, name: str, batch_size: int) -> str:
    """The calls alone at that batch size, their fastest row; empty where they were not measured."""
    rows = [
        row
        for row in (run.benchmark.rows if run.benchmark else ())
        if row.clock == "call" and (f"{row.engine} {row.precision}", row.batch_size) == (name, batch_size)
    ]
    return show_rate(find_best_row(rows)) if rows else ""


def _note_pipelines(run: NamedRun) -> Iterator[str]:
    yield (
        "pipeline: encoded images in, predictions out, the loading of the model left out; call: around the "
        "session alone. Two clocks: no ratio is given."
    )
    if run.manifest.pipelines:
        yield "once: over the images of the evaluation, predictions written to disk."
    remarks = {remark for speed in run.manifest.pipelines.values() for remark in speed.list_remarks()}
    if "short" in remarks:
        yield "short: under 3 s, much of it filling and emptying the pipeline."
    if remarks - {"short"}:
        yield "not all: the run was resumed, stopped early, or in shares."
    for row in run.benchmark.pipelines if run.benchmark else ():
        if not row.is_valid:
            yield f"INVALID (!), batch {row.batch_size}: {'; '.join(row.validity.reasons)}."
