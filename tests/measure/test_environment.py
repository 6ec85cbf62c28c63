from __future__ import annotations

import importlib.metadata
import os
import platform
import sys

import msgspec
import pytest

from assay.measure.environment import describe_machine


def test_the_machine_is_described_as_python_and_the_kernel_see_it() -> None:
    machine = describe_machine()
    kernel = os.uname()
    assert machine.system == f"{kernel.sysname} {kernel.release} {kernel.machine}"
    assert machine.python == ".".join(map(str, sys.version_info[:3]))
    assert machine.processors == len(os.sched_getaffinity(0))
    assert machine.processor
    assert machine.memory_bytes is not None
    assert machine.memory_bytes > 2**27
    assert machine.load_average is not None
    assert machine.load_average >= 0
    assert machine.processor_quota is None or machine.processor_quota > 0


def test_the_packages_that_figures_depend_on_have_their_versions() -> None:
    packages = describe_machine().packages
    assert {"numpy", "openvino", "pillow", "simplejpeg"} <= packages.keys()
    assert packages["pillow"] == importlib.metadata.version("pillow")


def test_a_package_that_is_missing_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", find_nothing)
    assert set(describe_machine().packages.values()) == {"not installed"}


def test_nothing_names_the_machine_or_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOSTNAME", "USER", "LOGNAME", "USERNAME", "HOME"):
        monkeypatch.setenv(name, "secret-name")
    real = platform.uname()
    monkeypatch.setattr(platform, "uname", lambda: real._replace(node="secret-name"))
    assert b"secret-name" not in msgspec.json.encode(describe_machine())
