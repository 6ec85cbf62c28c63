"""Images without labels through a compiled model to one file of predictions, resumable until it is whole."""

from __future__ import annotations

import collections
import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.errors import UsageError
from assay.files import refuse_same_file, write_in_place_of
from assay.images.classes import Classes, read_classes
from assay.images.forms.object_store import find_url
from assay.images.request import ImageRequest, index_unlabelled_images
from assay.inference.prediction_file import OK, Row, check_suffix, make_row, write_rows
from assay.inference.predictions import Prediction
from assay.inference.shards import read_shard
from assay.measure.accuracy.outputs import (
    OutputKind,
    OutputKindSearch,
    compute_probability,
    reconcile_outputs,
)
from assay.runs.folder import open_run_folder
from assay.runs.listener import SILENT, Listener
from assay.runs.place import Mode, RunPlace
from assay.runs.stored import PredictedRun
from assay.workflows.evaluate.evaluate import EvaluateOptions, check_evaluation, plan_run
from assay.workflows.evaluate.predict import ComputeShards, compute_here, predict_missing_shards

KEPT_TOGETHER = 128  # images; what a process that is killed loses at most
UNFINISHED = ".assay-unfinished"  # beside the file, while it is made


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """Which images are predicted, and where that is written.

    Args:
        images: The images; their labels are not looked at.
        output: The file to write; its suffix says the form.
        mode: What happens to a file, or to what is there of one.
        batch_size: Images in one call; None means the compiled model's, else 8.
        shard_size: Images whose predictions are kept together.
        compute_shards: What computes those that are missing: this process, or several devices.
    """

    images: ImageRequest
    output: Path
    mode: Mode = "new"
    batch_size: int | None = None
    shard_size: int = KEPT_TOGETHER
    compute_shards: ComputeShards = compute_here

    @property
    def unfinished(self) -> Path:
        """The run folder beside the file that holds its predictions until it is whole."""
        return self.output.with_name(f".{self.output.name}{UNFINISHED}")


@dataclass(frozen=True, kw_only=True)
class PredictedFile:
    """A file of predictions: how many images it is of, and how many of them failed, by reason.

    `outputs` says what the network's outputs are: scores have no probabilities.
    """

    path: Path
    image_count: int
    failures: dict[str, int]
    outputs: OutputKind


def predict_images(
    compiled_dir: Path, request: PredictRequest, listener: Listener = SILENT, arguments: Sequence[str] = ()
) -> PredictedFile:
    """Predict every image, and write the file, whole or not at all.

    What is predicted lies in shards in a hidden folder beside the file until that is whole, so a process that
    was killed loses one shard at most, and memory does not grow with the number of images.

    Args:
        compiled_dir: The compiled model.
        request: The images and the file.
        listener: Hears how far it is.
        arguments: The command as it was given, for the log.

    Raises:
        UsageError: No known suffix; the file, or what is there of it, is not to be touched; or it was of
            other images or another model.
        BadImagesError: No images.
        BadModelError: The compiled model cannot be used.
        EngineError: The runtime failed.
    """
    output = request.output
    check_output(request)
    refuse_same_file(output, compiled_dir, *request.images.inputs)
    options = EvaluateOptions(batch_size=request.batch_size, shard_size=request.shard_size)
    check_evaluation(options)
    compiled = read_compiled_json(compiled_dir)
    classes = read_classes(compiled.model)
    index = index_unlabelled_images(request.images, classes)
    place = RunPlace(path=request.unfinished, mode=request.mode, arguments=tuple(arguments))
    with open_run_folder(place, compiled.model.name, compiled.engine, listener) as run:
        work = plan_run(compiled_dir, index, run, options, None)
        predictor = dataclasses.replace(work.predictor, task="Predicting")
        predict_missing_shards(
            predictor, work.shards, work.fingerprint, work.pipeline, run, request.compute_shards
        )
        written = _write(output, PredictedRun.from_manifest(run.path, run.manifest), index.classes)
    shutil.rmtree(request.unfinished)
    return written


def check_output(request: PredictRequest) -> None:
    """Refuse, before any work, a file that cannot be written, or is not to be touched.

    Raises:
        UsageError: No known suffix, no file, or one that is there, whole or not, in a mode that keeps it.
    """
    output, mode, unfinished = request.output, request.mode, request.unfinished
    if url := find_url(output):
        raise UsageError(f"-o {url}: expected a file, found a URL", hint="write a file, and copy it there")
    check_suffix(output)
    if output.is_dir():
        raise UsageError(f"-o {output}: expected a file, found a folder")
    if mode == "new" and unfinished.exists():
        raise UsageError(
            f"-o {output}: its predictions were begun, and are not whole",
            hint="continue them with --resume, or begin again with --overwrite",
        )
    if output.exists() and not (mode == "overwrite" or unfinished.exists()):
        hint = "replace it with --overwrite" + (": it is whole" if mode == "resume" else "")
        raise UsageError(f"-o {output}: is there already", hint=hint)


def _write(output: Path, run: PredictedRun, classes: Classes) -> PredictedFile:
    """Write the file from the shards, which are read twice: all images decide what the outputs are."""
    search = OutputKindSearch()
    for row in run.predictions:
        if row.top_classes:
            search.add(row)
    outputs = reconcile_outputs(search.kind, run.model.output.scores)
    statuses: collections.Counter[str] = collections.Counter()

    def make_blocks() -> Iterator[list[Row]]:
        for path in run.predictions.paths:
            rows = [
                make_row(row, classes, run.label_offset, _compute_probabilities(row, outputs))
                for row in read_shard(path)
            ]
            statuses.update(str(row["status"]) for row in rows)
            yield rows

    with write_in_place_of(output) as temporary:
        write_rows(temporary, output.suffix, make_blocks())
    failures = {status: count for status, count in statuses.most_common() if status != OK}
    return PredictedFile(path=output, image_count=statuses.total(), failures=failures, outputs=outputs)


def _compute_probabilities(row: Prediction, outputs: OutputKind) -> list[float | None]:
    return [compute_probability(row, outputs, rank) for rank in range(len(row.top_classes))]
