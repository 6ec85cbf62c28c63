"""Reports of networks that end in softmax or sigmoid: what the network said is what is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import helper

from conftest import RunAssay


@pytest.fixture(scope="module")
def ended(colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour classifier, its logits multiplied by four, once as it is, once behind each ending."""
    folder = tmp_path_factory.mktemp("ended")
    for ending in ("Identity", "Softmax", "LogSoftmax", "Sigmoid"):
        model = onnx.load(colour_onnx)
        for node in model.graph.node:
            node.output[:] = ["colour_logits" if name == "class" else name for name in node.output]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(4, dtype=np.float32), "four"))
        model.graph.node.append(helper.make_node("Mul", ["colour_logits", "four"], ["scaled"]))
        model.graph.node.append(helper.make_node(ending, ["scaled"], ["class"]))
        onnx.save(model, str(folder / f"{ending}.onnx"))
    return folder


def evaluate(run_assay: RunAssay, ended: Path, ending: str, photographs: Path) -> Path:
    folder = photographs.parent
    model = ended / f"{ending}.onnx"
    done = run_assay("compile", model, folder / f"{ending}_c", "--model", "se_resnext50_32x4d", "-q")
    assert done.returncode == 0, done.stderr
    run = folder / ending
    given = ("--images", photographs, "--keep-logits", "-o", run, "-q")
    done = run_assay("evaluate", folder / f"{ending}_c", *given)
    assert done.returncode == 0, done.stderr
    return run


def read_percentages(run: Path) -> dict[str, list[float]]:
    """The percentages of the report's table of images, by the image's name."""
    rows = re.findall(r"^\| mistake \| (\S+) \|(.*)$", (run / "report.md").read_text(), re.MULTILINE)
    return {name: [float(share) for share in re.findall(r"(\d+\.\d) %", rest)] for name, rest in rows}


def read_logits(run: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(run / "predictions" / "part-00000.parquet").to_pylist()
    return {row["relative_path"]: np.array(row["logits"]) for row in table}


def test_a_softmaxs_probabilities_are_shown_as_the_network_gave_them(
    run_assay: RunAssay, ended: Path, photographs: Path
) -> None:
    run = evaluate(run_assay, ended, "Softmax", photographs)
    shown, outputs = read_percentages(run), read_logits(run)
    assert len(shown) == 12
    for name, shares in shown.items():
        assert shares == pytest.approx(np.sort(100 * outputs[name])[::-1][:5], abs=0.051)
    assert "Percentages are the network's own outputs" in (run / "report.md").read_text()
    assert "Percentages are the network&#39;s own outputs" in (run / "report.html").read_text()
    found = json.loads((run / "metrics.json").read_text())["calibration_error"]
    assert found["outputs"] == "probabilities"
    assert found["ece"] is not None


def test_the_same_network_without_softmax_is_shown_with_the_same_percentages(
    run_assay: RunAssay, ended: Path, photographs: Path
) -> None:
    with_softmax = evaluate(run_assay, ended, "Softmax", photographs)
    for ending in ("Identity", "LogSoftmax"):
        run = evaluate(run_assay, ended, ending, photographs)
        assert read_percentages(run) == read_percentages(with_softmax)
        errors = [
            json.loads((folder / "metrics.json").read_text())["calibration_error"]["ece"]
            for folder in (run, with_softmax)
        ]
        assert errors[0] == pytest.approx(errors[1], abs=1e-5)


def test_a_sigmoids_scores_are_shown_without_percentages(
    run_assay: RunAssay, ended: Path, photographs: Path
) -> None:
    run = evaluate(run_assay, ended, "Sigmoid", photographs)
    assert all(not shares for shares in read_percentages(run).values())
    report = (run / "report.md").read_text()
    assert "No percentages: the network's outputs lie between 0 and 1" in report
    assert "Calibration error: none, since" in report


def test_a_joint_report_shows_each_run_by_its_own_kind_of_outputs(
    run_assay: RunAssay, ended: Path, photographs: Path
) -> None:
    runs = [evaluate(run_assay, ended, ending, photographs) for ending in ("Identity", "Softmax", "Sigmoid")]
    done = run_assay("report", *runs, "-o", photographs.parent / "joint", "--json")
    assert done.returncode == 0, done.stderr
    text = (photographs.parent / "joint" / "report.md").read_text()
    assert text.count("- Percentages are the network's own outputs, which are probabilities.") == 1
    assert text.count("- No percentages: the network's outputs") == 1
