"""Images through a compiled model to the shards of a run that are missing."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from assay.engines.engine import Session
from assay.errors import EngineError, SourceError, UsageError
from assay.inference.pipeline import BatchListener, PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import MISSING, Shard, find_fault, write_shard
from assay.measure.accuracy.accuracy import compute_wilson_interval, count_topk_hits
from assay.measure.speed.pipeline_speed import PipelineSpeed
from assay.models.record import ModelRecord
from assay.runs.folder import RunFolder
from assay.runs.listener import Listener, Progress, announce_wait

MAX_FAILED_SHARDS = 3
ShardError = EngineError | SourceError
"""What fails a shard, and leaves the others to be computed."""
Item = TypeVar("Item")
ShardListener = Callable[[Shard, Sequence[Prediction]], bool]
"""Called with every shard that is written; tells whether the rest need not be computed."""


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """What predicts the images of a run.

    Args:
        name: What it is called in the result, such as `openvino fp32` or `torch`.
        task: What its progress is called.
        record: Its model record.
        identity: All that decides its logits; anything that JSON holds.
        open_session: Gives a session of it, which the caller closes.
        folder: Of the run folder, for its shards.
        batch_size: Images in one call where nobody says otherwise.
        compiled_dir: The compiled model; None where it is none, which this process alone can run.
    """

    name: str
    task: str = "Evaluating"
    record: ModelRecord
    identity: object
    open_session: Callable[[], Session]
    folder: str
    batch_size: int
    compiled_dir: Path | None = None


@dataclass(frozen=True, kw_only=True)
class MissingShards:
    """Shards that are to be computed and written.

    Args:
        predictor: What predicts their images.
        shards: At least one, in order.
        fingerprint: Of the run.
        options: How images are streamed.
        run: The run folder, which hears how far it is.
    """

    predictor: Predictor
    shards: Sequence[Shard]
    fingerprint: str
    options: PipelineOptions
    run: RunFolder

    @property
    def folder(self) -> Path:
        """Where the shards go."""
        return self.run.path / self.predictor.folder

    @cached_property
    def image_count(self) -> int:
        """The images of all of them."""
        return sum(len(shard.images) for shard in self.shards)

    def check_form(self, flag: str) -> None:
        """Refuse images that other processes cannot read.

        Raises:
            UsageError: They are held in such a form.
        """
        try:
            pickle.dumps(self.shards[0])
        except (TypeError, pickle.PicklingError) as error:
            raise UsageError(
                f"{flag}: images in this form cannot be read by other processes: {error}",
                hint="unpack them into a folder, or use --shard I/N",
            ) from error


ComputeShards = Callable[[MissingShards], None]
"""Computes and writes shards; where some failed it raises a `ShardError`, the others are kept."""


def predict_missing_shards(
    predictor: Predictor,
    shards: Sequence[Shard],
    fingerprint: str,
    options: PipelineOptions,
    run: RunFolder,
    compute: ComputeShards,
) -> None:
    """Compute and write the shards that are missing, or this process's share of them; see `ComputeShards`."""
    missing = list_missing_shards(predictor, shards, fingerprint, run)
    if missing:
        compute(
            MissingShards(
                predictor=predictor, shards=missing, fingerprint=fingerprint, options=options, run=run
            )
        )


def compute_here(work: MissingShards, is_enough: ShardListener | None = None) -> None:
    """Compute shards in this process; see `ComputeShards`.

    Where the session dies in a shard, or the place that holds its images fails, that shard is left out with
    its cause, a new session is loaded and the next shards are computed. After three in a row, the rest is not
    tried.
    """
    predictor, run, missing = work.predictor, work.run, list(work.shards)
    on_batch = report_progress(predictor.task, work.image_count, predictor.record.output.label_offset, run)

    def keep(shard: Shard, predictions: Sequence[Prediction]) -> bool:
        keep_logits = work.options.keep_logits
        write_shard(work.folder / shard.file_name, predictions, work.fingerprint, keep_logits=keep_logits)
        return is_enough is not None and is_enough(shard, predictions)

    failed: dict[str, ShardError] = {}
    failed_in_a_row = 0
    while missing and failed_in_a_row < MAX_FAILED_SHARDS:
        missing_before = len(missing)
        error = _predict_until_error(predictor, missing, work.options, on_batch, keep, run)
        if error is not None:
            failed_in_a_row = failed_in_a_row + 1 if len(missing) == missing_before else 1
            shard = missing.pop(0)
            failed[shard.file_name] = error
            run.announce(f"{shard.file_name} failed: {error.message}")
    run.record_failed_shards(failed)
    if failed:
        raise summarise_failures(failed, len(missing))


