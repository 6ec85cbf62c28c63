"""Streams images through a session: decoding goes on ahead in threads while the session runs."""

from __future__ import annotations

import math
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from assay.ahead import map_ahead
from assay.arrays import Batch, Logits
from assay.engines.arrays import describe_row
from assay.engines.engine import ChoosingSession, Session
from assay.images.listing import DEFAULT_READ_OPTIONS, ReadOptions
from assay.images.prepare import preprocess_into
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.read import Patience
from assay.inference.predictions import Prediction, make_predictions
from assay.inference.shards import Shard
from assay.models.record import ModelRecord
from assay.processors import count_processors

MAX_BYTES_AHEAD = 512 * 2**20

HandedOn = NDArray[np.bool_]
BatchListener = Callable[[Sequence[Prediction]], None]
"""Called with every batch's predictions as they come."""
BeginDecoding = Callable[..., Future[PreprocessedImage]]
"""Given a source and `out`, a row of the batch, begins to decode the one into the other."""


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """How images are streamed.

    Args:
        batch_size: Images in one call of the session, at least 1.
        keep_logits: Whether predictions carry all their logits.
        subset: Classes among which the images are ranked besides, sorted; may be empty.
        decode_threads: Threads that read, decode and preprocess, at least 1.
        reading: How images are read.
        pauses_s: Seconds before each further try where the source of an image fails.
    """

    batch_size: int
    keep_logits: bool = False
    subset: tuple[int, ...] = ()
    decode_threads: int = 0
    reading: ReadOptions = DEFAULT_READ_OPTIONS
    pauses_s: Sequence[float] = field(default_factory=lambda: Patience().pauses_s)

    def count_decode_threads(self) -> int:
        """Count the threads: those asked for, else as many as processors may be used."""
        return self.decode_threads or count_processors()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    """A stretch of one shard that is being decoded into `rows`; `is_last` tells that it ends the shard."""

    shard: Shard
    decoding: list[Future[PreprocessedImage]]
    rows: Batch
    is_last: bool


_Answered = tuple[_Batch, list[PreprocessedImage], Logits, HandedOn | None]


def predict_shards(
    session: Session,
    shards: Iterable[Shard],
    record: ModelRecord,
    options: PipelineOptions,
    on_batch: BatchListener,
) -> Iterator[tuple[Shard, list[Prediction]]]:
    """Yield every shard with its predictions, one for each of its images and in their order.

    No batch reaches over the end of a shard, so a shard's predictions do not depend on which other
    shards are computed. Images are decoded into the rows of the batch that the session is given. Memory holds
    the batches that are decoded ahead, their rows used again and again, and one shard's predictions, however
    many shards.

    Raises:
        SourceError: The place that holds an image failed; the shard that it is of is the first not yielded.
        EngineError: The session failed; likewise.
    """
    spare = _SpareRows(session, record, options.batch_size)
    run = partial(_run_batch, session=session, class_count=record.output.class_count, spare=spare)
    with (
        _open_threads(options.count_decode_threads(), "decode") as decoders,
        _open_threads(session.concurrency, "session") as runners,
        Patience(pauses_s=options.pauses_s) as patience,
    ):
        decode = partial(preprocess_into, record=record, options=options.reading, patience=patience)
        batches = _begin_batches(shards, options.batch_size, partial(decoders.submit, decode), spare)
        ahead = _count_batches_ahead(session.concurrency, options, spare.size_bytes)
        predictions: list[Prediction] = []
        for batch, images, logits, handed_on in map_ahead(runners, run, batches, ahead):
            # ranked in this thread, while the session has the next batch
            batch_predictions = make_predictions(
                images,
                logits,
                keep_logits=options.keep_logits,
                subset=options.subset,
                handed_on=handed_on,
            )
            on_batch(batch_predictions)
            predictions += batch_predictions
            if batch.is_last:
                yield batch.shard, predictions
                predictions = []


class _SpareRows:
    """Arrays for batches as the session takes them: taken, given back, and made where none is spare.

    They are images, float32 (batch_size, 3, H, W), or pixels, uint8 (batch_size, H, W, 3). Fresh memory costs
    the kernel about as much as normalising the image that goes into it.
    """

    def __init__(self, session: Session, record: ModelRecord, batch_size: int) -> None:
        self._dtype, row_shape = describe_row(record, takes_pixels=session.description.takes_pixels)
        self._shape = (batch_size, *row_shape)
        self._spare: queue.SimpleQueue[Batch] = queue.SimpleQueue()

    @property
    def size_bytes(self) -> int:
        """Of one array."""
        return self._dtype.itemsize * math.prod(self._shape)

    def take(self) -> Batch:
        try:
            return self._spare.get_nowait()
        except queue.Empty:
            return np.empty(self._shape, dtype=self._dtype)

    def give_back(self, rows: Batch) -> None:
        self._spare.put(rows)


@contextmanager
def _open_threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """Give threads; what has not begun when the block ends is not begun any more."""
    threads = ThreadPoolExecutor(count, name)
    try:
        yield threads
    finally:
        threads.shutdown(cancel_futures=True)


def _count_batches_ahead(concurrency: int, options: PipelineOptions, batch_bytes: int) -> int:
    """Choose how many batches are under way at once: enough for the session and the decoders, within bounds.

    The session's own, as many that are being decoded meanwhile, and one that is ranked; with small batches,
    two images for each decoder at least. The bytes are bounded as long as the session has what it can take.
    """
    wanted = max(2 * concurrency + 1, math.ceil(2 * options.count_decode_threads() / options.batch_size))
    return min(wanted, max(concurrency + 1, MAX_BYTES_AHEAD // batch_bytes))


def _begin_batches(
    shards: Iterable[Shard], batch_size: int, decode: BeginDecoding, spare: _SpareRows
) -> Iterator[_Batch]:
    """Yield the shards' batches, each as its images are given to the decoders."""
    for shard in shards:
        images = tuple(shard.images)
        for start in range(0, len(images), batch_size):
            sources = images[start : start + batch_size]
            rows = spare.take()
            yield _Batch(
                shard=shard,
                decoding=[decode(source, out=row) for source, row in zip(sources, rows, strict=False)],
                rows=rows,
                is_last=start + len(sources) == len(images),
            )


def _run_batch(batch: _Batch, *, session: Session, class_count: int, spare: _SpareRows) -> _Answered:
    """Wait until the batch is decoded, and run it."""
    images = [decoding.result() for decoding in batch.decoding]
    decoded = [number for number, image in enumerate(images) if image.image is not None]
    if not decoded:
        logits, handed_on = np.empty((0, class_count), dtype=np.float32), None  # every image failed
    elif len(decoded) == len(images):
        logits, handed_on = _run(session, batch.rows[: len(images)])  # (N, classes)
    else:
        logits, handed_on = _run(session, batch.rows[decoded])  # (N, classes)
    spare.give_back(batch.rows)
    return batch, images, logits, handed_on


def _run(session: Session, rows: Batch) -> tuple[Logits, HandedOn | None]:
    """The logits, and which rows the exact model of a cascade answered; None without a cascade."""
    return session.run_choosing(rows) if isinstance(session, ChoosingSession) else (session.run(rows), None)
