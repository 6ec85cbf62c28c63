"""Throughput and latency of a session for each batch size, on the `call` and the `device` clock."""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from assay.arrays import Images
from assay.engines.base import Session
from assay.measure.percentiles import compute_percentile, compute_percentile_interval

DEFAULT_BATCH_SIZES = (1, 4, 8, 16, 32, 64)
MIN_REPEATS = 5
OUTLIER_SHARE = 0.75
UNSTEADY_SHARE = 0.1
LONGEST = 3  # a repeat may take so many times as long as planned, when the machine has become slower


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """One figure measured several times: every value, in the order they were measured."""

    median: float
    values: tuple[float, ...]


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Nearest-rank percentiles of the time one call took.

    `intervals` has the 95 % interval of each, by its name, where there are enough calls for one.
    """

    p50: float
    p90: float
    p99: float
    intervals: dict[str, tuple[float, float]] = {}


class ThroughputRow(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one batch size is.

    `call_ms` holds every call's time on the row's clock, repeat by repeat; `warm_up_ms` those before the
    first repeat.
    `caller_count` threads called the session at once. `card_devices` is how many such devices the user says
    that one card has; the figures are of one.
    """

    engine: str
    device: str
    precision: str
    batch_size: int
    clock: Literal["device", "call", "pipeline"]
    caller_count: int
    images_per_second: Spread
    latency_ms: Latency
    warm_up_ms: tuple[float, ...]
    call_ms: tuple[tuple[float, ...], ...]
    card_devices: int = 1


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured, and for how long.

    Args:
        batch_sizes: Images in one call; each is measured.
        repeats: How often each batch size is measured, at least 5; the batch sizes take turns.
        seconds: How long one repeat lasts, about; it holds at least one call of every caller.
    """

    batch_sizes: tuple[int, ...] = DEFAULT_BATCH_SIZES
    repeats: int = MIN_REPEATS
    seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SessionName:
    """What the measured session is called in the result."""

    engine: str
    device: str
    precision: str
    card_devices: int = 1


def measure_throughput(
    session: Session,
    images: Images,
    options: BenchmarkOptions,
    name: SessionName,
    on_repeat: Callable[[int, float], None] = lambda _batch_size, _images_per_second: None,
) -> list[ThroughputRow]:
    """Return images per second and latency for every batch size.

    They are on the `call` clock; where the session tells the device's own time, a second row for the batch
    size is on the `device` clock.

    `session.concurrency` threads call `Session.run` one call after the other, all of them equally often, so
    that none is left running alone at the end; images per second are all images of a repeat over the time
    from its start to the end of its last call. The batch sizes take turns (1, 4, 8, …, 1, 4, 8, …), so that
    a slow spell of the machine meets all of them.

    Args:
        session: What is measured.
        images: float32 (N, 3, H, W), N at least 1; repeated where a batch needs more.
        options: Batch sizes, repeats, seconds.
        name: Goes into the rows.
        on_repeat: Called after each repeat with its batch size and images per second.

    Raises:
        ValueError: Fewer than 5 repeats, or a batch size below 1.
    """
    if options.repeats < MIN_REPEATS or min(options.batch_sizes) < 1:
        raise ValueError(f"expected at least {MIN_REPEATS} repeats and batch sizes from 1, found {options}")
    batches = {size: _tile_images(images, size) for size in options.batch_sizes}
    warm_ups = {size: _warm_up(session, batch, options.seconds) for size, batch in batches.items()}
    call_counts = {size: _count_calls(warm_ups[size], options.seconds) for size in batches}
    repeats: dict[int, list[_Repeat]] = {size: [] for size in batches}
    on_device: dict[int, list[_Repeat | None]] = {size: [] for size in batches}
    for _ in range(options.repeats):
        for size, batch in batches.items():
            session.take_device_ms()  # of calls before
            repeat = _run_repeat(session, batch, call_counts[size], LONGEST * options.seconds)
            repeats[size].append(repeat)
            image_count = size * len(repeat.call_ms)
            on_device[size].append(_time_on_device(image_count, session.take_device_ms()))
            on_repeat(size, repeat.images_per_second)
    rows = []
    for size in batches:
        rows.append(_make_row(session, name, size, repeats[size], warm_ups[size]))
        told = [repeat for repeat in on_device[size] if repeat is not None]
        if told:
            row = _make_row(session, name, size, told, ())
            rows.append(msgspec.structs.replace(row, clock="device"))
    return rows


@dataclass(frozen=True, kw_only=True)
class _Repeat:
    images_per_second: float
    call_ms: tuple[float, ...]


def _time_on_device(image_count: int, device_ms: tuple[float, ...]) -> _Repeat | None:
    """Return a repeat on the device's clock: its images over the time that the device says it computed."""
    if not device_ms:
        return None
    rate = 1000 * image_count / max(math.fsum(device_ms), 1e-6)
    return _Repeat(images_per_second=rate, call_ms=device_ms)