def _predict_until_error(
    predictor: Predictor,
    missing: list[Shard],
    options: PipelineOptions,
    on_batch: BatchListener,
    keep: ShardListener,
    run: RunFolder,
) -> ShardError | None:
    """Compute shards by one session, and take each from `missing` as it is kept.

    Returns:
        What failed the shard that is the first of `missing` now; None where no more are wanted.
    """
    with announce_wait(run, f"loading {predictor.name}"):
        session = predictor.open_session()
    run.record_session(predictor.name, session.description)
    shards = tuple(missing)  # which is cut as they are done
    stream = predict_shards(session, shards, predictor.record, options, on_batch)
    timed_count, begin = 0, time.perf_counter()
    try:
        with closing(session), close_at_end(stream):
            for shard, predictions in stream:
                is_enough = keep(shard, predictions)
                timed_count += len(shard.images)
                seconds = time.perf_counter() - begin
                missing.remove(shard)
                if is_enough:
                    missing.clear()
                    break
    except (EngineError, SourceError) as error:
        return error
    if timed_count:
        images = run.manifest.image_set
        speed = PipelineSpeed(
            image_count=timed_count,
            whole_count=images.image_count if images else timed_count,
            seconds=seconds,
            batch_size=options.batch_size,
        )
        run.record_pipeline(predictor.name, speed)
    return None


@contextmanager
def close_at_end(stream: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Give a stream of predictions, and end its threads before its session is closed."""
    try:
        yield stream
    finally:
        if isinstance(stream, Generator):
            stream.close()


def list_missing_shards(
    predictor: Predictor, shards: Sequence[Shard], fingerprint: str, run: RunFolder
) -> list[Shard]:
    """List the shards that are this process's to compute and are not there with that fingerprint."""
    folder = run.path / predictor.folder
    own = [shard for shard in shards if run.share is None or run.share.holds(shard.number)]
    faults = [find_fault(folder / shard.file_name, fingerprint) for shard in own]
    missing = [shard for shard, fault in zip(own, faults, strict=True) if fault]
    for shard, fault in zip(own, faults, strict=True):
        if fault not in ("", MISSING):
            run.announce(f"Note: {shard.file_name} is {fault}: it is computed again")
    if len(missing) < len(own):
        run.announce(f"{len(own) - len(missing)} of {len(own)} shards are there already")
    return missing


def summarise_failures(failed: Mapping[str, ShardError], untried_count: int) -> ShardError:
    """Make the error that says how many shards failed, and why the first one did; of that one's kind."""
    name, error = next(iter(failed.items()))
    untried = f", {untried_count} were not tried" if untried_count else ""
    return type(error)(
        f"{len(failed)} shards failed{untried}; the others are kept. {name}: {error.message}",
        hint="--resume computes what is missing",
    )


def report_progress(
    task: str, total: int, label_offset: int, listener: Listener, *, is_random: bool = False
) -> BatchListener:
    """Make a listener that tells the images done and the Top-1 so far.

    Args:
        task: What is done, for the line of progress.
        total: How many images there are.
        label_offset: What the model's classes begin with.
        listener: Hears of it.
        is_random: Whether the images come in a random order, so that those so far are a sample of all.
    """
    done = hits = labelled = 0
    listener.advance(Progress(task=task, unit="images", done=0, total=total))

    def report(predictions: Sequence[Prediction]) -> None:
        nonlocal done, hits, labelled
        done += len(predictions)
        hits += count_topk_hits(predictions, label_offset)[0]
        labelled += sum(row.label is not None for row in predictions)
        detail = describe_running_top1(hits, done, is_random=is_random) if labelled else ""
        listener.advance(Progress(task=task, unit="images", done=done, total=total, detail=detail))

    return report


def describe_running_top1(hits: int, done: int, *, is_random: bool = False) -> str:
    """Describe the Top-1 of the images so far, with its 95 % interval only where they are a random sample.

    Images in the order of their classes say nothing about those to come.

    >>> describe_running_top1(45, 100)
    'Top-1 of these 45.0 %'
    >>> describe_running_top1(45, 100, is_random=True)
    'Top-1 45.0 % (35.6 to 54.8)'
    """
    if not is_random:
        return f"Top-1 of these {100 * hits / done:.1f} %"
    low, high = compute_wilson_interval(hits, done)
    return f"Top-1 {100 * hits / done:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
