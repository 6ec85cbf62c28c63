"""Streams images through a session: decoding goes on ahead in threads while the session runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from assay.engines.base import Session
from assay.images.batches import (
    PreprocessedImage,
    map_ahead,
    preprocess_image,
    stack_images,
)
from assay.images.listing import DEFAULT_READ_OPTIONS, ReadOptions
from assay.inference.predictions import Prediction, make_predictions
from assay.inference.shards import Shard
from assay.models.record import ModelRecord

BatchListener = Callable[[Sequence[Prediction]], None]
"""Called with every batch's predictions as they come."""


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """How images are streamed.

    Args:
        batch_size: Images in one call of the session, at least 1.
        keep_logits: Whether predictions carry all their logits.
        decode_threads: Threads that read, decode and preprocess, at least 1.
        reading: How images are read.
    """

    batch_size: int
    keep_logits: bool = False
    decode_threads: int = 0
    reading: ReadOptions = DEFAULT_READ_OPTIONS

    def count_decode_threads(self) -> int:
        """Return the threads asked for, else as many as there are processors."""
        return self.decode_threads or len(os.sched_getaffinity(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    """A stretch of one shard; `is_last` tells that the shard ends with it."""

    shard: Shard
    images: list[PreprocessedImage]
    is_last: bool


def predict_shards(
    session: Session,
    shards: Iterable[Shard],
    record: ModelRecord,
    options: PipelineOptions,
    on_batch: BatchListener,
) -> Iterator[tuple[Shard, list[Prediction]]]:
    """Yield every shard with its predictions, one for each of its images and in their order.

    No batch reaches over the end of a shard, so a shard's predictions do not depend on which other
    shards are computed. Memory holds a few batches and one shard's predictions, however many shards.
    """
    shards = list(shards)
    images = (image for shard in shards for image in shard.images)
    preprocess = partial(preprocess_image, record=record, options=options.reading)
    ahead = options.batch_size * (session.concurrency + 1)
    with (
        ThreadPoolExecutor(options.count_decode_threads(), "decode") as decoders,
        ThreadPoolExecutor(session.concurrency, "session") as runners,
    ):
        preprocessed = map_ahead(decoders, preprocess, images, ahead)
        batches = _cut_batches(shards, preprocessed, options.batch_size)
        run = partial(_run_batch, session=session, record=record, keep_logits=options.keep_logits)
        predictions: list[Prediction] = []
        for batch, batch_predictions in map_ahead(runners, run, batches, session.concurrency + 1):
            on_batch(batch_predictions)
            predictions += batch_predictions
            if batch.is_last:
                yield batch.shard, predictions
                predictions = []


def _cut_batches(
    shards: Iterable[Shard], preprocessed: Iterator[PreprocessedImage], batch_size: int
) -> Iterator[_Batch]:
    for shard in shards:
        remaining = len(shard.images)
        while remaining:
            size = min(batch_size, remaining)
            remaining -= size
            images = [next(preprocessed) for _ in range(size)]
            yield _Batch(shard=shard, images=images, is_last=not remaining)


def _run_batch(
    batch: _Batch, *, session: Session, record: ModelRecord, keep_logits: bool
) -> tuple[_Batch, list[Prediction]]:
    if any(row.image is not None for row in batch.images):
        logits = session.run(stack_images(batch.images))  # (N, classes)
    else:
        logits = np.empty((0, record.output.class_count), dtype=np.float32)  # every image failed
    return batch, make_predictions(batch.images, logits, keep_logits=keep_logits)
