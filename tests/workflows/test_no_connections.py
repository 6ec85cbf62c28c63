"""No command looks up a name or opens a connection that was not asked for, nor leaves an id at home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import DOUBLES, RunAssay

pytestmark = pytest.mark.slow


def test_no_command_looks_up_a_name_or_connects(
    start_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    home, watched = tmp_path / "home", tmp_path / "looked_up.txt"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(DOUBLES / "watched_network"), os.environ.get("PYTHONPATH", "")]),
        "WATCHED_NETWORK": str(watched),
    }
    look_up = "import socket; socket.getaddrinfo('localhost', 80)"
    subprocess.run([sys.executable, "-c", look_up], env=environment, check=True)
    assert watched.read_text()  # it would be seen
    watched.unlink()
    commands: list[list[object]] = [
        ["compile", colour_onnx, tmp_path / "compiled"],
        ["quantize", colour_onnx, tmp_path / "int8.onnx", "--calibration", photographs],
        ["evaluate", tmp_path / "compiled", "--images", photographs, "-o", tmp_path / "run"],
        [
            "benchmark",
            tmp_path / "compiled",
            "--batch-size",
            1,
            "--fresh-processes",
            "-o",
            tmp_path / "speed",
        ],
        ["report", tmp_path / "run"],
        ["inspect", colour_onnx],
        ["engines"],
        ["doctor"],
    ]
    for command in commands:
        done = start_assay(*command, env=environment)
        assert done.returncode in {0, 4}, (command, done.stderr)
    assert not watched.exists(), watched.read_text()
    assert not (home / "intel").exists()
