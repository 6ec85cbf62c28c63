"""Calls of a session, timed: the warm-up, and repeats of each batch size in turn."""

from __future__ import annotations

import itertools
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from assay.arrays import Batch
from assay.defaults import MIN_REPEATS, REPEAT_SECONDS
from assay.engines.engine import ChoosingSession, Session
from assay.errors import UsageError
from assay.measure.speed.machine_use import Reading, read_machine

LONGEST = 3  # a repeat may take so many times as long as planned, when the machine has become slower
OnRepeat = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class RepeatPlan:
    """What is measured of a compiled model, and for how long.

    Args:
        batch_sizes: Images in one call; each is measured. Empty means the size that the model was compiled
            for, else 1, 4, 8, 16, 32 and 64.
        repeats: How often each batch size is measured, at least 5; the batch sizes take turns.
        seconds: How long one repeat lasts, about; it holds at least one call of every caller.
        callers: Threads that call the session at once; None means as many as it asks for. Those over that
            wait for their turn, and the wait counts as part of their calls.
        fresh_processes: Whether each repeat loads the model in a process of its own.
    """

    batch_sizes: tuple[int, ...] = ()
    repeats: int = MIN_REPEATS
    seconds: float = REPEAT_SECONDS
    callers: int | None = None
    fresh_processes: bool = False


def check_plan(plan: RepeatPlan) -> None:
    """Refuse a plan that cannot be carried out, or whose figures could not be trusted.

    Raises:
        UsageError: No time, fewer than 5 repeats, or a batch size or number of callers below 1.
    """
    if not 0 < plan.seconds < math.inf:
        raise UsageError(f"--seconds is {plan.seconds:g}; expected more than 0")
    if plan.repeats < MIN_REPEATS:
        raise UsageError(f"--repeats is {plan.repeats}; expected {MIN_REPEATS} or more")
    if min(plan.batch_sizes, default=1) < 1:
        raise UsageError(f"--batch-size is {min(plan.batch_sizes)}; expected 1 or more")
    if plan.callers is not None and plan.callers < 1:
        raise UsageError(f"--callers is {plan.callers}; expected 1 or more")


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
    plan: RepeatPlan,
    on_repeat: OnRepeat = lambda _batch_size, _images_per_second: None,
) -> dict[int, BatchTimes]:
    """The times of every batch size of the plan.

    `session.concurrency` threads, or as many as the plan says, call `Session.run` one call after the other,
    all of them equally often, so that none is left running alone at the end; images per second are all
    images of a repeat over the time from its start to the end of its last call. The batch sizes take turns
    (1, 4, 8, …, 1, 4, 8, …), so that a slow spell of the machine meets all of them.

    A cascade is given all images, one batch after the other; others are given the first ones again and again.

    Args:
        session: What is measured.
        images: As the session takes them, N at least 1; repeated where a batch needs more.
        plan: Batch sizes, at least one; repeats, seconds, callers.
        on_repeat: Called after each repeat with its batch size and images per second.

    Raises:
        ValueError: No batch size, or batch sizes, repeats or callers below 1.
    """
    if min(plan.repeats, plan.callers or 1, *(plan.batch_sizes or (0,))) < 1:
        raise ValueError(f"expected batch sizes, repeats and callers from 1, found {plan}")
    meter = RepeatMeter(session, images, plan)
    meter.warm_up()
    repeats: dict[int, list[Repeat]] = {size: [] for size in plan.batch_sizes}
    for _ in range(plan.repeats):
        for size, measured in repeats.items():
            measured.append(meter.measure(size))
            on_repeat(size, measured[-1].images_per_second)
    return {size: meter.describe(size, measured) for size, measured in repeats.items()}


