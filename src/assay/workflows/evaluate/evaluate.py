"""Compiled model and images to predictions and accuracy."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from assay.defaults import DEFAULT_SHARD_SIZE
from assay.engines.cascade.compose import list_engines
from assay.engines.cascade.record import CASCADE, read_cascade_json
from assay.engines.catalog import identify_outside, load_for_evaluation
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.saturation import clips_sums, note_saturation
from assay.errors import UsageError
from assay.files import escape_name
from assay.images.calibration import count_calibrated
from assay.images.classes import read_classes
from assay.images.real_labels import RealLabels
from assay.images.rows import count_unlabelled, count_val_images
from assay.images.sources import ImageIndex
from assay.inference.identity import (
    RunIdentity,
    add_arithmetic,
    add_class_subset,
    compute_fingerprint,
    identify_run,
)
from assay.inference.pipeline import PipelineOptions
from assay.inference.shards import cut_shards, hash_shards
from assay.measure.gates import Gate
from assay.models.record import ModelRecord
from assay.runs.folder import RunFolder
from assay.runs.place import BATCHES_FOLDER, PREDICTIONS_FOLDER, SAMPLE_FOLDER
from assay.runs.results_file import ImageSet, Metrics, write_result
from assay.runs.stored import PredictedRun
from assay.workflows.evaluate.batch_sizes import BatchEvaluation
from assay.workflows.evaluate.early_stop import Workload, check_stop, predict_until_certain
from assay.workflows.evaluate.finished import find_finished
from assay.workflows.evaluate.predict import ComputeShards, Predictor, compute_here, predict_missing_shards
from assay.workflows.results.metrics import compute_metrics

DEFAULT_BATCH_SIZE = 8


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How an evaluation runs.

    Args:
        batch_size: Images in one call; None means the compiled model's, else 8.
        shard_size: Images whose predictions share a file.
        keep_logits: Whether the predictions hold all logits.
        real_labels: ReaL labels to score by besides, if there are any.
        gates: What the run must show.
        stop_error: Ends the run as soon as every gate on accuracy is certain, with so much of a chance
            that one is failed which the whole run passes, 0 to 0.5; None means that all images are run.
        compute_shards: What computes the missing shards of compiled models: this process, several devices, or
            a cluster.
        batches: Several batch sizes at which all images are predicted, the first into the run's predictions;
            `batch_size` is that one's then.
        leaves_finished: Whether a run that was finished before, and is as it was, is not even scored again.
    """

    batch_size: int | None = None
    shard_size: int = DEFAULT_SHARD_SIZE
    keep_logits: bool = False
    real_labels: RealLabels | None = None
    gates: tuple[Gate, ...] = ()
    stop_error: float | None = None
    compute_shards: ComputeShards = compute_here
    batches: tuple[BatchEvaluation, ...] = ()
    leaves_finished: bool = False


def evaluate_model(
    compiled_dir: Path,
    index: ImageIndex,
    run: RunFolder,
    options: EvaluateOptions,
    reference: Predictor | None = None,
) -> Metrics | None:
    """Predict every image, write the predictions and `metrics.json`, and return what that says.

    Shards that the run folder has already are not computed again. A process that has a share of the run
    computes that; the last one writes the metrics, the others return None.

    Args:
        compiled_dir: The compiled model.
        index: The images.
        run: The run folder.
        options: Batch size, shard size, logits, gates.
        reference: Another form of the model, such as the original network; where given, it predicts the
            same images into shards of its own, and the metrics say how far the compiled model agrees.

    Raises:
        UsageError: A shard size or batch size below 1, a batch the model was not compiled for, or a run
            folder whose shards are of another model, other images, …
        BadModelError: The compiled model cannot be used.
        EngineError: The runtime failed.
    """
    work = plan_run(compiled_dir, index, run, options, reference)
    is_plain = not (reference or options.batches or options.real_labels or options.stop_error)
    if options.leaves_finished and is_plain and (metrics := find_finished(run, options.gates)):
        run.announce("The run was finished before, and nothing has changed since: it is left as it is")
        run.leave_as_it_was()
        return metrics
    shutil.rmtree(run.path / SAMPLE_FOLDER, ignore_errors=True)  # of a run that was cut, and goes on
    if options.stop_error is None:
        predict_missing_shards(
            work.predictor, work.shards, work.fingerprint, work.pipeline, run, options.compute_shards
        )
    else:
        stop = predict_until_certain(work, options.gates, options.stop_error, run)
        if stop is not None:
            metrics = compute_metrics(PredictedRun.from_manifest(run.path, run.manifest), options.real_labels)
            run.record_metrics(write_result(run.path, metrics))
            return metrics
    return _score_run(work, run, options)


