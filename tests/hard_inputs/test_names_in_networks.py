"""Names that a stranger put into a network reach neither the terminal nor a report raw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import RunAssay

HOSTILE = "a\x1b[2J\x1b]0;b\x07\r\n# c ![d](https://host/e.png)"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A classifier of 1,000 classes all of whose names are hostile."""
    weight = numpy_helper.from_array(np.ones((1000, 3), np.float32), f"w{HOSTILE}")
    nodes = [
        helper.make_node("ReduceMean", [HOSTILE], ["m"], axes=[2, 3], keepdims=0, name=f"n{HOSTILE}"),
        helper.make_node("Gemm", ["m", f"w{HOSTILE}"], [f"o{HOSTILE}"], transB=1),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"batch{HOSTILE}", *shape])
        for name, shape in ((HOSTILE, (3, 224, 224)), (f"o{HOSTILE}", (1000,)))
    ]
    graph = helper.make_graph(nodes, HOSTILE, ports[:1], ports[1:], [weight])
    opset = helper.make_opsetid("", 13)
    model = helper.make_model(graph, opset_imports=[opset], producer_name=HOSTILE, ir_version=8)
    helper.set_model_props(model, {HOSTILE: HOSTILE})
    onnx.save(model, tmp_path / "network.onnx")
    return tmp_path / "network.onnx"


def find_raw(text: str) -> list[str]:
    """The lines of a text that hold control characters, a heading or a picture of the stranger's."""
    return [
        line
        for line in text.split("\n")
        if not line.replace("\t", " ").isprintable() or line.startswith("# c") or "![d](https" in line
    ]


def test_names_are_shown_with_escapes(network: Path, run_assay: RunAssay) -> None:
    done = run_assay("inspect", network, "--like", "se_resnext50_32x4d")
    assert done.returncode == 0, done.stderr
    assert r"\x1b[2J" in done.stdout
    assert not [line for line in (done.stdout + done.stderr).split("\n") if not line.isprintable()]


def test_a_run_of_the_network_shows_none_of_its_names_raw(
    network: Path, photographs: Path, run_assay: RunAssay, tmp_path: Path
) -> None:
    record = tmp_path / "record.toml"
    done = run_assay("init", network, "--like", "se_resnext50_32x4d", "-o", record)
    assert done.returncode == 0, done.stderr
    done = run_assay(
        "evaluate", network, "--model", record, "--images", photographs, "-o", tmp_path / "run",
        "--engine", "onnxruntime",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not find_raw(done.stdout + done.stderr)
    assert not find_raw((tmp_path / "run" / "report.md").read_text())
    assert '<img src="https' not in (tmp_path / "run" / "report.html").read_text()
