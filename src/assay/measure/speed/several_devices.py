"""Several devices at once: what each then gives, and all together, beside what each gives alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from assay.engines.compiled_model import CompiledModel
from assay.measure.speed.machine_use import Reading, measure_machine_use
from assay.measure.speed.repeats import BatchTimes, Repeat
from assay.measure.speed.throughput import Spread
from assay.measure.speed.validity import Validity, judge_validity


class SeveralDevicesRow(msgspec.Struct, frozen=True, kw_only=True):
    """Images per second of one batch size on several devices, on the `call` clock.

    `alone` is of each device while the others wait, `at_once` while all compute; both by its name. In repeat
    r all of them began together, computed `image_counts[device][r]` images, and the last one was done after
    `seconds[r]`: `total` is all images over that time. `validity` is of `total`.
    """

    engine: str
    precision: str
    batch_size: int
    caller_count: int
    alone: dict[str, Spread]
    at_once: dict[str, Spread]
    image_counts: dict[str, tuple[int, ...]]
    seconds: tuple[float, ...]
    total: Spread
    validity: Validity

    @property
    def percent_of_sum(self) -> float:
        """What all give at once, of the sum of each alone; 100 where the machine limits nothing."""
        return 100 * self.total.median / self.alone_sum

    @property
    def alone_sum(self) -> float:
        """The sum of what each device gives alone."""
        return sum(each.median for each in self.alone.values())


def make_devices_row(
    compiled: CompiledModel,
    alone: Mapping[str, BatchTimes],
    at_once: Mapping[str, BatchTimes],
    batch_size: int,
) -> SeveralDevicesRow:
    """The row of what was measured of one batch size on each device, by its name, alone and at once."""
    counts = {name: tuple(_count_images(times, batch_size)) for name, times in at_once.items()}
    together = list(zip(*(times.repeats for times in at_once.values()), strict=True))
    readings = [_join_readings(repeats) for repeats in together]
    seconds = tuple(after.wall_s - before.wall_s for before, after in readings)
    rates = compute_total_rates(counts, seconds)
    first = next(iter(at_once.values()))
    warm_up_s = min(times.warm_up_s for times in at_once.values())
    return SeveralDevicesRow(
        engine=compiled.engine,
        precision=compiled.precision,
        batch_size=batch_size,
        caller_count=first.caller_count,
        alone={name: _spread(times.repeats) for name, times in alone.items()},
        at_once={name: _spread(times.repeats) for name, times in at_once.items()},
        image_counts=counts,
        seconds=seconds,
        total=Spread(median=statistics.median(rates), values=rates),
        validity=judge_validity(rates, warm_up_s, sum(seconds), measure_machine_use(readings)),
    )


def compute_total_rates(
    image_counts: Mapping[str, Sequence[int]], seconds: Sequence[float]
) -> tuple[float, ...]:
    """Images per second of all devices in each repeat."""
    return tuple(
        sum(counts) / max(duration, 1e-9)
        for counts, duration in zip(zip(*image_counts.values(), strict=True), seconds, strict=True)
    )


def _count_images(times: BatchTimes, batch_size: int) -> Iterator[int]:
    return (batch_size * len(repeat.call_ms) for repeat in times.repeats)


def _spread(repeats: Sequence[Repeat]) -> Spread:
    rates = tuple(repeat.images_per_second for repeat in repeats)
    return Spread(median=statistics.median(rates), values=rates)


def _join_readings(repeats: Sequence[Repeat]) -> tuple[Reading, Reading]:
    """The machine from when the first process began until the last one ended; all of theirs is own time."""
    befores, afters = zip(*(repeat.readings for repeat in repeats), strict=True)
    first = min(befores, key=lambda reading: reading.wall_s)
    last = max(afters, key=lambda reading: reading.wall_s)
    own_s = sum(after.own_s - before.own_s for before, after in zip(befores, afters, strict=True))
    return msgspec.structs.replace(first, own_s=0.0), msgspec.structs.replace(last, own_s=own_s)
