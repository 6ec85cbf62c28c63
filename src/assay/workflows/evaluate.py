"""Compiled model and images to predictions and accuracy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.engines.base import CompiledModel, Session, read_compiled_json
from assay.engines.catalog import load_session
from assay.errors import UsageError
from assay.images.sources import ImageIndex
from assay.inference.pipeline import BatchListener, PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import (
    DEFAULT_SHARD_SIZE,
    compute_fingerprint,
    cut_shards,
    has_shard,
    read_shard,
    write_shard,
)
from assay.measure.accuracy import (
    compute_wilson_interval,
    count_topk_hits,
    measure_accuracy,
    measure_class_accuracy,
)
from assay.measure.agreement import measure_agreement
from assay.report.results_file import ImageSet, Metrics, write_result
from assay.workflows.listener import Listener, Progress
from assay.workflows.run_folder import PREDICTIONS_FOLDER, RunFolder

DEFAULT_BATCH_SIZE = 8
REFERENCE_BATCH_SIZE = 4  # torch's fastest on two processors, by half against 16


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How an evaluation runs.

    Args:
        batch_size: Images in one call; None means the compiled model's, else 8.
        shard_size: Images whose predictions share a file.
        keep_logits: Whether the predictions hold all logits.
    """

    batch_size: int | None = None
    shard_size: int = DEFAULT_SHARD_SIZE
    keep_logits: bool = False


def evaluate_model(
    compiled_dir: Path,
    index: ImageIndex,
    images_path: Path,
    run: RunFolder,
    options: EvaluateOptions,
    reference: Session | None = None,
) -> Metrics:
    """Predict every image, write the predictions and `metrics.json`, and return what that says.

    Shards that the run folder has already, with the same fingerprint, are not computed again.

    Args:
        compiled_dir: The compiled model.
        index: The images.
        images_path: Where they are, for the manifest.
        run: The run folder.
        options: Batch size, shard size, logits.
        reference: A session of the original network; where given, it predicts the same images, and the
            metrics say how far the compiled model agrees.

    Raises:
        UsageError: A shard size or batch size below 1, or a batch the model was not compiled for.
        BadModelError: The compiled model cannot be used.
        EngineError: The runtime failed.
    """
    compiled = read_compiled_json(compiled_dir)
    _check_options(options, compiled)
    _describe_in_manifest(run, compiled, index, images_path)
    predictions = _predict(compiled_dir, compiled, index, run, options)
    agreement = None
    if reference is not None:
        run.announce("Running the same images in torch")
        its = _predict_with_reference(reference, compiled, index, run)
        agreement = measure_agreement("torch", its, predictions)
    offset = compiled.model.output.label_offset
    metrics = Metrics(
        accuracy=measure_accuracy(predictions, offset),
        agreement=agreement,
        per_class=measure_class_accuracy(predictions, offset),
    )
    write_result(run.path, metrics)
    return metrics


def _check_options(options: EvaluateOptions, compiled: CompiledModel) -> None:
    if options.shard_size < 1:
        raise UsageError(f"--shard-size is {options.shard_size}; expected 1 or more")
    if options.batch_size is None:
        return
    if options.batch_size < 1:
        raise UsageError(f"--batch-size is {options.batch_size}; expected 1 or more")
    if compiled.batch_size is not None and options.batch_size > compiled.batch_size:
        raise UsageError(
            f"--batch-size is {options.batch_size}; the model was compiled for {compiled.batch_size}",
            hint="leave --batch-size out, or compile the model without it",
        )


def _describe_in_manifest(
    run: RunFolder, compiled: CompiledModel, index: ImageIndex, images_path: Path
) -> None:
    sha256 = hashlib.sha256()
    for image in index.images:
        line = f"{image.relative_path}\t{image.label}\t{image.size_bytes}\n"
        sha256.update(line.encode(errors="surrogateescape"))
    run.manifest.image_set = ImageSet(
        path=str(images_path),
        form=index.form,
        label_source=index.label_source,
        image_count=len(index.images),
        ignored_count=len(index.ignored),
        unlabelled_count=sum(image.label is None for image in index.images),
        sha256=sha256.hexdigest(),
    )
    run.describe_model(compiled)


def _predict(
    compiled_dir: Path, compiled: CompiledModel, index: ImageIndex, run: RunFolder, options: EvaluateOptions
) -> list[Prediction]:
    """Compute the shards that are missing, and return all predictions as they are on disk."""
    folder = run.path / PREDICTIONS_FOLDER
    record = compiled.model
    shards = cut_shards(index.images, options.shard_size)
    fingerprint = compute_fingerprint(
        [compiled.engine, compiled.device, compiled.precision, compiled.files],
        [record.input, record.preprocessing, run.manifest.pixel_check],
        [options.shard_size, options.keep_logits],
        index.images,
    )
    missing = [shard for shard in shards if not has_shard(folder / shard.file_name, fingerprint)]
    if len(missing) < len(shards):
        run.announce(f"{len(shards) - len(missing)} of {len(shards)} shards are there already")
    session = load_session(compiled_dir)
    try:
        pipeline = PipelineOptions(
            batch_size=options.batch_size or compiled.batch_size or DEFAULT_BATCH_SIZE,
            keep_logits=options.keep_logits,
        )
        total = sum(len(shard.images) for shard in missing)
        on_batch = _report_progress("Evaluating", total, record.output.label_offset, run)
        for shard, predictions in predict_shards(session, missing, record, pipeline, on_batch):
            path = folder / shard.file_name
            write_shard(path, predictions, fingerprint, keep_logits=options.keep_logits)
    finally:
        session.close()
    expected = {shard.file_name for shard in shards}
    for stale in [file for file in folder.iterdir() if file.name not in expected]:
        stale.unlink()  # of an earlier run in this folder, over more images
    return [row for shard in shards for row in read_shard(folder / shard.file_name)]


def _predict_with_reference(
    reference: Session, compiled: CompiledModel, index: ImageIndex, run: RunFolder
) -> list[Prediction]:
    shards = cut_shards(index.images, DEFAULT_SHARD_SIZE)
    options = PipelineOptions(batch_size=REFERENCE_BATCH_SIZE)
    offset = compiled.model.output.label_offset
    on_batch = _report_progress("Torch", len(index.images), offset, run)
    parts = predict_shards(reference, shards, compiled.model, options, on_batch)
    return [row for _, predictions in parts for row in predictions]


def _report_progress(task: str, total: int, label_offset: int, listener: Listener) -> BatchListener:
    """Return a listener that tells the images done and the running Top-1 with its interval."""
    done = hits = 0
    listener.advance(Progress(task=task, unit="images", done=0, total=total))

    def report(predictions: Sequence[Prediction]) -> None:
        nonlocal done, hits
        done += len(predictions)
        hits += count_topk_hits(predictions, label_offset)[0]
        low, high = compute_wilson_interval(hits, done)
        detail = f"Top-1 {100 * hits / done:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        listener.advance(Progress(task=task, unit="images", done=done, total=total, detail=detail))

    return report
