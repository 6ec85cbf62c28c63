"""Processors are counted as this process may use them, not as the machine has them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from assay.processors import count_processors, find_processor_quota


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
