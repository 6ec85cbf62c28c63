"""Networks that never end, through the real command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from brightness_classifier import FLOAT, RECORD, make_brightness_classifier, make_port


def make_endless(path: Path) -> Path:
    """A classifier whose last node goes round 2^62 times."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on_still"]),
            helper.make_node("Add", ["sum", "nothing"], ["new_sum"]),
        ],
        "body",
        [
            make_port("round", TensorProto.INT64, []),
            make_port("goes_on", TensorProto.BOOL, []),
            make_port("sum", FLOAT, None),
        ],
        [make_port("goes_on_still", TensorProto.BOOL, []), make_port("new_sum", FLOAT, None)],
        [numpy_helper.from_array(np.array(0, np.float32), "nothing")],
    )
    return make_brightness_classifier(
        path,
        back=[helper.make_node("Loop", ["rounds", "true", "logits"], ["class"], body=body)],
        constants={"rounds": np.array(2**62), "true": np.array(True)},
    )


@pytest.mark.parametrize("engine", [pytest.param("openvino", marks=pytest.mark.slow), "onnxruntime"])
def test_ctrl_c_ends_a_compilation_that_hangs_with_130_and_leaves_nothing(
    tmp_path: Path, engine: str
) -> None:
    make_endless(tmp_path / "endless.onnx")
    (tmp_path / "brightness.toml").write_text(RECORD)
    before = sorted(tmp_path.iterdir())
    arguments = ["compile", "endless.onnx", "c", "--engine", engine, "--model", "brightness.toml"]
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Compiling endless.onnx")
        time.sleep(4)  # by then the runtime goes round
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()  # or it would go round for ever
    assert process.returncode == 130, said
    assert said.startswith("assay: interrupted")
    assert sorted(tmp_path.iterdir()) == before
