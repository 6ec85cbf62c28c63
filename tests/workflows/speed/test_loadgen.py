"""`assay benchmark --loadgen` through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assay.engines.catalog import load_session
from assay.errors import SourceError
from assay.images.classes import IMAGENET_CLASSES, read_classes
from assay.images.label_files import LabelOptions
from assay.images.sources import index_images
from assay.measure.speed.loadgen import LoadgenOptions
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.workflows.models.compile import compile_model
from assay.workflows.speed.loadgen import measure_logged_accuracy
from compiling import resolve_choice
from conftest import RunAssay

pytest.importorskip("mlperf_loadgen")
SUMMARY_LOG = "mlperf_log_summary.txt"


def test_four_scenarios_with_the_verdicts_of_loadgen_itself(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path
) -> None:
    assert run_assay("compile", colour_onnx, tmp_path / "c", "--engine", "constant").returncode == 0
    options = ("--loadgen", "--loadgen-seconds", "0.5", "--batch-size", "8", "-o", tmp_path / "run")
    done = run_assay("benchmark", tmp_path / "c", *options, "--json")
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "run" / "benchmark.json").read_text())
    rows = stored["loadgen"]
    assert [row["scenario"] for row in rows] == ["SingleStream", "MultiStream", "Server", "Offline"]
    assert all(row["is_valid"] for row in rows if row["scenario"] != "Server")  # that one depends on the load
    summaries = [(tmp_path / "run" / row["log_folder"] / SUMMARY_LOG).read_text() for row in rows]
    assert [row["is_valid"] for row in rows] == ["Result is : VALID" in summary for summary in summaries]
    assert json.loads(done.stdout)["loadgen"] == stored["loadgen"]
    assert "MLPerf LoadGen" in (tmp_path / "run" / "report.md").read_text()


def test_accuracy_only_gives_the_counts_of_evaluate(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"no image")
    assert run_assay("compile", colour_onnx, tmp_path / "c", "--engine", "constant").returncode == 0
    images = ("--images", photographs)
    assert run_assay("evaluate", tmp_path / "c", *images, "-o", tmp_path / "evaluated").returncode == 3
    options = ("--loadgen", "--loadgen-seconds", "0.1", "--batch-size", "8", "-o", tmp_path / "run")
    done = run_assay("benchmark", tmp_path / "c", *images, *options)
    assert done.returncode == 0, done.stderr
    counted = json.loads((tmp_path / "run" / "benchmark.json").read_text())["loadgen_accuracy"]
    evaluated = json.loads((tmp_path / "evaluated" / "metrics.json").read_text())["accuracy"]
    assert {**counted, "noted_count": 0} == {**evaluated, "noted_count": 0}


def test_accuracy_only_ends_with_the_cause_where_the_source_of_an_image_fails(
    colour_onnx: Path,
    se_resnext50: ModelRecord,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())
    options = resolve_choice(se_resnext50, engine="constant")
    compile_model(colour_onnx, tmp_path / "c", options, overwrite=False, listener=SILENT)
    index = index_images(photographs, IMAGENET_CLASSES)
    (photographs / "ILSVRC2012_val_00000003.JPEG").unlink()
    session = load_session(tmp_path / "c")
    with pytest.raises(SourceError, match=r"00000003\.JPEG: its source failed: No such file or directory"):
        measure_logged_accuracy(session, index, se_resnext50, LoadgenOptions(), tmp_path / "loadgen")
    session.close()


def test_accuracy_only_scores_real_photographs_as_known(
    golden: Path, lite0_record: ModelRecord, tmp_path: Path
) -> None:
    onnx_path = golden / "efficientnet_lite0" / "model.onnx"
    options = resolve_choice(lite0_record)
    compile_model(onnx_path, tmp_path / "c", options, overwrite=False, listener=SILENT)
    labels = LabelOptions(path=golden / "labels.txt")
    index = index_images(golden / "images", read_classes(lite0_record), labels)
    session = load_session(tmp_path / "c")
    try:
        found = measure_logged_accuracy(session, index, lite0_record, LoadgenOptions(), tmp_path)
    finally:
        session.close()
    assert (found.top1.hits, found.top5.hits, found.image_count) == (89, 96, 100)


def test_loadgen_takes_one_model(run_assay: RunAssay, colour_onnx: Path, tmp_path: Path) -> None:
    assert run_assay("compile", colour_onnx, tmp_path / "c", "--engine", "constant").returncode == 0
    done = run_assay("benchmark", tmp_path / "c", tmp_path / "c", "--loadgen", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "--loadgen takes one compiled model" in done.stderr
