"""Processors are counted as this process may use them, not as the machine has them."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from assay.processors import count_processors, find_processor_quota, sums_int8_exactly


@pytest.fixture
def many_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))


@pytest.mark.parametrize(("text", "expected"), [("max 100000", 64), ("150000 100000", 2), ("1000 100000", 1)])
@pytest.mark.usefixtures("many_processors")
def test_a_quota_of_cgroup_v2_bounds_them(tmp_path: Path, text: str, expected: int) -> None:
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text(text + "\n")
    assert count_processors(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 64), ("400000", 4)])
@pytest.mark.usefixtures("many_processors")
def test_a_quota_of_cgroup_v1_bounds_them(tmp_path: Path, quota: str, expected: int) -> None:
    folder = tmp_path / "sys/fs/cgroup/cpu"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota + "\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert count_processors(tmp_path) == expected


@pytest.mark.usefixtures("many_processors")
def test_without_a_quota_it_is_the_affinity(tmp_path: Path) -> None:
    assert find_processor_quota(tmp_path) is None
    assert count_processors(tmp_path) == 64


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_a_system_that_binds_no_process_counts_them_all(
    system: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert count_processors(tmp_path) == os.cpu_count()


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "fma avx2 avx512f avx512bw", False),
        ("x86_64", "avx2 avx512f avx512_vnni", True),
        ("AMD64", "avx2 avx_vnni", True),
        ("x86_64", "avx2 amx_int8", True),
        ("x86_64", None, None),
        ("aarch64", None, True),
    ],
)
def test_int8_is_summed_exactly_with_vnni_amx_and_on_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, flags: str | None, expected: bool | None
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    if flags is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: none\n")
    assert sums_int8_exactly(tmp_path) is expected
