"""How many processors this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def count_processors(cgroup_root: Path = CGROUP_ROOT) -> int:
    """Return how many processors this process may use, at least 1: those it is bound to, within its quota.

    `os.cpu_count` counts the machine's, also where a container may use two of its 64.
    """
    bound = len(os.sched_getaffinity(0))
    quota = read_processor_quota(cgroup_root)
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def read_processor_quota(cgroup_root: Path = CGROUP_ROOT) -> float | None:
    """Return how many processors' time the control group allows, by cgroup v2 or v1; None without a limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`), scheduler/sched-bwc.rst (v1).
    """
    try:
        quota, period = (cgroup_root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroup_root / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup_root / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    if quota in ("max", "-1"):
        return None
    return int(quota) / int(period)
