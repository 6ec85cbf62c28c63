"""What takes long to make is made by the first worker of pytest-xdist that needs it; the others read it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def build_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """The folder of that name, one for all workers of a session, which `build` makes; tests read it alone."""
    temporary = tmp_path_factory.getbasetemp()
    shared = (temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary) / "built_once"
    shared.mkdir(exist_ok=True)
    finished = shared / f"{name}.finished"
    with FileLock(shared / f"{name}.lock"):
        if not finished.exists():
            shutil.rmtree(shared / name, ignore_errors=True)  # of a worker that failed
            build(shared / name)
            finished.touch()
    return shared / name
