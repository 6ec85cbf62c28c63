"""ONNX files given to the commands: their record, their weights, their batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from assay.command_line.app import main
from assay.engines.compiled_model import read_compiled_json
from assay.models.choose_record import read_stored_record, store_record
from brightness_classifier import (
    RECORD,
    make_brightness_classifier,
    make_brightness_record,
    move_weights_out,
)

IMAGES = ["--images", "photos", "--labels", "labels.txt"]
QUICK = ["--seconds", "0.05", "-q"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model record, and four images of which every other one is bright."""
    (tmp_path / "brightness.toml").write_text(RECORD)
    (tmp_path / "photos").mkdir()
    for number in range(4):
        image = Image.new("RGB", (300, 260), (220 if number % 2 else 30,) * 3)
        image.save(tmp_path / "photos" / f"photo_{number}.png")
    (tmp_path / "labels.txt").write_text("".join(f"photo_{number}.png {number % 2}\n" for number in range(4)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def count_hits(run: str) -> int:
    hits: int = json.loads(Path(run, "metrics.json").read_text())["accuracy"]["top1"]["hits"]
    return hits


def negate_weights(onnx_path: Path) -> None:
    model = onnx.load(str(onnx_path))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, str(onnx_path))


@pytest.mark.parametrize(
    "command",
    [
        ["compile", "model.onnx", "c"],
        ["compile", "model.onnx", "c", "--engine", "constant"],
        ["run", "--weights", "model.onnx", *IMAGES, "-o", "r"],
        ["quantize", "model.onnx", "int8.onnx", "--calibration", "photos"],
    ],
)
def test_without_a_record_an_onnx_file_is_refused_before_any_work(
    folder: Path, capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    make_brightness_classifier(folder / "model.onnx")
    before = sorted(folder.iterdir())
    assert main(command) == 2
    assert "--model NAME_OR_TOML" in capfd.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_a_record_in_the_file_needs_no_model_option_and_stays_through_quantisation(folder: Path) -> None:
    store_record(make_brightness_classifier(folder / "model.onnx"), make_brightness_record())
    assert main(["quantize", "model.onnx", "int8.onnx", "--calibration", "photos", "-q"]) == 0
    assert read_stored_record(folder / "int8.onnx") == make_brightness_record()
    assert main(["compile", "int8.onnx", "c", "--precision", "int8", "-q"]) == 0
    assert read_compiled_json(folder / "c").model == make_brightness_record()


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_new_weights_beside_an_unchanged_graph_are_seen(
    folder: Path, capfd: pytest.CaptureFixture[str], engine: str
) -> None:
    path = make_brightness_classifier(folder / "model.onnx")
    move_weights_out(path)
    graph = path.read_bytes()
    command = ["compile", "model.onnx", "c", "--engine", engine, "--model", "brightness.toml"]
    assert (main(command), main(command)) == (0, 0)
    assert "used again" in capfd.readouterr().err
    assert main(["evaluate", "c", *IMAGES, "-o", "r", "-q"]) == 0
    assert count_hits("r") == 4
    negate_weights(path)
    move_weights_out(path)
    assert path.read_bytes() == graph
    assert main(command) == 2
    assert "made of something else" in capfd.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert main(["evaluate", "c", *IMAGES, "-o", "r", "-q", "--resume"]) == 2
    assert "the compiled model changed" in capfd.readouterr().err
    assert main(["evaluate", "c", *IMAGES, "-o", "r", "-q", "--overwrite"]) == 0
    assert count_hits("r") == 0


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_batch_of_one_fixed_within_is_run_where_that_is_what_is_measured(
    folder: Path, capfd: pytest.CaptureFixture[str], engine: str
) -> None:
    make_brightness_classifier(
        folder / "model.onnx",
        back=[helper.make_node("Reshape", ["logits", "shape"], ["class"])],
        constants={"shape": np.array([1, 2])},
    )
    command = ["run", "--weights", "model.onnx", "--engine", engine, "--model", "brightness.toml", *IMAGES]
    assert main([*command, "-o", "r", *QUICK, "--batch-size", "1"]) == 0
    assert count_hits("r") == 4
    capfd.readouterr()
    assert main([*command, "-o", "any", *QUICK]) == 5
    assert "runs batches of 1 only\n  give --batch-size 1" in capfd.readouterr().err


def test_a_named_record_beside_another_in_the_file_is_said(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_brightness_classifier(folder / "model.onnx")
    store_record(path, make_brightness_record())
    Path("other.toml").write_text(RECORD.replace('name = "brightness"', 'name = "other"'))
    assert main(["compile", "model.onnx", "c", "--engine", "constant", "--model", "other.toml"]) == 0
    assert "Note: model.onnx carries another model record, brightness" in capfd.readouterr().err
