"""Readings of a machine that stands in files under a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from assay.measure.speed.machine_use import MachineUse, Reading, measure_machine_use, read_machine
from assay.processors import find_processor_quota


def make_reading(wall_s: float, busy_s: float | None, own_s: float, **more: object) -> Reading:
    return Reading(wall_s=wall_s, busy_s=busy_s, own_s=own_s, **more)  # type: ignore[arg-type]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_busy_time_is_of_the_own_processors_without_idle_and_iowait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1})
    monkeypatch.setattr(os, "sysconf", lambda _name: 100)
    # user nice system idle iowait irq softirq steal guest guest_nice
    write(
        tmp_path / "proc/stat",
        "cpu 9 9 9 9 9 9 9 9 9 9\ncpu0 7 7 7 7 7 7 7 7 7 7\ncpu1 100 20 30 4000 500 6 4 40 5 5\n",
    )
    assert read_machine(tmp_path).busy_s == 2.0


def test_the_counters_of_heat_and_frequency_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    cpu = tmp_path / "sys/devices/system/cpu"
    write(cpu / "cpu0/cpufreq/scaling_cur_freq", "2000000\n")
    write(cpu / "cpu0/thermal_throttle/core_throttle_count", "3\n")
    write(cpu / "cpu1/thermal_throttle/package_throttle_count", "4\n")
    found = read_machine(tmp_path)
    assert (found.frequencies_khz, found.throttle_count, found.busy_s) == ((2_000_000,), 7, None)


def test_use_by_others_leaves_out_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})
    pairs = [
        (make_reading(0, 10, 0), make_reading(10, 27, 15)),  # 2 s of others, of 20 s
        (make_reading(20, 50, 20), make_reading(30, 62, 30)),  # 2 s of 20 s
    ]
    assert measure_machine_use(pairs, tmp_path) == MachineUse(processors=2, others_percent=10.0)


def test_the_change_of_frequency_and_throttling_are_counted_between_repeats(tmp_path: Path) -> None:
    before = make_reading(0, None, 0, throttle_count=5)
    pairs = [
        (before, make_reading(1, None, 1, frequencies_khz=(3000, 3000), throttle_count=5)),
        (before, make_reading(2, None, 2, frequencies_khz=(2000, 2800), throttle_count=7)),
    ]
    found = measure_machine_use(pairs, tmp_path)
    assert (found.others_percent, found.throttle_count) == (None, 2)
    assert found.frequency_change_percent == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 0.5),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, None),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/box\n2:memory:/x",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000",
            },
            2.5,
        ),
        ({}, None),
    ],
)
def test_the_quota_is_read_from_both_kinds_of_control_groups(
    tmp_path: Path, files: dict[str, str], expected: float | None
) -> None:
    for name, text in files.items():
        write(tmp_path / name, text + "\n")
    assert find_processor_quota(tmp_path) == expected