class RepeatMeter:
    """Measures repeats of a session, one at a time.

    Args:
        session: What is measured.
        images: As the session takes them, N at least 1; repeated where a batch needs more.
        plan: Batch sizes, at least one; seconds, callers.
    """

    def __init__(self, session: Session, images: Batch, plan: RepeatPlan) -> None:
        self._session = session
        self._seconds = plan.seconds
        self._callers = _Callers(session, plan.callers or session.concurrency)
        rotates = isinstance(session, ChoosingSession)  # the speed of a cascade depends on the images
        self._batches = {size: _cut_batches(images, size, rotates=rotates) for size in plan.batch_sizes}
        self._warm_ups: dict[int, tuple[tuple[float, ...], float]] = {}

    def warm_up(self) -> None:
        """Run every batch size until it is warm; how long a call takes then decides how many a repeat has."""
        self._warm_ups = {
            size: _warm_up(self._callers, own, self._seconds) for size, own in self._batches.items()
        }

    def measure(self, size: int) -> Repeat:
        """One repeat of that batch size."""
        self._session.take_device_ms()  # of calls before
        call_count = _count_calls(self._warm_ups[size][0], self._seconds)
        repeat = self._callers.run_repeat(self._batches[size], call_count, LONGEST * self._seconds)
        return msgspec.structs.replace(repeat, device_ms=self._session.take_device_ms())

    def describe(self, size: int, repeats: Sequence[Repeat]) -> BatchTimes:
        """The repeats of a batch size since the last warm-up, with that."""
        warm_up_ms, warm_up_s = self._warm_ups[size]
        return BatchTimes(
            caller_count=self._callers.count,
            warm_up_ms=warm_up_ms,
            warm_up_s=warm_up_s,
            repeats=tuple(repeats),
        )


def join_times(processes: Sequence[Mapping[int, BatchTimes]]) -> dict[int, BatchTimes]:
    """The times of several processes for the same batch sizes as one; at least one process."""
    return {
        size: BatchTimes(
            caller_count=first.caller_count,
            warm_up_ms=tuple(call_ms for times in processes for call_ms in times[size].warm_up_ms),
            warm_up_s=min(times[size].warm_up_s for times in processes),
            repeats=tuple(repeat for times in processes for repeat in times[size].repeats),
        )
        for size, first in processes[0].items()
    }


def tile_images(images: Batch, batch_size: int) -> Batch:
    """A batch of that size, the images repeated where there are fewer; C-contiguous."""
    copies = math.ceil(batch_size / len(images))
    return np.ascontiguousarray(np.tile(images, (copies, 1, 1, 1))[:batch_size])  # (batch_size, …)


def _cut_batches(images: Batch, batch_size: int, *, rotates: bool) -> list[Batch]:
    """The batches that calls are made with in turn."""
    if not rotates:
        return [tile_images(images, batch_size)]
    count = math.ceil(len(images) / batch_size)
    whole = tile_images(images, count * batch_size)
    return [whole[start : start + batch_size] for start in range(0, len(whole), batch_size)]


def _warm_up(callers: _Callers, batches: Sequence[Batch], seconds: float) -> tuple[tuple[float, ...], float]:
    """Run repeats of ever more calls, the first of one, until `seconds` are over since that.

    The first may compile, capture or choose algorithms for the batch size, and says nothing of the others.

    Returns:
        The calls' times in ms, and how long all took in s.
    """
    begin = time.perf_counter()
    call_ms = list(callers.run_repeat(batches, 1, LONGEST * seconds).call_ms)
    start = time.perf_counter()
    call_count = 1
    while time.perf_counter() - start < seconds:
        call_ms += callers.run_repeat(batches, call_count, LONGEST * seconds).call_ms
        call_count *= 2
    return tuple(call_ms), time.perf_counter() - begin


def _count_calls(warm_up_ms: Sequence[float], seconds: float) -> int:
    """How many calls of one caller take about `seconds`, at least 1."""
    return max(1, math.ceil(1000 * seconds / max(statistics.median(warm_up_ms), 1e-6)))


class _Callers:
    """Threads that call a session at once."""

    def __init__(self, session: Session, count: int) -> None:
        self.count = count
        self._session = session
        self._turns: dict[int, Iterator[int]] = {}
        self._places = threading.Semaphore(session.concurrency) if count > session.concurrency else None

    def run_repeat(self, batches: Sequence[Batch], call_count: int, longest_s: float = math.inf) -> Repeat:
        """Let every caller call `call_count` times, all at once; none begins another after `longest_s`.

        The batches take turns, from where the repeat before ended.
        """
        turn = self._turns.setdefault(len(batches[0]), itertools.count())
        call_ms: list[float] = []
        errors: list[BaseException] = []

        def call_in_turn() -> None:
            try:
                for _ in range(call_count):
                    begin = time.perf_counter()
                    self._call(batches[next(turn) % len(batches)])
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
            images_per_second=len(batches[0]) * len(call_ms) / elapsed,
            call_ms=tuple(call_ms),
            readings=(before, read_machine()),
        )

    def _call(self, batch: Batch) -> None:
        if self._places is None:
            self._session.run(batch)
            return
        with self._places:
            self._session.run(batch)