def _tile_images(images: Images, batch_size: int) -> Images:
    copies = math.ceil(batch_size / len(images))
    return np.ascontiguousarray(np.tile(images, (copies, 1, 1, 1))[:batch_size])  # (batch_size, 3, H, W)


def _warm_up(session: Session, batch: Images, seconds: float) -> tuple[float, ...]:
    """Run repeats of ever more calls, the first of one, until `seconds` are over; return the calls' times."""
    start = time.perf_counter()
    call_ms: list[float] = []
    call_count = 1
    while not call_ms or time.perf_counter() - start < seconds:
        call_ms += _run_repeat(session, batch, call_count, LONGEST * seconds).call_ms
        call_count *= 2
    return tuple(call_ms)


def _count_calls(warm_up_ms: tuple[float, ...], seconds: float) -> int:
    """Return how many calls of one caller take about `seconds`, at least 1."""
    return max(1, math.ceil(1000 * seconds / max(statistics.median(warm_up_ms), 1e-6)))


def _run_repeat(session: Session, batch: Images, call_count: int, longest_s: float = math.inf) -> _Repeat:
    """Let every caller call `call_count` times, all at once; none begins another after `longest_s`."""
    call_ms: list[float] = []
    errors: list[BaseException] = []

    def call_in_turn() -> None:
        try:
            for _ in range(call_count):
                begin = time.perf_counter()
                session.run(batch)
                call_ms.append(1000 * (time.perf_counter() - begin))
                if begin - start > longest_s:
                    return
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    callers = [threading.Thread(target=call_in_turn) for _ in range(session.concurrency)]
    start = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    elapsed = time.perf_counter() - start
    if errors:
        raise errors[0]
    return _Repeat(images_per_second=len(batch) * len(call_ms) / elapsed, call_ms=tuple(call_ms))


def _make_row(
    session: Session, name: SessionName, batch_size: int, repeats: list[_Repeat], warm_up: tuple[float, ...]
) -> ThroughputRow:
    rates = tuple(repeat.images_per_second for repeat in repeats)
    all_call_ms = [call_ms for repeat in repeats for call_ms in repeat.call_ms]
    return ThroughputRow(
        engine=name.engine,
        device=name.device,
        precision=name.precision,
        batch_size=batch_size,
        clock="call",
        caller_count=session.concurrency,
        images_per_second=Spread(median=statistics.median(rates), values=rates),
        latency_ms=measure_latency(all_call_ms),
        warm_up_ms=warm_up,
        call_ms=tuple(repeat.call_ms for repeat in repeats),
        card_devices=name.card_devices,
    )


def measure_latency(call_ms: Sequence[float]) -> Latency:
    """Return the percentiles of the calls' times, with their intervals; at least one call."""
    named = {f"p{percent}": compute_percentile_interval(call_ms, percent) for percent in (50, 90, 99)}
    return Latency(
        p50=compute_percentile(call_ms, 50),
        p90=compute_percentile(call_ms, 90),
        p99=compute_percentile(call_ms, 99),
        intervals={name: interval for name, interval in named.items() if interval is not None},
    )


def is_unsteady(images_per_second: Sequence[float]) -> bool:
    """Return whether the repeats of one batch size lie further apart than 10 % of their median.

    >>> is_unsteady([16.0, 16.2, 16.9]), is_unsteady([8.0, 16.2, 16.9])
    (False, True)
    """
    spread = max(images_per_second) - min(images_per_second)
    return spread > UNSTEADY_SHARE * statistics.median(images_per_second)


def find_outliers(images_per_second: Mapping[int, float]) -> list[int]:
    """Return the batch sizes that are slower than three quarters of both their neighbours.

    Throughput rises with the batch size or levels off, so a dip between two faster neighbours is more
    likely a fault of the measurement or of the compiler than the chip's speed.

    >>> find_outliers({16: 1396.36, 32: 600.3, 64: 1198.41})
    [32]
    """
    sizes = sorted(images_per_second)
    return [
        size
        for before, size, after in zip(sizes, sizes[1:], sizes[2:], strict=False)
        if images_per_second[size] < OUTLIER_SHARE * min(images_per_second[before], images_per_second[after])
    ]
