"""Calls of a session, timed: the warm-up, and repeats of each batch size in turn."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from assay.arrays import Batch
from assay.engines.engine import Session
from assay.measure.speed.machine_use import Reading, read_machine

DEFAULT_BATCH_SIZES = (1, 4, 8, 16, 32, 64)
MIN_REPEATS = 5
LONGEST = 3  # a repeat may take so many times as long as planned, when the machine has become slower
OnRepeat = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured, and for how long.

    Args:
        batch_sizes: Batch in one call; each is measured.
        repeats: How often each batch size is measured, at least 5; the batch sizes take turns.
        seconds: How long one repeat lasts, about; it holds at least one call of every caller.
        callers: Threads that call the session at once; None means as many as it asks for. Those over that
            wait for their turn, and the wait counts as part of their calls.
    """

    batch_sizes: tuple[int, ...] = DEFAULT_BATCH_SIZES
    repeats: int = MIN_REPEATS
    seconds: float = 1.0
    callers: int | None = None


class Repeat(msgspec.Struct, frozen=True, kw_only=True):
    """One repeat: its calls, on the `call` and the `device` clock, and the machine before and after."""

    images_per_second: float
    call_ms: tuple[float, ...]
    device_ms: tuple[float, ...] = ()
    readings: tuple[Reading, Reading]


class BatchTimes(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one batch size.

    `warm_up_s` is how long calls went on before the first repeat; the shortest, where each repeat had its
    own in a process of its own.
    """

    caller_count: int
    warm_up_ms: tuple[float, ...]
    warm_up_s: float
    repeats: tuple[Repeat, ...]


def measure_repeats(
    session: Session,
    images: Batch,
    options: BenchmarkOptions,
    on_repeat: OnRepeat = lambda _batch_size, _images_per_second: None,
) -> dict[int, BatchTimes]:
    """Return the times of every batch size; arguments as `measure_throughput`, but from one repeat.

    Raises:
        ValueError: No repeat, or no caller, or a batch size below 1.
    """
    if min(options.repeats, *options.batch_sizes, options.callers or 1) < 1:
        raise ValueError(f"expected repeats, batch sizes and callers from 1, found {options}")
    callers = _Callers(session, options.callers or session.concurrency)
    batches = {size: tile_images(images, size) for size in options.batch_sizes}
    warm_ups = {size: _warm_up(callers, batch, options.seconds) for size, batch in batches.items()}
    call_counts = {size: _count_calls(call_ms, options.seconds) for size, (call_ms, _) in warm_ups.items()}
    repeats: dict[int, list[Repeat]] = {size: [] for size in batches}
    for _ in range(options.repeats):
        for size, batch in batches.items():
            session.take_device_ms()  # of calls before
            repeat = callers.run_repeat(batch, call_counts[size], LONGEST * options.seconds)
            repeats[size].append(msgspec.structs.replace(repeat, device_ms=session.take_device_ms()))
            on_repeat(size, repeat.images_per_second)
    return {
        size: BatchTimes(
            caller_count=callers.count,
            warm_up_ms=warm_ups[size][0],
            warm_up_s=warm_ups[size][1],
            repeats=tuple(repeats[size]),
        )
        for size in batches
    }


def join_times(parts: Sequence[Mapping[int, BatchTimes]]) -> dict[int, BatchTimes]:
    """Return what several processes measured of the same batch sizes as one; at least one part."""
    return {
        size: BatchTimes(
            caller_count=first.caller_count,
            warm_up_ms=tuple(call_ms for part in parts for call_ms in part[size].warm_up_ms),
            warm_up_s=min(part[size].warm_up_s for part in parts),
            repeats=tuple(repeat for part in parts for repeat in part[size].repeats),
        )
        for size, first in parts[0].items()
    }


def tile_images(images: Batch, batch_size: int) -> Batch:
    """Return a batch of that size, the images repeated where there are fewer; C-contiguous."""
    copies = math.ceil(batch_size / len(images))
    return np.ascontiguousarray(np.tile(images, (copies, 1, 1, 1))[:batch_size])  # (batch_size, …)


def _warm_up(callers: _Callers, batch: Batch, seconds: float) -> tuple[tuple[float, ...], float]:
    """Run repeats of ever more calls, the first of one, until `seconds` are over.

    Returns:
        The calls' times in ms, and how long all took in s.
    """
    start = time.perf_counter()
    call_ms: list[float] = []
    call_count = 1
    while not call_ms or time.perf_counter() - start < seconds:
        call_ms += callers.run_repeat(batch, call_count, LONGEST * seconds).call_ms
        call_count *= 2
    return tuple(call_ms), time.perf_counter() - start


def _count_calls(warm_up_ms: Sequence[float], seconds: float) -> int:
    """Return how many calls of one caller take about `seconds`, at least 1."""
    return max(1, math.ceil(1000 * seconds / max(statistics.median(warm_up_ms), 1e-6)))


class _Callers:
    """Threads that call a session at once."""

    def __init__(self, session: Session, count: int) -> None:
        self.count = count
        self._session = session
        self._places = threading.Semaphore(session.concurrency) if count > session.concurrency else None

    def run_repeat(self, batch: Batch, call_count: int, longest_s: float = math.inf) -> Repeat:
        """Let every caller call `call_count` times, all at once; none begins another after `longest_s`."""
        call_ms: list[float] = []
        errors: list[BaseException] = []

        def call_in_turn() -> None:
            try:
                for _ in range(call_count):
                    begin = time.perf_counter()
                    self._call(batch)
                    call_ms.append(1000 * (time.perf_counter() - begin))
                    if begin - start > longest_s:
                        return
            except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
                errors.append(error)

        threads = [threading.Thread(target=call_in_turn) for _ in range(self.count)]
        before = read_machine()
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - start
        if errors:
            raise errors[0]
        return Repeat(
            images_per_second=len(batch) * len(call_ms) / elapsed,
            call_ms=tuple(call_ms),
            readings=(before, read_machine()),
        )

    def _call(self, batch: Batch) -> None:
        if self._places is None:
            self._session.run(batch)
            return
        with self._places:
            self._session.run(batch)
