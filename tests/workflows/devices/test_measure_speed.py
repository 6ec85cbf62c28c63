"""`benchmark --devices`: each device alone, then all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.engines.catalog import find_engine
from assay.models.record import ModelRecord
from compiling import compile_with
from conftest import RunAssay


@pytest.fixture
def constant(colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path) -> Path:
    folder = tmp_path / "constant"
    folder.mkdir()
    settings = {"devices": "2", "images_per_second": "400"}
    compile_with(find_engine("constant"), colour_onnx, folder, se_resnext50, settings=settings)
    return folder


def test_stand_ins_of_chips_do_not_limit_one_another(
    run_assay: RunAssay, constant: Path, tmp_path: Path
) -> None:
    run = tmp_path / "speed"
    done = run_assay("benchmark", constant, "--devices", "all", "--batch-size", "8", "-o", run)
    assert done.returncode == 0, done.stderr
    benchmark = json.loads((run / "benchmark.json").read_text())
    assert [row["device"] for row in benchmark["rows"]] == ["none:0", "none:1"]
    (row,) = benchmark["devices"]
    assert list(row["at_once"]) == list(row["alone"]) == ["none:0", "none:1"]
    assert len(row["total"]["values"]) == 5
    for values in [each["values"] for each in (*row["alone"].values(), *row["at_once"].values())]:
        assert max(values) <= 400  # a chip's speed, however many there are
    assert row["total"]["median"] <= 800
    assert "Several devices: constant, fp32" in (run / "report.md").read_text()


def test_what_is_measured_on_one_device_alone_is_refused(
    run_assay: RunAssay, constant: Path, tmp_path: Path
) -> None:
    done = run_assay("benchmark", constant, "--devices", "0", "--fresh-processes", "-o", tmp_path / "speed")
    assert (done.returncode, "--devices and --fresh-processes exclude" in done.stderr) == (2, True)
    done = run_assay("benchmark", constant, "--devices", "0-2", "-o", tmp_path / "speed")
    assert (done.returncode, "no none:2" in done.stderr) == (4, True)
    assert not (tmp_path / "speed").exists()
