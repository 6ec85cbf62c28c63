"""Ends the accuracy run as soon as every gate on accuracy is certain.

First a random sample is run by itself, and looked at after every block: a broken model is caught there,
whatever the order that the images lie in. Then the shards, after each of which a bound is looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from assay.errors import UsageError
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.images.sources import ImageIndex
from assay.images.subset import draw_order
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import Shard, cut_shards, has_shard, name_shard_file, read_shard, write_shard
from assay.measure.accuracy.accuracy import find_label_rank
from assay.measure.accuracy.sequential import rules_out_small_loss
from assay.measure.early_gates import EarlyStop, PassRange, Seen, find_pass_ranges
from assay.measure.gates import Gate, GateResult
from assay.runs.folder import RunFolder
from assay.runs.listener import announce_wait
from assay.runs.place import PREDICTIONS_FOLDER, SAMPLE_FOLDER
from assay.runs.results_file import ImageSet
from assay.workflows.evaluate.predict import (
    Predictor,
    close_at_end,
    compute_here,
    predict_missing_shards,
    report_progress,
)

MOST_SAMPLED = 2048
SAMPLED_SHARE = 10  # at most one in so many, since the sample's images are run again in their shards
BLOCK_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is predicted, by what.

    Args:
        predictor: The model.
        reference: What it is compared with, if anything.
        index: All images.
        image_set: What the manifest says of them.
        shards: The images in shards.
        fingerprint: Of the run.
        pipeline: How images are streamed.
    """

    predictor: Predictor
    reference: Predictor | None
    index: ImageIndex
    image_set: ImageSet
    shards: Sequence[Shard]
    fingerprint: str
    pipeline: PipelineOptions


class GateWatch:
    """The gates on accuracy of a run, and which of them are certain by now."""

    def __init__(self, gates: Sequence[Gate], error: float, work: Workload) -> None:
        images, record = work.image_set, work.predictor.record
        self.count = images.image_count
        self.label_offset = record.output.label_offset
        self.settled: dict[Gate, GateResult] = {}
        self.seen = Seen()
        self.lost = self.won = 0
        self._error = error
        self._by_sample: set[Gate] = set()
        self._shards: list[str] = []
        is_val = images.image_count == images.val_image_count == IMAGENET_VAL_COUNT
        ranges = {gate: find_pass_ranges(gate, record, self.count, is_val=is_val) for gate in gates}
        self._ranges = {gate: found for gate, found in ranges.items() if found}
        self._paired = [gate for gate in gates if gate.kind == "paired" and work.reference is not None]

    @property
    def gates(self) -> list[Gate]:
        """Those that can be certain early."""
        return [*self._ranges, *self._paired]

    @property
    def is_paired(self) -> bool:
        """Whether the reference must run the sample too."""
        return bool(self._paired)

    @property
    def is_certain(self) -> bool:
        """Whether all of them are certain."""
        return bool(self.gates) and all(gate in self.settled for gate in self.gates)

    def look_at_sample(self, rows: Sequence[Prediction], reference_rows: Sequence[Prediction]) -> bool:
        """Whether all are certain after more images of the random sample; only a fail can be."""
        self.seen = self.seen.add(rows, self.label_offset)
        for pair in zip(rows, reference_rows, strict=bool(reference_rows)):
            is_right, was_right = (find_label_rank(row, self.label_offset) == 0 for row in pair)
            self.won += is_right and not was_right
            self.lost += was_right and not is_right
        for gate, ranges in self._ranges.items():
            if all(each.is_ruled_out(self.seen, self._error) for each in ranges):
                self._settle(gate, ranges)
        for gate in self._paired:
            most = math.floor(gate.bound / 100 * self.count)
            drawn = self.seen.image_count
            if rules_out_small_loss(self.lost, self.won, drawn, most, self.count, self._error):
                self._settle_pair(gate)
        self._by_sample = set(self.settled)
        return self.is_certain

    def begin_shards(self) -> None:
        """Count anew: the shards hold the images of the sample too."""
        self.seen = Seen()

    def look_at_shard(self, shard: Shard, rows: Iterable[Prediction]) -> bool:
        """Whether all are certain after one more shard, whatever the other images say."""
        self.seen = self.seen.add(rows, self.label_offset)
        self._shards.append(shard.file_name)
        if self.seen.image_count == self.count:
            return False  # nothing is cut
        for gate, ranges in self._ranges.items():
            if gate in self.settled:
                continue
            if all(each.is_out_of_reach(self.seen) for each in ranges):
                self._settle(gate, ranges)
            elif any(each.is_reached(self.seen) for each in ranges):
                reason = f"{self._describe()}; whatever the others say"
                self.settled[gate] = GateResult(gate=str(gate), outcome="pass", reason=reason)
        return self.is_certain

    def describe_stop(self, *, by_sample: bool) -> EarlyStop:
        """How the run was cut."""
        return EarlyStop(
            image_count=self.seen.image_count,
            of_count=self.count,
            by="sample" if by_sample else "bound",
            error=self._error if self._by_sample else 0.0,
            gates=list(self.settled.values()),
            folder=SAMPLE_FOLDER if by_sample else PREDICTIONS_FOLDER,
            shards=[name_shard_file(0)] if by_sample else sorted(self._shards),
        )

    def _settle(self, gate: Gate, ranges: Sequence[PassRange]) -> None:
        pairs = [(each.top1, each.top5) for each in ranges]
        needed = " or ".join("/".join(f"{low:,}-{high:,}" for low, high in pair) for pair in pairs)
        reason = f"{self._describe()}; needed of all {self.count:,}: {needed}"
        self.settled.setdefault(gate, GateResult(gate=str(gate), outcome="fail", reason=reason))

    def _settle_pair(self, gate: Gate) -> None:
        reason = (
            f"{self.lost:,} lost and {self.won:,} won in {self.seen.image_count:,} images, drawn at random"
        )
        self.settled.setdefault(gate, GateResult(gate=str(gate), outcome="fail", reason=reason))

    def _describe(self) -> str:
        seen = self.seen
        failed = f", {seen.failed:,} failed" if seen.failed else ""
        return f"Top-1/Top-5 {seen.top1:,}/{seen.top5:,} of {seen.image_count:,} images{failed}"


