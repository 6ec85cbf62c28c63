"""The machine and the software that a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import msgspec

from assay.processors import describe_processor, find_processor_quota, list_processors

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
    container's limit leaves, None where there is no limit. `load_average` is over the minute before. The
    memory and the load are None on Windows, which tells neither in this way.
    """

    system: str
    processor: str
    processors: int
    processor_quota: float | None
    memory_bytes: int | None
    load_average: float | None
    python: str
    packages: dict[str, str]


def describe_machine() -> Machine:
    """What the machine is now; nothing that names it or its user."""
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=describe_processor(),
        processors=len(list_processors()),
        processor_quota=find_processor_quota(),
        memory_bytes=_read_memory_bytes(),
        load_average=None if sys.platform == "win32" else os.getloadavg()[0],
        python=platform.python_version(),
        packages=_find_versions(),
    )


def _read_memory_bytes() -> int | None:
    if sys.platform == "win32":
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _find_versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
