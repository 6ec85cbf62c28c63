"""Every exit status, reached through the real command line, with its one clear message."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from assay.models.record import ModelRecord
from assay.models.write_record import write_record_toml
from assay.workflows.results import report
from colour_classifier import draw_weights
from conftest import RunAssay


@pytest.fixture
def compiled_dir(colour_compiled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(colour_compiled, tmp_path / "compiled"))


def test_0_when_all_is_well(run_assay: RunAssay, compiled_dir: Path, photographs: Path) -> None:
    done = run_assay("evaluate", compiled_dir, "--images", photographs, "-o", compiled_dir.parent / "run")
    assert done.returncode == 0, done.stderr
    assert "of 12" in done.stdout


def test_1_when_the_onnx_file_differs_from_torch_and_no_file_is_kept(
    run_assay: RunAssay, colour_record: ModelRecord, tmp_path: Path
) -> None:
    weights = torch.from_numpy(1e6 * draw_weights())  # rounding alone differs by more than the 1e-3 allowed
    torch.save({"weights": weights}, tmp_path / "huge.pth")
    (tmp_path / "colour.toml").write_text(write_record_toml(colour_record))
    given = ["export", tmp_path / "huge.pth", tmp_path / "huge.onnx", "--model", tmp_path / "colour.toml"]
    done = run_assay(*given)
    assert done.returncode == 1, done.stderr
    assert "logits differ from torch" in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["colour.toml", "huge.pth"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["run", "--no-such-option"],
        ["run"],
        ["evaluate", "compiled"],
        ["benchmark"],
        ["benchmark", "compiled", "--batch-size", "1,two"],
        ["evaluate", "compiled", "--images", ".", "--resume"],
        ["compile", "m.onnx", "out", "--engine", "openvin"],
        ["run", "--weights", "w.pth", "--images", ".", "--resume", "--overwrite", "-o", "run"],
        ["run", "--weights", "w.pth", "--images", ".", "--repeats", "4"],
        ["run", "--weights", "w.pth", "--images", ".", "--seconds", "0"],
    ],
)
def test_2_when_the_command_makes_no_sense(run_assay: RunAssay, tmp_path: Path, arguments: list[str]) -> None:
    done = run_assay(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("assay: ")
    assert "Traceback" not in done.stderr


def test_2_when_the_run_folder_holds_something_else(
    run_assay: RunAssay, compiled_dir: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_mother.txt").write_text("Dear mother,")
    done = run_assay(
        "evaluate", compiled_dir, "--images", photographs, "-o", tmp_path / "letters", "--overwrite"
    )
    assert done.returncode == 2
    assert "holds something that is no run of assay: to_mother.txt" in done.stderr
    assert (tmp_path / "letters" / "to_mother.txt").read_text() == "Dear mother,"


@pytest.mark.parametrize("sizes", [["--batch-size", "0"], ["--shard-size", "0"], ["--batch-size", "9"]])
def test_2_when_a_size_is_impossible(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path, sizes: list[str]
) -> None:
    run_assay("compile", colour_onnx, tmp_path / "of_8", "--batch-size", "8")
    done = run_assay("evaluate", tmp_path / "of_8", "--images", photographs, "-o", tmp_path / "run", *sizes)
    assert done.returncode == 2, done.stderr
    assert sizes[0] in done.stderr


def test_2_when_the_result_cannot_be_written(run_assay: RunAssay, colour_onnx: Path) -> None:
    done = run_assay("compile", colour_onnx, "/proc/no/such/place")
    assert done.returncode == 2, done.stderr
    assert "/proc/no" in done.stderr
    assert "Traceback" not in done.stderr


def test_3_when_some_images_failed_and_they_stay_in_the_denominator(
    run_assay: RunAssay, compiled_dir: Path, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"")
    whole = (photographs / "ILSVRC2012_val_00000005.JPEG").read_bytes()
    (photographs / "ILSVRC2012_val_00000005.JPEG").write_bytes(whole[: len(whole) // 2])
    done = run_assay("evaluate", compiled_dir, "--images", photographs, "-o", tmp_path / "run")
    assert done.returncode == 3, done.stderr
    accuracy = json.loads((tmp_path / "run" / "metrics.json").read_text())["accuracy"]
    assert (accuracy["image_count"], accuracy["scored_count"], accuracy["failed_count"]) == (12, 10, 2)
    rows = pq.read_table(tmp_path / "run" / "predictions" / "part-00000.parquet").to_pylist()
    assert [row["name"][-7:-5] for row in rows if row["status"] != "ok"] == ["03", "05"]
    assert "empty file" in rows[2]["status"]


def test_4_when_the_device_is_not_there(run_assay: RunAssay, colour_onnx: Path, tmp_path: Path) -> None:
    done = run_assay("compile", colour_onnx, tmp_path / "compiled", "--device", "GPU")
    if done.returncode == 0:
        pytest.skip("this machine has an Intel GPU")
    assert done.returncode == 4, done.stderr
    assert "finds no device GPU" in done.stderr
    assert not (tmp_path / "compiled").exists()


def test_4_when_an_optional_package_is_missing_with_the_line_that_installs_it(
    start_assay: RunAssay, tmp_path: Path
) -> None:
    # stands in for an environment without torch
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    done = start_assay("export", "w.pth", "m.onnx", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 4, done.stderr
    assert "pip install 'assay[export]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 110559176\n", "git-LFS"),
        (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "HTML"),
        (b"", "empty"),
    ],
)
def test_5_when_the_file_holds_no_weights(
    run_assay: RunAssay, tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    done = run_assay("export", tmp_path / "weights.pth", tmp_path / "m.onnx")
    assert done.returncode == 5, done.stderr
    assert complaint.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("missing", ["images", "labels", "model", "compiled"])
def test_5_when_an_input_is_not_there(
    run_assay: RunAssay, compiled_dir: Path, photographs: Path, tmp_path: Path, missing: str
) -> None:
    gone = tmp_path / "gone.toml"
    done = {
        "images": lambda: run_assay("evaluate", compiled_dir, "--images", gone),
        "labels": lambda: run_assay("evaluate", compiled_dir, "--images", photographs, "--labels", gone),
        "model": lambda: run_assay("export", "w.pth", "m.onnx", "--model", gone),
        "compiled": lambda: run_assay("evaluate", gone, "--images", photographs),
    }[missing]()
    assert done.returncode == 5, done.stderr
    assert "gone.toml" in done.stderr


def test_70_when_assay_has_a_bug_with_the_traceback(
    run_assay: RunAssay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "write_report", lambda _folder: 1 // 0)
    done = run_assay("report", tmp_path, "--json")
    assert done.returncode == 70, done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert json.loads(done.stdout)["error"]["exit_status"] == 70


def test_130_when_interrupted_with_what_was_done_kept(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    slow_chip = ["--engine", "constant", "--set", "images_per_second=60"]  # 3.3 s for all
    assert run_assay("compile", colour_onnx, tmp_path / "slow", *slow_chip).returncode == 0
    pixels = Image.open(photographs / "ILSVRC2012_val_00000001.JPEG")
    for number in range(13, 201):
        pixels.save(photographs / f"ILSVRC2012_val_{number:08d}.JPEG")
    run_folder = tmp_path / "run"
    command = ["evaluate", tmp_path / "slow", "--images", photographs, "-o", run_folder, "--shard-size", "8"]
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", *map(str, command)], stderr=subprocess.PIPE, text=True
    )
    first_part = run_folder / "predictions" / "part-00000.parquet"
    while not first_part.exists() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert json.loads((run_folder / "manifest.json").read_text())["status"] == "interrupted"
    kept = {file.name: file.stat().st_mtime_ns for file in (run_folder / "predictions").iterdir()}
    assert 0 < len(kept) < 25

    done = run_assay(*command, "--resume")
    assert done.returncode == 0, done.stderr
    after = {file.name: file.stat().st_mtime_ns for file in (run_folder / "predictions").iterdir()}
    assert len(after) == 25
    assert {name: after[name] for name in kept} == kept
    assert json.loads((run_folder / "metrics.json").read_text())["accuracy"]["image_count"] == 200


def test_a_mistyped_path_leaves_no_run_folder_so_that_the_corrected_command_runs(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    given = ["--model", "se_resnext50_32x4d", "--images", photographs, "--batch-size", "1", "-q"]
    run = tmp_path / "runs" / "mine"
    done = run_assay("run", "--weights", tmp_path / "typo.pth", *given, "-o", run)
    assert done.returncode == 5
    assert not (tmp_path / "runs").exists()
    done = run_assay("run", "--weights", colour_onnx, *given, "-o", run)
    assert done.returncode == 0, done.stderr
    whole = sorted(path.name for path in run.iterdir())
    done = run_assay("run", "--weights", tmp_path / "typo.pth", *given, "-o", run, "--overwrite")
    assert done.returncode == 5
    assert sorted(path.name for path in run.iterdir()) == whole