def check_stop(gates: Sequence[Gate], error: float | None) -> None:
    """Refuse what cannot end a run early; an error of None means that nothing shall.

    Raises:
        UsageError: No gate on accuracy, or an error outside 0 to 0.5.
    """
    if error is None:
        return
    if not 0 < error < 0.5:
        raise UsageError(f"--stop-error is {error:g}; expected above 0 and below 0.5, such as 0.001")
    if not any(gate.is_on_accuracy for gate in gates):
        raise UsageError("--stop-when-certain needs a gate on accuracy", hint="for example --gate published")


def predict_until_certain(
    work: Workload, gates: Sequence[Gate], error: float, run: RunFolder
) -> EarlyStop | None:
    """Compute the shards that are missing, and return how the run was cut; None where it was not.

    Args:
        work: What is predicted.
        gates: The run is cut when all of them on accuracy are certain.
        error: Chance at most, for each gate, that one which the whole run passes is failed; 0 to 0.5.
        run: The run folder.

    Raises:
        EngineError: As `predict_missing_shards`.
    """
    watch = GateWatch(gates, error, work)
    if not watch.gates:
        run.announce("Note: no gate on accuracy can be certain before the end")
    finished = _list_finished(work, run)
    stop = None
    if watch.gates and not finished and _run_sample(watch, work, run):
        stop = watch.describe_stop(by_sample=True)
    else:
        watch.begin_shards()
        for shard in finished:
            rows = read_shard(run.path / PREDICTIONS_FOLDER / shard.file_name)
            watch.look_at_shard(shard, rows)
        if not watch.is_certain:
            compute = partial(compute_here, is_enough=watch.look_at_shard)
            predict_missing_shards(work.predictor, work.shards, work.fingerprint, work.pipeline, run, compute)
        if watch.is_certain and watch.seen.image_count < watch.count:
            stop = watch.describe_stop(by_sample=False)
    if stop is not None:
        run.announce(f"Note: {stop.sentence}")
        run.record_early_stop(stop)
    return stop


def _list_finished(work: Workload, run: RunFolder) -> list[Shard]:
    folder = run.path / PREDICTIONS_FOLDER
    return [shard for shard in work.shards if has_shard(folder / shard.file_name, work.fingerprint)]


def _run_sample(watch: GateWatch, work: Workload, run: RunFolder) -> bool:
    """Run a random sample, and return whether it made every gate certain; its predictions are kept then."""
    images = work.index.images
    order = draw_order(images, min(MOST_SAMPLED, len(images) // SAMPLED_SHARE))
    predictors = [work.predictor]
    if work.reference is not None and watch.is_paired:
        predictors.append(work.reference)
    blocks = cut_shards(order, BLOCK_SIZE)
    kept: list[Prediction] = []
    with ExitStack() as stack:
        streams = []
        for predictor in predictors:
            with announce_wait(run, f"loading {predictor.name}"):
                session = predictor.open_session()
            stack.callback(session.close)
            run.record_session(predictor.name, session.description)
            task = f"Random sample by {predictor.name}"
            offset = predictor.record.output.label_offset
            on_batch = report_progress(task, len(order), offset, run, is_random=True)
            stream = predict_shards(session, blocks, predictor.record, work.pipeline, on_batch)
            streams.append(stack.enter_context(close_at_end(stream)))
        for found in zip(*streams, strict=True):
            rows = found[0][1]
            kept += rows
            if watch.look_at_sample(rows, found[1][1] if len(found) > 1 else ()):
                break
    if watch.is_certain:
        path = run.path / SAMPLE_FOLDER / name_shard_file(0)
        write_shard(path, kept, work.fingerprint, keep_logits=work.pipeline.keep_logits)
    return watch.is_certain
