"""The processors of this machine: how many this process may use, and what they are called."""

from __future__ import annotations

import math
import os
import platform
import re
import sys
from pathlib import Path

_EXACT_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}  # as Linux calls them


def count_processors(root: Path = Path("/")) -> int:
    """How many processors this process may use, at least 1: those it is bound to, within its quota.

    `os.cpu_count` counts the machine's, also where a container may use two of its 64.

    Args:
        root: The folder that `proc` and `sys` are in.
    """
    bound = len(list_processors())
    quota = find_processor_quota(root)
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def list_processors() -> set[int]:
    """The numbers of the processors this process is bound to; all of them where the system binds to none."""
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def find_processor_quota(root: Path = Path("/")) -> float | None:
    """How many processors the control groups allow, the least of them; None where there is no limit.

    Of cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us` over `cpu.cfs_period_us`): of the process's own group
    and those above it.

    Args:
        root: The folder that `proc` and `sys` are in.
    """
    folders = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup/cpu,cpuacct"]
    for controllers, path in _read_own_groups(root / "proc/self/cgroup"):
        mount = root / "sys/fs/cgroup" / controllers
        inner = mount / path.lstrip("/")
        folders += [folder for folder in (inner, *inner.parents) if mount in folder.parents]
    return min((quota for quota in map(_read_quota, folders) if quota is not None), default=None)


def _read_own_groups(path: Path) -> list[tuple[str, str]]:
    """Return the controllers and the path of each group that may limit processors."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    groups = [line.split(":", 2)[1:] for line in lines if line.count(":") >= 2]
    return [(names, place) for names, place in groups if not names or "cpu" in names.split(",")]


def _read_quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
            return None if quota == "max" else int(quota) / int(period)
        quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
    except OSError:
        return None
    return None if int(quota) < 0 else int(quota) / int(period)


def sums_int8_exactly(root: Path = Path("/")) -> bool | None:
    """Whether this processor adds products of int8 in 32 bits; None where that cannot be told.

    x86 without VNNI or AMX adds them in pairs of 16 bits (`vpmaddubsw`), which are clipped. Arm adds wider.

    Args:
        root: The folder that `proc` is in.
    """
    if platform.machine().lower() not in {"x86_64", "amd64", "i386", "i686", "x86"}:
        return True
    flags = re.search(r"^flags\s*:\s*(.+)$", _read_cpuinfo(root), re.MULTILINE)
    return None if flags is None else bool(_EXACT_FLAGS & set(flags.group(1).split()))


def _read_cpuinfo(root: Path) -> str:
    path = root / "proc/cpuinfo"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def describe_processor() -> str:
    """Return the processor's own name, such as `AMD EPYC 7B13`."""
    match = re.search(r"^model name\s*:\s*(.+)$", _read_cpuinfo(Path("/")), re.MULTILINE)
    return match.group(1).strip() if match else platform.processor() or "unknown"
