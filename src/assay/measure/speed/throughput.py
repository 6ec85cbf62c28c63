"""Throughput and latency of a session for each batch size, on the `call` and the `device` clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from assay.arrays import Batch, Images
from assay.engines.arrays import as_session_input
from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import ChoosingSession, Session
from assay.measure.speed.loading import LoadCost, close_cost, load_timed
from assay.measure.speed.machine_use import MachineUse, Reading, measure_machine_use
from assay.measure.speed.percentiles import compute_percentile, compute_percentile_interval
from assay.measure.speed.repeats import BatchTimes, OnRepeat, Repeat, RepeatPlan, measure_repeats, tile_images
from assay.measure.speed.validity import Validity, judge_validity

OUTLIER_SHARE = 0.75
UNSTEADY_SHARE = 0.1


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


class HandedOn(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the images that a cascade was measured on its exact model answered."""

    count: int
    image_count: int

    @property
    def percent(self) -> float:
        """Of all of them."""
        return 100 * self.count / self.image_count


class ThroughputRow(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one batch size is.

    `call_ms` holds every call's time on the row's clock, repeat by repeat; `warm_up_ms` those before the
    first repeat.
    `caller_count` threads called the session at once. `card_devices` is how many such devices the user says
    that one card has; the figures are of one. `validity` is None where it was not judged.
    With `fresh_processes`, each repeat loaded the model in a process of its own. `handed_on` is there for a
    cascade alone: its speed depends on the images.
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
    validity: Validity | None = None
    fresh_processes: bool = False
    handed_on: HandedOn | msgspec.UnsetType = msgspec.UNSET

    @property
    def load_speeds(self) -> tuple[float, ...]:
        """Images per second of each load of the model: of every repeat, or the median where all share one."""
        rates = self.images_per_second
        return rates.values if self.fresh_processes else (rates.median,)

    @property
    def is_valid(self) -> bool:
        """Whether nothing is known against the row; one that was not judged has no reasons against it."""
        return self.validity is None or self.validity.is_valid

    @property
    def invalid_reasons(self) -> str:
        """Why the row is INVALID, in one line; empty where it is not."""
        return "" if self.is_valid or self.validity is None else "; ".join(self.validity.reasons)


class PipelineRow(msgspec.Struct, frozen=True, kw_only=True):
    """Images per second on the `pipeline` clock: encoded images in, predictions out; every repeat's.

    A repeat predicts `image_count` images, the same ones again where there are fewer.
    """

    engine: str
    device: str
    precision: str
    batch_size: int
    image_count: int
    images_per_second: Spread
    validity: Validity

    @property
    def is_valid(self) -> bool:
        """Whether nothing is known against the row."""
        return self.validity.is_valid


@dataclass(frozen=True, kw_only=True)
class SessionName:
    """What the measured session is called in the result."""

    engine: str
    device: str
    precision: str
    card_devices: int = 1
    fresh_processes: bool = False


class RepeatResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one process measured of a compiled model: the times by batch size, and what loading cost."""

    times: dict[int, BatchTimes]
    cost: LoadCost
    handed_on: HandedOn | msgspec.UnsetType = msgspec.UNSET


def measure_compiled(
    compiled_dir: Path, images: Images, plan: RepeatPlan, on_repeat: OnRepeat
) -> RepeatResult:
    """Load a compiled model in this process, and measure what the plan says.

    Args:
        compiled_dir: The compiled model.
        images: What it is measured on, float32 (N, 3, H, W).
        plan: Batch sizes, at least one; repeats, seconds, callers.
        on_repeat: Called after each repeat with its batch size and images per second.

    Raises:
        BadModelError: The compiled model cannot be used.
        EngineError: The runtime failed.
    """
    compiled = read_compiled_json(compiled_dir)
    first = tile_images(images, min(plan.batch_sizes))
    session, cost = load_timed(lambda: load_for_evaluation(compiled_dir), first, compiled)
    with closing(session):
        batch = as_session_input(images, session, compiled.model)
        times = measure_repeats(session, batch, plan, on_repeat)
        handed_on = _count_handed_on(session, batch, min(plan.batch_sizes))
    return RepeatResult(times=times, cost=close_cost(cost), handed_on=handed_on)


def _count_handed_on(session: Session, images: Batch, batch_size: int) -> HandedOn | msgspec.UnsetType:
    if not isinstance(session, ChoosingSession):
        return msgspec.UNSET
    starts = range(0, len(images), batch_size)
    count = sum(int(session.run_choosing(images[at : at + batch_size])[1].sum()) for at in starts)
    return HandedOn(count=count, image_count=len(images))


def make_throughput_rows(name: SessionName, measured: Mapping[int, BatchTimes]) -> list[ThroughputRow]:
    """The rows of what was measured, on the `call` clock and, where it is told, on the `device` clock.

    Args:
        name: Goes into the rows.
        measured: By batch size; at least two repeats of each.
    """
    rows = []
    for size, times in measured.items():
        machine = measure_machine_use(_list_readings(times))
        calls = [(repeat.images_per_second, repeat.call_ms) for repeat in times.repeats]
        rows.append(_make_row(name, size, times, calls, machine))
        told = [_time_on_device(size, repeat) for repeat in times.repeats if repeat.device_ms]
        if len(told) > 1:
            row = _make_row(name, size, times, told, machine)
            rows.append(msgspec.structs.replace(row, clock="device", warm_up_ms=()))
    return rows


def _time_on_device(batch_size: int, repeat: Repeat) -> tuple[float, tuple[float, ...]]:
    """A repeat's images over the time that the device says it computed, and its times of calls."""
    image_count = batch_size * len(repeat.call_ms)
    return 1000 * image_count / max(math.fsum(repeat.device_ms), 1e-6), repeat.device_ms


def _make_row(
    name: SessionName,
    batch_size: int,
    times: BatchTimes,
    repeats: list[tuple[float, tuple[float, ...]]],
    machine: MachineUse,
) -> ThroughputRow:
    """The row of repeats: the images per second of each, and the times of its calls in ms."""
    rates = tuple(rate for rate, _ in repeats)
    measured_s = sum(after.wall_s - before.wall_s for before, after in _list_readings(times))
    return ThroughputRow(
        engine=name.engine,
        device=name.device,
        precision=name.precision,
        batch_size=batch_size,
        clock="call",
        caller_count=times.caller_count,
        images_per_second=Spread(median=statistics.median(rates), values=rates),
        latency_ms=measure_latency([duration for _, call_ms in repeats for duration in call_ms]),
        warm_up_ms=times.warm_up_ms,
        call_ms=tuple(call_ms for _, call_ms in repeats),
        card_devices=name.card_devices,
        validity=judge_validity(rates, times.warm_up_s, measured_s, machine),
        fresh_processes=name.fresh_processes,
    )


def _list_readings(times: BatchTimes) -> list[tuple[Reading, Reading]]:
    return [repeat.readings for repeat in times.repeats]


def measure_latency(call_ms: Sequence[float]) -> Latency:
    """The percentiles of the calls' times, with their intervals; at least one call."""
    named = {f"p{percent}": compute_percentile_interval(call_ms, percent) for percent in (50, 90, 99)}
    return Latency(
        p50=compute_percentile(call_ms, 50),
        p90=compute_percentile(call_ms, 90),
        p99=compute_percentile(call_ms, 99),
        intervals={name: interval for name, interval in named.items() if interval is not None},
    )


def find_best_row(rows: Iterable[ThroughputRow]) -> ThroughputRow:
    """The fastest VALID row, or the fastest of all where none is VALID; at least one row."""
    return max(rows, key=lambda row: (row.is_valid, row.images_per_second.median))


def find_faster_invalid(rows: Iterable[ThroughputRow], best: ThroughputRow) -> ThroughputRow | None:
    """The fastest INVALID row that is faster than the best VALID one; None where there is none."""
    faster = [
        row
        for row in rows
        if not row.is_valid and row.images_per_second.median > best.images_per_second.median
    ]
    return max(faster, key=lambda row: row.images_per_second.median, default=None)


def is_unsteady(images_per_second: Sequence[float]) -> bool:
    """Whether the repeats of one batch size lie further apart than 10 % of their median.

    >>> is_unsteady([16.0, 16.2, 16.9]), is_unsteady([8.0, 16.2, 16.9])
    (False, True)
    """
    spread = max(images_per_second) - min(images_per_second)
    return spread > UNSTEADY_SHARE * statistics.median(images_per_second)


def find_outliers(images_per_second: Mapping[int, float]) -> list[int]:
    """The batch sizes that are slower than three quarters of both their neighbours.

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
