"""The ways of running a model that folders hold, and what each says of the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from assay.defaults import DEFAULT_SHARD_SIZE
from assay.engines.arrays import as_session_input
from assay.engines.cascade.record import CASCADE
from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.engine import Session
from assay.errors import BadModelError, EngineError, MissingRuntimeError
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import StoredPredictions, cut_shards, read_shard
from assay.measure.accuracy.accuracy import measure_accuracy
from assay.measure.agreement_matrix import RepeatedCall, RunningWay
from assay.measure.speed.repeats import tile_images
from assay.models.record import ModelRecord
from assay.runs.listener import Listener, Progress
from assay.runs.stored import StoredRun
from assay.workflows.evaluate.evaluate import DEFAULT_BATCH_SIZE

Answers = tuple[Prediction, ...]
Answered = tuple[RunningWay, Answers]


@dataclass(frozen=True, kw_only=True)
class AgreeSource:
    """A folder of a compiled model or of a finished run; one of the two is None."""

    path: Path
    compiled: CompiledModel | None
    run: StoredRun | None

    @property
    def record(self) -> ModelRecord:
        """The model record that it was compiled or run with."""
        if self.compiled is not None:
            return self.compiled.model
        assert self.run is not None
        return self.run.model


def open_source(path: Path) -> AgreeSource:
    """What a folder holds.

    Raises:
        BadModelError: A compiled model that cannot be used.
        UsageError: Neither a compiled model nor a finished run.
    """
    if (path / "compiled.json").is_file():
        return AgreeSource(path=path, compiled=read_compiled_json(path), run=None)
    return AgreeSource(path=path, compiled=None, run=StoredRun.open(path))


def read_run(run: StoredRun, paths: set[str] | None) -> Iterator[Answered]:
    """Yield what a finished run says at each of its batch sizes.

    Args:
        run: The run.
        paths: The images that are compared; None for all of the run.
    """
    keep, manifest = run.identity.keep_logits, run.manifest
    described = next(iter(manifest.sessions.values()), None)
    own: list[int | None] = [manifest.evaluated_batch_size]
    batches = [batch.batch_size for batch in run.metrics.batches] or own
    for number, size in enumerate(batches):
        stored = run.read_batch(size) if number and size else run.predictions
        rows = tuple(
            row for row in _read(stored, keep_logits=keep) if paths is None or row.relative_path in paths
        )
        way = RunningWay(
            name="",
            source=f"{run.path}",
            build=_hash([f"{run.path.resolve()}"]),
            is_stored=True,
            engine=manifest.engine,
            device=manifest.device,
            precision=manifest.precision,
            runtime=described.runtime if described else "",
            computed_in=described.computed_in if described else {},
            batch_size=size,
        )
        yield _describe_answers(way, rows, run.label_offset), rows


def _read(stored: StoredPredictions, *, keep_logits: bool) -> Iterator[Prediction]:
    for path in stored.paths:
        yield from read_shard(path, keep_logits=keep_logits)


@dataclass(frozen=True, kw_only=True)
class PredictTask:
    """The images that compiled models are run on; `keep_logits` says whether all logits are compared."""

    index: ImageIndex
    listener: Listener
    keep_logits: bool


def run_compiled(source: AgreeSource, batch_sizes: Sequence[int], task: PredictTask) -> Iterator[Answered]:
    """Yield what a compiled model says at each batch size; where it cannot be run, no answers, with why.

    Args:
        source: The compiled model.
        batch_sizes: Empty for the one that it was compiled for, else 8.
        task: The images.
    """
    compiled = source.compiled
    assert compiled is not None
    own = compiled.call_size or compiled.batch_size
    sizes = [own] if own in batch_sizes else batch_sizes  # one of several that were compiled for a size each
    for size in sizes or [own or DEFAULT_BATCH_SIZE]:
        way = RunningWay(
            name="",
            source=f"{source.path}",
            build=_identify_build(compiled),
            is_stored=False,
            engine=compiled.engine,
            device=compiled.device,
            precision=compiled.precision,
            batch_size=size,
        )
        if own is not None and size != own:
            yield msgspec.structs.replace(way, refusal=f"it was compiled for batches of {own}"), ()
            continue
        try:
            with closing(load_for_evaluation(source.path)) as session:
                yield _run_session(way, session, compiled.model, task)
        except (EngineError, MissingRuntimeError, BadModelError) as error:
            yield msgspec.structs.replace(way, refusal=error.message), ()


def _identify_build(compiled: CompiledModel) -> str:
    """What compiled models for other batch sizes have in common; of a cascade, its threshold too."""
    files = compiled.files if compiled.engine == CASCADE else compiled.source_files
    return _hash([compiled.engine, compiled.device, compiled.precision, *files.values()])


def _run_session(way: RunningWay, session: Session, record: ModelRecord, task: PredictTask) -> Answered:
    index, listener = task.index, task.listener
    size, total, done = way.batch_size or 1, len(index.images), 0
    listener.announce(f"Running {way.title}")

    def report(predictions: Sequence[Prediction]) -> None:
        nonlocal done
        done += len(predictions)
        listener.advance(Progress(task=way.title, unit="images", done=done, total=total))

    options = PipelineOptions(batch_size=size, keep_logits=task.keep_logits, reading=index.reading)
    shard_size = max(DEFAULT_SHARD_SIZE, size)
    stream = predict_shards(session, cut_shards(index.images, shard_size), record, options, report)
    rows = tuple(row for _, predictions in stream for row in predictions)
    whole, rest = divmod(total, shard_size)
    way = msgspec.structs.replace(
        way,
        runtime=session.description.runtime,
        computed_in=session.description.computed_in,
        full_call_count=whole * (shard_size // size) + rest // size,
        repeated=_call_twice(session, record, index, size),
    )
    return _describe_answers(way, rows, record.output.label_offset), rows


def _call_twice(session: Session, record: ModelRecord, index: ImageIndex, size: int) -> RepeatedCall:
    """Make one call of the first images twice, and compare every logit."""
    images = load_sample_images(record, index, size, lambda _: None)
    batch = as_session_input(tile_images(images, size), session, record)
    one, other = (session.run(batch).astype(np.float64) for _ in range(2))
    equal = np.array_equal(one, other, equal_nan=True)
    difference = 0.0 if equal else float(np.abs(one - other).max())
    return RepeatedCall(image_count=size, max_logit_difference=difference)


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()


def _describe_answers(way: RunningWay, rows: Answers, label_offset: int) -> RunningWay:
    """The way with how many images it answered, and how many of those with a label rightly."""
    labelled = [row for row in rows if row.label is not None]
    return msgspec.structs.replace(
        way,
        image_count=len(rows),
        failed_count=sum(not row.top_classes for row in rows),
        top1=measure_accuracy(labelled, label_offset).top1 if labelled else None,
    )
