"""Whether answers depend on the batch size, in sentences and image by image; and the pipeline clock."""

from __future__ import annotations

from collections.abc import Iterator

from assay.measure.accuracy.answers import BatchAccuracy
from assay.measure.accuracy.comparison import Flip
from assay.report.named_run import NamedRun, name_class
from assay.report.tables.table import Table
from assay.report.tables.throughput import format_rate
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


def name_batch(batch: BatchAccuracy) -> str:
    """A batch size as a row of a table calls it."""
    if not batch.is_best:
        return f"{batch.batch_size}"
    return f"{batch.batch_size}, best" + ("" if batch.is_proven else " !")


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
    rows = []
    for name, speed in run.manifest.pipelines.items():
        calls = [
            row.images_per_second.median
            for row in (run.benchmark.rows if run.benchmark else ())
            if row.clock == "call"
            and row.batch_size == speed.batch_size
            and name.split(",")[0] == f"{row.engine} {row.precision}"
        ]
        rows.append(
            (
                name.split(",")[0],
                f"{speed.batch_size}",
                format_rate(speed.images_per_second),
                format_rate(max(calls)) if calls else "",
                f"{speed.image_count:,}",
                f"{speed.seconds:.1f}",
                "; ".join(speed.list_remarks()),
            )
        )
    if not rows:
        return None
    return Table(
        title="What a user waits for",
        header=("Model", "Batch", "pipeline images/s", "call images/s", "Images", "Seconds", "Remark"),
        rows=tuple(rows),
        notes=(
            "pipeline: encoded images in, predictions on disk out, once over the images of the run, the "
            "loading of the model left out; call: around the session alone. Two clocks: no ratio is given.",
            "short: under 3 s, of which filling and emptying the pipeline are much; not all: the run was "
            "resumed, stopped early, or computed in shares.",
        ),
    )
