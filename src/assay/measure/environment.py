"""The machine and the software that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec

from assay.engines.processor import describe_processor

PACKAGES = (
    "numpy",
    "nncf",
    "onnx",
    "onnxruntime",
    "openvino",
    "pillow",
    "pyarrow",
    "safetensors",
    "simplejpeg",
    "torch",
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the figures of a run depend on besides the model.

    `processors` is how many this process may use; `processor_quota` is the share of them that a
    container's limit leaves, None where there is no limit. `load_average` is over the minute before.
    """

    system: str
    processor: str
    processors: int
    processor_quota: float | None
    memory_bytes: int
    load_average: float
    python: str
    packages: dict[str, str]


def describe_machine() -> Machine:
    """Return what the machine is now; nothing that names it or its user."""
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=describe_processor(),
        processors=len(os.sched_getaffinity(0)),
        processor_quota=find_processor_quota(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        load_average=os.getloadavg()[0],
        python=platform.python_version(),
        packages=_find_versions(),
    )


def find_processor_quota(root: Path = Path("/")) -> float | None:
    """Return how many processors the control groups allow, the least of them; None where there is no limit.

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


def _find_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
