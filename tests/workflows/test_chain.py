"""The chain from end to end, on real networks and real JPEGs, through the real command line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest

from assay.checkpoint.network import ARCHITECTURES
from assay.engine_contract.classifier import ColourClassifier
from assay.images.drawn_images import draw_labelled_images
from conftest import RunAssay

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts" / "modelzoo"


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_a_users_own_classifier_gives_torchs_logits_and_the_known_accuracy(
    run_assay: RunAssay, golden: Path, lite0_compiled: Path, tmp_path: Path
) -> None:
    images = ["--images", golden / "images", "--labels", golden / "labels.txt"]
    done = run_assay("evaluate", lite0_compiled, *images, "--keep-logits", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    accuracy = read_json(tmp_path / "run" / "metrics.json")["accuracy"]
    assert (accuracy["top1"]["hits"], accuracy["top5"]["hits"], accuracy["image_count"]) == (89, 96, 100)

    rows = pq.read_table(tmp_path / "run" / "predictions" / "part-00000.parquet").to_pylist()
    names = (golden / "efficientnet_lite0" / "names.txt").read_text().split()
    logits = np.array([{row["name"]: row["logits"] for row in rows}[name] for name in map(add_suffix, names)])
    expected = np.load(golden / "efficientnet_lite0" / "logits.npy")
    assert np.abs(logits - expected).max() < 2e-3


def add_suffix(name: str) -> str:
    return name if name.endswith(".JPEG") else f"{name}.JPEG"


@pytest.fixture(scope="module")
def full_run(run_assay: RunAssay, colour_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished `assay run` of a checkpoint, over six JPEGs; the demo runs the real network."""
    folder = tmp_path_factory.mktemp("full")
    make_photographs(folder / "val")
    shutil.copy(colour_checkpoint, folder / "weights.pth")
    arguments = ["--weights", folder / "weights.pth", "--images", folder / "val", "--batch-size", "1,2"]
    with patch.dict(ARCHITECTURES, {"se_resnext50_32x4d": ColourClassifier}):
        done = run_assay("run", *arguments, "--compare-with-torch", "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder


def make_photographs(folder: Path) -> None:
    draw_labelled_images(folder, folder.with_suffix(".txt"), image_count=6, seed=1)
    for number, file in enumerate(sorted(folder.iterdir()), start=1):
        file.rename(folder / f"ILSVRC2012_val_{number:08d}.JPEG")


def test_run_writes_every_file_of_the_run_folder(full_run: Path) -> None:
    names = {file.name for file in (full_run / "run").iterdir()}
    assert {name for name in names if not name.startswith(".lock")} == {
        "manifest.json",
        "model.onnx",
        "compiled",
        "predictions",
        "reference",
        "metrics.json",
        "benchmark.json",
        "report.md",
        "report.html",
        "log.jsonl",
        "images.arrow",
    }
    documented = (Path(__file__).parents[2] / "docs" / "reference" / "run-folder.md").read_text()
    assert [name for name in names if f"`{name}" not in documented and not name.startswith(".lock")] == []


def test_metrics_hold_counts_and_interval(full_run: Path) -> None:
    metrics = read_json(full_run / "run" / "metrics.json")
    assert metrics["schema_version"] == 1
    assert metrics["accuracy"]["image_count"] == metrics["accuracy"]["scored_count"] == 6
    low, high = metrics["accuracy"]["top1"]["interval_percent"]
    assert 0 <= low <= metrics["accuracy"]["top1"]["percent"] <= high <= 100


def test_the_compiled_model_says_what_torch_says(full_run: Path) -> None:
    agreement = read_json(full_run / "run" / "metrics.json")["agreement"]
    assert (agreement["image_count"], agreement["same_top1_count"]) == (6, 6)
    parity = read_json(full_run / "run" / "manifest.json")["logit_parity"]
    assert parity["image_count"] == parity["top1_agreement_count"] == 4
    assert parity["max_difference"] < 1e-3


def test_the_benchmark_holds_every_batch_size_and_every_raw_time(full_run: Path) -> None:
    rows = read_json(full_run / "run" / "benchmark.json")["rows"]
    assert [row["batch_size"] for row in rows] == [1, 2]
    for row in rows:
        assert row["clock"] == "call"
        assert len(row["images_per_second"]["values"]) == len(row["call_ms"]) == 5
        assert row["warm_up_ms"]


def test_the_manifest_holds_the_hash_of_what_went_in(full_run: Path) -> None:
    manifest = read_json(full_run / "run" / "manifest.json")
    weights = full_run / "weights.pth"
    assert manifest["status"] == "finished"
    assert manifest["hashes"]["weights.pth"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    onnx_path = full_run / "run" / "model.onnx"
    assert manifest["hashes"]["model.onnx"] == hashlib.sha256(onnx_path.read_bytes()).hexdigest()


def test_the_report_shows_measured_and_published_figures_apart(full_run: Path) -> None:
    report = (full_run / "run" / "report.md").read_text()
    assert "| Batch | Images/s | range | p50 ms | p99 ms | Ascend 310 | Ascend 310P | NVIDIA T4 |" in report
    assert "786.26" in report
    assert "not run here" in report
    assert "no ratio between measured and published" in report
    assert "Outlier: Ascend 310P at batch 32" in report


def test_report_can_be_written_again_from_the_folder(full_run: Path, run_assay: RunAssay) -> None:
    before = (full_run / "run" / "report.md").read_text()
    (full_run / "run" / "report.md").unlink()
    assert run_assay("report", full_run / "run").returncode == 0
    assert (full_run / "run" / "report.md").read_text() == before


@pytest.mark.parametrize("engine", ["openvino", "constant"])
def test_an_onnx_file_runs_without_a_checkpoint(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path, engine: str
) -> None:
    arguments = ["--weights", colour_onnx, "--images", photographs, "--batch-size", "1", "--engine", engine]
    done = run_assay("run", *arguments, "-o", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy"]["image_count"] == 12


def test_predictions_do_not_depend_on_batch_and_shard_size(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    run_assay("compile", colour_onnx, tmp_path / "any")
    run_assay("compile", colour_onnx, tmp_path / "of_5", "--batch-size", "5")
    found = []
    for number, (compiled, batch_size, shard_size) in enumerate(
        [("any", 8, 1024), ("any", 1, 5), ("any", 5, 3), ("of_5", 5, 1024)]
    ):
        run = tmp_path / f"run{number}"
        sizes = ["--batch-size", batch_size, "--shard-size", shard_size]
        done = run_assay("evaluate", tmp_path / compiled, "--images", photographs, "-o", run, *sizes)
        assert done.returncode == 0, done.stderr
        rows = [
            row for part in sorted((run / "predictions").iterdir()) for row in pq.read_table(part).to_pylist()
        ]
        found.append([(row["name"], row["label"], row["top_classes"]) for row in rows])
    assert found[0] == found[1] == found[2] == found[3]


@pytest.fixture(scope="module")
def demo(run_assay: RunAssay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished demo, with what it said in `stdout.txt` beside it."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    done = run_assay("demo", "-o", folder)
    assert done.returncode == 0, done.stderr
    folder.with_name("stdout.txt").write_text(done.stdout)
    return folder


@pytest.mark.slow
def test_the_demo_ends_with_a_verified_result(demo: Path) -> None:
    metrics = read_json(demo / "run" / "metrics.json")
    assert metrics["accuracy"]["image_count"] == 160
    assert 50 < metrics["accuracy"]["top1"]["percent"] < 95
    assert metrics["agreement"]["same_top1_count"] == 160
    assert "made up" in demo.with_name("stdout.txt").read_text()
    rows = read_json(demo / "run" / "benchmark.json")["rows"]
    assert [row["batch_size"] for row in rows] == [1, 4, 8, 16, 32, 64]


@pytest.mark.slow
def test_the_original_commands_run_as_written(
    run_assay: RunAssay, demo: Path, golden: Path, tmp_path: Path
) -> None:
    """The six commands of the original instructions; a compiled model stands where the .om stood."""
    shutil.copytree(golden / "images", tmp_path / "val")
    shutil.copy(golden / "labels.txt", tmp_path / "val_label.txt")
    shutil.copy(demo / "demo_weights.pth", tmp_path)  # a name with a hash would be checked against it
    work = tmp_path / "work"
    work.mkdir()
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "demo_weights.pth").write_text("quirk 13: a stale file of that name, which the original takes")
    env = {**os.environ, "TORCH_HOME": str(tmp_path / "torch")}

    def run_python(script: str, *arguments: str) -> str:
        command = [sys.executable, str(SCRIPTS / script), *arguments]
        done = subprocess.run(
            command, cwd=work, env=env, capture_output=True, text=True, check=False, timeout=1500
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run_python("preprocess_se_resnext50_32x4d_pth.py", "../val", "./prep_bin")
    run_python("get_info.py", "bin", "./prep_bin", "./seresnext50_val.info", "224", "224")
    run_python("get_info.py", "jpg", "../val", "./ImageNet.info")
    weights, onnx_file = "../demo_weights.pth", "../se_resnext50_32x4d.onnx"
    run_python("seresnext50_pth2onnx.py", weights, onnx_file)
    done = run_assay("compile", onnx_file, "seresnext50_32x4d.om", cwd=work)
    assert done.returncode == 0, done.stderr
    infer = "\u2013model seresnext50_32x4d.om --input prep_bin/ --output ./ --outfmt TXT --batchsize 16"
    shown = run_python("ais_infer.py", *infer.split())
    output = shown.split("[INFO] output path:")[1].split("\n")[0]
    run_python("vision_metric_ImageNet.py", output, "../val_label.txt", "./", "result.json")

    lines = (golden / "prep_bin.sha256").read_text().splitlines()
    hashes = {name.strip("* "): sha256 for sha256, name in (line.split(maxsplit=1) for line in lines)}
    bins = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (work / "prep_bin").iterdir()
    }
    assert bins == hashes
    result, original = read_json(work / "result.json"), read_json(golden / "scores" / "result.json")
    assert result["title"] == original["title"]
    assert [entry["key"] for entry in result["value"]] == [entry["key"] for entry in original["value"]]
    assert result["value"][:2] == original["value"][:2]  # 100 images, 1000 classes