def plan_run(
    compiled_dir: Path,
    index: ImageIndex,
    run: RunFolder,
    options: EvaluateOptions,
    reference: Predictor | None,
) -> Workload:
    """What is to be predicted, checked and written into the run's manifest."""
    compiled = read_compiled_json(compiled_dir)
    check_evaluation(options)
    _check_batch_size(options.batch_size, compiled)
    calibrated_count = _count_calibrated(compiled, index)
    notes = [*index.notes, *_note_calibration(calibrated_count), *note_saturation(compiled)]
    for note in notes:
        run.announce(f"Note: {note}")
    predictor = make_predictor(compiled_dir, compiled, PREDICTIONS_FOLDER)
    identity = add_arithmetic(_identify(predictor, index, run, options), clips_sums=clips_sums(compiled))
    if options.batches:
        identity = msgspec.structs.replace(identity, batch_size=options.batch_size)
    image_set = msgspec.structs.replace(
        _describe_images(index, compiled, identity, notes), calibrated_count=calibrated_count
    )
    batch_size = options.batch_size or predictor.batch_size
    run.claim_evaluation(identity, image_set, batch_size)
    run.record_model(compiled)
    if compiled.engine == CASCADE:
        run.record_cascade(read_cascade_json(compiled_dir))
    return Workload(
        predictor=predictor,
        reference=reference,
        index=index,
        image_set=image_set,
        shards=cut_shards(index.images, options.shard_size),
        fingerprint=compute_fingerprint(identity),
        pipeline=PipelineOptions(
            batch_size=batch_size,
            keep_logits=options.keep_logits,
            subset=_list_subset(index, compiled.model),
            reading=index.reading,
        ),
    )


def _score_run(work: Workload, run: RunFolder, options: EvaluateOptions) -> Metrics | None:
    """Write the metrics of a run whose own shards are computed; None where others compute the rest."""
    predicted = PredictedRun.from_manifest(run.path, run.manifest)
    if run.share is None:
        _delete_stale(run.path / PREDICTIONS_FOLDER, predicted.shards)
    elif missing := _list_of_others(run, predicted):
        run.announce(f"{len(missing)} of {len(work.shards)} shards are still to be computed by others")
        return None
    if work.reference is not None:
        predict_beside(work.reference, work.index, run, options)
    _predict_other_batches(work, run, options)
    with run.hold_manifest():
        reference = work.reference.name if work.reference else ""
        batches = [batch.choice for batch in options.batches]
        predictions_sha256 = hash_shards(predicted.predictions.paths)  # what is damaged later is not scored
        metrics = compute_metrics(predicted, options.real_labels, reference, batches)
        path = write_result(run.path, metrics)
        if run.share is not None:
            run.complete()
        else:
            run.record_metrics(path, predictions_sha256)
    return metrics


def _list_of_others(run: RunFolder, predicted: PredictedRun) -> list[str]:
    """The shards that are still to be computed by others; behind a URL, those that are there are fetched."""
    if run.remote is not None:
        run.remote.gather([f"{PREDICTIONS_FOLDER}/{name}" for name in predicted.shards])
    return predicted.list_missing()


def _predict_other_batches(work: Workload, run: RunFolder, options: EvaluateOptions) -> None:
    """Predict the same images at the batch sizes after the first, each into a folder of its own."""
    for batch in options.batches[1:]:
        size, compiled = batch.choice.batch_size, read_compiled_json(batch.compiled_dir)
        folder, task = f"{BATCHES_FOLDER}/{size}", f"Evaluating at batch {size}"
        predictor = make_predictor(batch.compiled_dir, compiled, folder, task=task)
        predictor = dataclasses.replace(
            predictor,
            name=f"{predictor.name}, batch {size}",
            identity=[predictor.identity, size, clips_sums(compiled)],
            batch_size=size,
        )
        predict_beside(predictor, work.index, run, options)
    if (run.path / BATCHES_FOLDER).is_dir():
        others = {f"{batch.choice.batch_size}" for batch in options.batches[1:]}
        for stale in [path for path in (run.path / BATCHES_FOLDER).iterdir() if path.name not in others]:
            shutil.rmtree(stale)  # of an earlier session, whose best batch was another


