"""The engine of examples/, installed into a folder of its own: found, held to the contract, and run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import RunAssay

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds MNN, from the package registry, and the package of the example."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(ROOT / "examples" / "assay-mnn", folder / "assay-mnn")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder / "site")]
    done = subprocess.run(
        [*pip, "MNN>=3.6", str(folder / "assay-mnn")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "site"


def run_with(site: Path, *command: object) -> str:
    """The output of a Python module that finds the example, after it has succeeded."""
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=site,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_example_passes_the_contract_from_its_own_package_and_predicts_what_openvino_predicts(
    site: Path, run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    told = run_with(site, "assay.engine_contract", "mnn", "-q")
    passed, skipped = (int(re.findall(rf"(\d+) {word}", told)[0]) for word in ("passed", "skipped"))
    assert passed >= 30
    assert skipped == 2, told  # it takes images only, and its devices have no numbers

    found = json.loads(run_with(site, "assay", "engines", "--json"))["engines"][-1]
    assert (found["name"], found["distribution"], found["problem"]) == ("mnn", "assay-mnn 0.1.0", "")
    own, other = tmp_path / "openvino", tmp_path / "mnn"
    assert run_assay("compile", colour_onnx, own / "compiled").returncode == 0
    assert run_assay("evaluate", own / "compiled", "--images", photographs, "-o", own / "run").returncode == 0
    run_with(site, "assay", "compile", colour_onnx, other / "compiled", "--engine", "mnn")
    run_with(site, "assay", "evaluate", other / "compiled", "--images", photographs, "-o", other / "run")
    parts = [folder / "run" / "predictions" / "part-00000.parquet" for folder in (own, other)]
    classes = [pq.read_table(part)["top_classes"].to_pylist() for part in parts]
    assert classes[0] == classes[1]
    manifest = json.loads((other / "run" / "manifest.json").read_text())
    assert manifest["engine_version"].endswith(", by assay-mnn 0.1.0")
