"""Readings of the machine before and after a measurement: who used it, and whether it slowed down."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from assay.processors import find_processor_quota, list_processors

ROOT = Path("/")
# Of /proc/stat, in ticks: user nice system idle iowait irq softirq steal (proc(5)); guests are in user.
_IDLE_FIELDS = (3, 4)
_FIELD_COUNT = 8


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine's counters say at one moment; None and empty where it does not tell.

    `busy_s` is the time of the processors that this process may use, by whomever, a hypervisor's other
    guests among them; `own_s` is this process's and its ended children's own.
    """

    wall_s: float
    busy_s: float | None
    own_s: float
    frequencies_khz: tuple[int, ...] = ()
    throttle_count: int | None = None


class MachineUse(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the machine over the repeats of one batch size; None where it does not tell.

    `others_percent` is of the time of the processors that this process may use. The clock's frequency is
    read after each repeat; `frequency_change_percent` is between the highest and the lowest mean.
    `processor_quota` is how many processors the control group allows.
    """

    processors: int
    processor_quota: float | None = None
    others_percent: float | None = None
    frequency_change_percent: float | None = None
    throttle_count: int | None = None


def read_machine(root: Path = ROOT) -> Reading:
    """The counters now.

    Args:
        root: The folder that `proc` and `sys` are in.
    """
    times = os.times()
    processors = list_processors()
    folders = [root / f"sys/devices/system/cpu/cpu{number}" for number in sorted(processors)]
    frequencies = [_read_number(folder / "cpufreq/scaling_cur_freq") for folder in folders]
    throttled = [
        _read_number(folder / f"thermal_throttle/{kind}_throttle_count")
        for folder in folders
        for kind in ("core", "package")
    ]
    told = [count for count in throttled if count is not None]
    return Reading(
        wall_s=time.perf_counter(),
        busy_s=_read_busy_seconds(root / "proc/stat", processors),
        own_s=times.user + times.system + times.children_user + times.children_system,
        frequencies_khz=tuple(frequency for frequency in frequencies if frequency is not None),
        throttle_count=sum(told) if told else None,
    )


def _read_number(path: Path) -> int | None:
    """The number in a file of the kernel; None where it does not give one."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _read_busy_seconds(path: Path, processors: set[int]) -> float | None:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    wanted = {f"cpu{number}" for number in processors}
    ticks = [sum(_list_busy(line.split()[1:])) for line in lines if line.split(" ", 1)[0] in wanted]
    return sum(ticks) / os.sysconf("SC_CLK_TCK") if len(ticks) == len(wanted) else None


def _list_busy(fields: list[str]) -> Iterator[int]:
    return (int(ticks) for place, ticks in enumerate(fields[:_FIELD_COUNT]) if place not in _IDLE_FIELDS)


def measure_machine_use(readings: list[tuple[Reading, Reading]], root: Path = ROOT) -> MachineUse:
    """What happened on the machine between readings, each pair from before and after one repeat.

    Args:
        readings: At least one pair.
        root: As in `read_machine`.
    """
    processors = len(list_processors())
    return MachineUse(
        processors=processors,
        processor_quota=find_processor_quota(root),
        others_percent=_measure_others(readings, processors),
        frequency_change_percent=_measure_frequency_change([after for _, after in readings]),
        throttle_count=_count_throttling(readings),
    )


def _measure_others(readings: list[tuple[Reading, Reading]], processors: int) -> float | None:
    others_s = 0.0
    for before, after in readings:
        if before.busy_s is None or after.busy_s is None:
            return None
        others_s += (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    wall_s = sum(after.wall_s - before.wall_s for before, after in readings)
    return max(0.0, 100 * others_s / (processors * wall_s)) if wall_s > 0 else None


def _measure_frequency_change(readings: list[Reading]) -> float | None:
    means = [
        sum(each.frequencies_khz) / len(each.frequencies_khz) for each in readings if each.frequencies_khz
    ]
    return 100 * (max(means) - min(means)) / max(means) if means and max(means) > 0 else None


def _count_throttling(readings: list[tuple[Reading, Reading]]) -> int | None:
    counts = [
        after.throttle_count - before.throttle_count
        for before, after in readings
        if before.throttle_count is not None and after.throttle_count is not None
    ]
    return sum(counts) if counts else None