def make_predictor(
    compiled_dir: Path, compiled: CompiledModel, folder: str, *, task: str = "Evaluating"
) -> Predictor:
    """Predicts by a compiled model, into a folder of the run."""
    return Predictor(
        name=f"{compiled.engine} {compiled.precision}",
        task=task,
        record=compiled.model,
        identity=[
            compiled.engine,
            compiled.device.partition(":")[0],  # whichever of several
            compiled.precision,
            compiled.takes_pixels,
            compiled.files,
            *filter(None, [compiled.arithmetic, *map(identify_outside, list_engines(compiled))]),
        ],
        open_session=partial(load_for_evaluation, compiled_dir),
        folder=folder,
        batch_size=compiled.call_size or compiled.batch_size or DEFAULT_BATCH_SIZE,
        compiled_dir=compiled_dir,
    )


def predict_beside(predictor: Predictor, index: ImageIndex, run: RunFolder, options: EvaluateOptions) -> None:
    """Predict the images of a run by another model too, into a folder of its own.

    Raises:
        EngineError: As `predict_missing_shards`.
    """
    run.announce(f"Running the same images by {predictor.name}")
    fingerprint = compute_fingerprint(_identify(predictor, index, run, options))
    pipeline = PipelineOptions(
        batch_size=predictor.batch_size,
        keep_logits=options.keep_logits,
        subset=_list_subset(index, predictor.record),
        reading=index.reading,
    )
    shards = cut_shards(index.images, options.shard_size)
    compute = options.compute_shards if predictor.compiled_dir else compute_here
    predict_missing_shards(predictor, shards, fingerprint, pipeline, run, compute)
    _delete_stale(run.path / predictor.folder, [shard.file_name for shard in shards])


def _identify(
    predictor: Predictor, index: ImageIndex, run: RunFolder, options: EvaluateOptions
) -> RunIdentity:
    record = predictor.record
    identity = identify_run(
        predictor.identity,
        [record.input, record.preprocessing, run.manifest.pixel_check, index.reading],
        index.images,
        index.identity,
        shard_size=options.shard_size,
        keep_logits=options.keep_logits,
    )
    identity = msgspec.structs.replace(identity, limited_from=index.limited_from)
    return add_class_subset(identity, index.subset.labels if index.subset else ())


def _list_subset(index: ImageIndex, record: ModelRecord) -> tuple[int, ...]:
    """The network's outputs that are the classes of the subset, sorted; empty where there is none."""
    labels = index.subset.labels if index.subset else ()
    return tuple(label + record.output.label_offset for label in labels)


def _count_calibrated(compiled: CompiledModel, index: ImageIndex) -> int:
    """How many of the images the model was calibrated on."""
    if compiled.calibration is None:
        return 0
    return count_calibrated(index.images, compiled.calibration, index.reading)


def _note_calibration(count: int) -> list[str]:
    """A note where the model was calibrated on images that it is scored on."""
    return [f"the int8 model was calibrated on {count:,} of these images"] if count else []


def _describe_images(
    index: ImageIndex, compiled: CompiledModel, identity: RunIdentity, notes: Sequence[str]
) -> ImageSet:
    are_the_records = index.classes == read_classes(compiled.model)
    return ImageSet(
        path=str(index.path),
        form=index.form,
        label_source=index.label_source,
        label_kind=index.label_kind,
        class_names=() if are_the_records else index.classes.names,
        class_synsets=() if are_the_records else index.classes.synsets,
        class_subset=index.subset,
        image_count=len(index.images),
        ignored_count=len(index.ignored),
        unlabelled_count=count_unlabelled(index.images),
        val_image_count=count_val_images(index.images),
        limited_from=index.limited_from,
        sha256=identity.images,
        notes=tuple(map(escape_name, notes)),
    )


def _delete_stale(folder: Path, expected: Collection[str]) -> None:
    """Delete shards of an earlier run in this folder, over more images."""
    for stale in [file for file in folder.iterdir() if file.name not in expected]:
        stale.unlink()


def check_evaluation(options: EvaluateOptions) -> None:
    """Refuse, before any work, what no compiled model can be evaluated with.

    Raises:
        UsageError: A shard size or batch size below 1, what cannot end a run early, or a run that is to end
            early and is computed by a cluster.
    """
    if options.shard_size < 1:
        raise UsageError(f"--shard-size is {options.shard_size}; expected 1 or more")
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"--batch-size is {options.batch_size}; expected 1 or more")
    check_stop(options.gates, options.stop_error)
    if options.stop_error is not None and options.compute_shards is not compute_here:
        raise UsageError("--ray, --devices and --stop-when-certain exclude one another")


def _check_batch_size(batch_size: int | None, compiled: CompiledModel) -> None:
    """Refuse a batch that the model was not compiled for."""
    largest = compiled.call_size or compiled.batch_size
    if batch_size is not None and largest is not None and batch_size > largest:
        raise UsageError(
            f"--batch-size is {batch_size}; the model was compiled for {compiled.batch_size}",
            hint="leave --batch-size out, or compile the model without it",
        )
