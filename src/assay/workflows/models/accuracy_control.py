"""Accuracy control: the fewest layers kept in float so that an int8 model loses no more than allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from assay.convert.quantize import list_layers, read_float_onnx, read_onnx, return_to_float, write_onnx
from assay.defaults import DEFAULT_SHARD_SIZE
from assay.engines.engine import Session
from assay.errors import BadInputError, UsageError, shorten
from assay.files import decode_json, encode_json, write_file, write_in_place_of
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex
from assay.inference.identity import compute_fingerprint, identify_run
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import cut_shards
from assay.measure.accuracy.agreement import measure_agreement
from assay.measure.accuracy.paired import Trial
from assay.measure.accuracy.verdict import LossVerdict, Names, judge_loss
from assay.models.onnx_file import hash_onnx
from assay.models.record import ModelRecord
from assay.runs.listener import Listener, Progress
from assay.workflows.evaluate.evaluate import DEFAULT_BATCH_SIZE
from assay.workflows.models.draft import open_draft

RANKING_IMAGE_COUNT = 32


class TrialsFile(msgspec.Struct, kw_only=True):
    """`OUT.trials.json`: what was found so far; the search goes on from it.

    `errors` has for each layer the mean squared logit difference from the float model that is left when this
    layer alone computes in float.
    """

    schema_version: int = 1
    source_sha256: str
    quantized_sha256: str
    images_sha256: str
    image_count: int
    errors: dict[str, float] = {}
    trials: list[Trial] = []


@dataclass(frozen=True, kw_only=True)
class ControlledModel:
    """What accuracy control ended with.

    Args:
        float_layers: Which layers compute in float.
        trial: How it does.
        trials: All that were tried, by the number of layers in float.
        verdict: Whether it is proven to lose no more than allowed.
    """

    float_layers: tuple[str, ...]
    trial: Trial
    trials: tuple[Trial, ...]
    verdict: LossVerdict


@dataclass(frozen=True, kw_only=True)
class ControlRequest:
    """What accuracy control works on.

    Args:
        source: The float ONNX file.
        quantized: The int8 ONNX file made of it, which stays as it is.
        out_path: Where the best model so far is written, and beside it the trials.
        record: The model record.
        index: The images, with labels.
        max_drop: How many percentage points of Top-1 may be lost, paired, on these images.
    """

    source: Path
    quantized: Path
    out_path: Path
    record: ModelRecord
    index: ImageIndex
    max_drop: float


def control_accuracy(request: ControlRequest, listener: Listener) -> ControlledModel:
    """Write the int8 model with the fewest layers in float that loses no more than allowed.

    Layers are ranked by how much nearer the float model's logits come when that layer alone computes in
    float; then the smallest number of the first ones that is enough is searched for by doubling and halving,
    each trial on all images. `out_path` always holds the best so far, also where none is good enough. The
    search goes by the loss that is measured; the verdict says what its 95 % interval proves.

    Raises:
        UsageError: The allowed loss is negative or not a number.
        BadInputError: The trials of an earlier search cannot be read.
    """
    if not 0 <= request.max_drop < math.inf:
        raise UsageError(f"--max-drop is {request.max_drop}; expected 0 or more percentage points")
    search = _Search(request, listener)
    layers = search.rank_layers()
    # one layer stays in int8, or it would be no int8 model
    find_fewest(max(len(layers) - 1, 0), lambda count: search.meets(layers[:count]))
    best = search.find_best()
    search.write(layers[: best.float_layer_count])
    return ControlledModel(
        float_layers=tuple(layers[: best.float_layer_count]),
        trial=best,
        trials=tuple(sorted(search.file.trials, key=lambda trial: trial.float_layer_count)),
        verdict=judge_loss(best.paired, request.max_drop, Names(reference="fp32", candidate="int8")),
    )


def find_fewest(largest: int, is_enough: Callable[[int], bool]) -> int | None:
    """Return the smallest count, 0 to `largest`, that is enough, or None where none is.

    Doubling from 1, then halving what lies between: right where more is never worse, and where it is not,
    still a count that is enough with one below it, next to it, that is not.

    >>> find_fewest(100, lambda count: count >= 37), find_fewest(5, lambda count: False)
    (37, None)

    Args:
        largest: The largest count.
        is_enough: Tries a count.
    """
    too_few, count = -1, 0
    while not is_enough(count):
        if count == largest:
            return None
        too_few, count = count, min(max(1, 2 * count), largest)
    while count - too_few > 1:
        middle = (too_few + count) // 2
        if is_enough(middle):
            count = middle
        else:
            too_few = middle
    return count


class _Search:
    """Ranks layers and tries models; every finding is on disk before the next is looked for."""

    def __init__(self, request: ControlRequest, listener: Listener) -> None:
        self._request = request
        self._listener = listener
        self._source = read_float_onnx(request.source)
        self._quantized = read_onnx(request.quantized)
        self._path = request.out_path.with_suffix(".trials.json")
        self._reference: list[Prediction] | None = None
        fresh = TrialsFile(
            source_sha256=hash_onnx(request.source),
            quantized_sha256=hash_onnx(request.quantized),
            images_sha256=_hash_images(request),
            image_count=len(request.index.images),
        )
        self.file = _read_trials(self._path, fresh)

    def rank_layers(self) -> list[str]:
        """Return the quantised layers, first the one that brings the logits nearest to the float model's."""
        layers = [layer for layer in list_layers(self._source) if self._quantizes(layer)]
        missing = [layer for layer in layers if layer not in self.file.errors]
        if missing:
            self._listener.announce(f"Ranking {len(layers)} layers on {RANKING_IMAGE_COUNT} images")
            images = load_sample_images(
                self._request.record, self._request.index, RANKING_IMAGE_COUNT, self._listener.announce
            )
            expected = self._run_on(self._source, "fp32", lambda session: session.run(images))
        for number, layer in enumerate(missing, start=1):
            model = return_to_float(self._quantized, self._source, [layer])
            logits = self._run_on(model, "int8", lambda session: session.run(images))
            self.file.errors[layer] = float(np.mean((logits - expected) ** 2))
            self._save()
            self._listener.advance(
                Progress(task="Ranking", unit="layers", done=number, total=len(missing), detail=layer)
            )
        return sorted(layers, key=lambda layer: self.file.errors[layer])

    def meets(self, float_layers: Sequence[str]) -> bool:
        """Whether the model with these layers in float loses no more than allowed, on all images."""
        count = len(float_layers)
        trial = next((trial for trial in self.file.trials if trial.float_layer_count == count), None)
        if trial is None:
            trial = self._try(float_layers)
            self.file.trials.append(trial)
            self._save()
            if self.find_best() == trial:
                self.write(float_layers)
        return self._is_within(trial)

    def find_best(self) -> Trial:
        """Return the trial with the fewest layers in float that loses little enough; else the least loss."""
        within = [trial for trial in self.file.trials if self._is_within(trial)]
        if within:
            return min(within, key=lambda trial: trial.float_layer_count)
        return min(self.file.trials, key=lambda trial: (trial.drop_points, trial.float_layer_count))

    def write(self, float_layers: Sequence[str]) -> None:
        """Write the model with these layers in float, whole or not at all."""
        with write_in_place_of(self._request.out_path) as temporary:
            write_onnx(return_to_float(self._quantized, self._source, float_layers), temporary)

    def _quantizes(self, layer: str) -> bool:
        """Whether the int8 model has the layer, with an input that comes from a quantised tensor."""
        dequantized = {
            output
            for node in self._quantized.graph.node
            if node.op_type == "DequantizeLinear"
            for output in node.output
        }
        nodes = (node for node in self._quantized.graph.node if node.name == layer)
        return any(tensor in dequantized for node in nodes for tensor in node.input)

    def _is_within(self, trial: Trial) -> bool:
        return trial.drop_points <= self._request.max_drop + 1e-9

    def _try(self, float_layers: Sequence[str]) -> Trial:
        if self._reference is None:
            self._reference = self._run_on(self._source, "fp32", self._predict)
        model = return_to_float(self._quantized, self._source, float_layers)
        found = self._run_on(model, "int8", self._predict)
        offset = self._request.record.output.label_offset
        paired = measure_agreement("fp32", self._reference, found, offset).paired
        trial = Trial(float_layer_count=len(float_layers), paired=paired)
        low, high = paired.interval_points
        self._listener.announce(
            f"{len(float_layers)} layers in float: {paired.difference_points:+.2f} points of Top-1 "
            f"(95 %: {low:+.2f} to {high:+.2f}), {paired.lost_count} lost, {paired.won_count} won"
        )
        return trial

    def _predict(self, session: Session) -> list[Prediction]:
        index = self._request.index
        shards = cut_shards(index.images, DEFAULT_SHARD_SIZE)
        total, done = len(index.images), 0

        def report(predictions: Sequence[Prediction]) -> None:
            nonlocal done
            done += len(predictions)
            self._listener.advance(Progress(task="Trying", unit="images", done=done, total=total))

        options = PipelineOptions(batch_size=DEFAULT_BATCH_SIZE, reading=index.reading)
        parts = predict_shards(session, shards, self._request.record, options, report)
        return [row for _, predictions in parts for row in predictions]

    def _run_on(self, model: Any, precision: str, use: Callable[[Session], Any]) -> Any:
        """What `use` makes of a session of the model."""
        with open_draft(model, self._request.record, precision) as session:
            return use(session)

    def _save(self) -> None:
        write_file(self._path, encode_json(self.file))


def _hash_images(request: ControlRequest) -> str:
    """Return the sha256 of the images, their labels and their preprocessing."""
    record = request.record
    images = request.index.images
    identity = identify_run(
        None, record.preprocessing, images, request.index.identity, shard_size=0, keep_logits=False
    )
    return compute_fingerprint(identity)


def _read_trials(path: Path, fresh: TrialsFile) -> TrialsFile:
    """Return the trials at `path` where they are of the same models and images; else `fresh`."""
    if not path.is_file():
        return fresh
    try:
        stored = decode_json(path.read_bytes(), kind=TrialsFile)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInputError(
            f"{path} cannot be read: {shorten(error)}", hint="remove it to start again"
        ) from error
    same = ("source_sha256", "quantized_sha256", "images_sha256", "image_count")
    return stored if all(getattr(stored, name) == getattr(fresh, name) for name in same) else fresh
