"""Quantisation through the real command line: its record, its honesty, and accuracy control."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from assay.convert.export_onnx import export_onnx
from assay.engines import saturation
from assay.engines.catalog import find_engine
from assay.engines.engine import CompileChoice
from assay.errors import FixedBatchError, UsageError
from assay.images.calibration import CalibrationOptions, choose_images
from assay.images.classes import IMAGENET_CLASSES
from assay.images.request import ImageRequest
from assay.images.sources import index_images
from assay.models.calibration import WeightRange
from assay.models.choose_record import read_stored_record
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT, Listener
from assay.workflows.models.accuracy_control import ControlRequest, control_accuracy, find_fewest
from assay.workflows.models.compile import compile_model
from assay.workflows.models.quantize import quantize_file
from colour_classifier import make_colour_classifier
from conftest import RunAssay


def export_small(path: Path, record: ModelRecord, opset: int = 17) -> Path:
    """A network of four convolutions and a linear layer, with random weights: hard on int8."""
    torch.manual_seed(2)
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(4):
        layers += [nn.Conv2d(channels, 12, 3, stride=2), nn.BatchNorm2d(12), nn.ReLU()]
        channels = 12
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 1000))
    export_onnx(network.eval(), path, record, opset)
    return path


@pytest.fixture(scope="module")
def small_onnx(se_resnext50: ModelRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_small(tmp_path_factory.mktemp("small") / "small.onnx", se_resnext50)


class Hearing(Listener):
    """Keeps what is announced."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        self.lines.append(text)


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_the_record_lists_the_images_and_an_evaluation_on_them_says_so(
    run_assay: RunAssay, small_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"
    done = run_assay(
        "quantize", small_onnx, out, "--calibration", photographs, "--calibration-count", "5", "-q"
    )
    assert done.returncode == 0, done.stderr
    record = read_json(tmp_path / "int8.json")
    assert record["source_sha256"] == hashlib.sha256(small_onnx.read_bytes()).hexdigest()
    assert record["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    by_name = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in photographs.iterdir()}
    assert record["weight_range"] == "half"
    assert len(record["images"]) == 5
    assert all(by_name[image["relative_path"]] == image["sha256"] for image in record["images"])

    for number, path in enumerate(sorted(photographs.iterdir())):  # other names, the same content
        path.rename(photographs / f"photograph_{number}.jpg")
    (tmp_path / "labels.txt").write_text("".join(f"photograph_{n}.jpg {n}\n" for n in range(12)))
    done = run_assay("compile", out, tmp_path / "c", "--precision", "int8")
    assert done.returncode == 0, done.stderr
    options = ["--images", photographs, "--labels", tmp_path / "labels.txt", "-o", tmp_path / "run"]
    done = run_assay("evaluate", tmp_path / "c", *options)
    assert done.returncode == 0, done.stderr
    assert "calibrated on 5 of these images" in done.stdout
    assert "calibrated on 5 of these images" in (tmp_path / "run" / "report.md").read_text()


def test_an_undecodable_image_is_passed_over_said_and_recorded(
    run_assay: RunAssay, small_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    damaged = photographs / "ILSVRC2012_val_00000004.JPEG"
    damaged.write_bytes(damaged.read_bytes()[:100])
    done = run_assay("quantize", small_onnx, tmp_path / "int8.onnx", "--calibration", photographs)
    assert done.returncode == 0, done.stderr
    assert "Note: 1 image cannot be calibrated on, 11 of 12 are left: ILSVRC2012_val_00000004" in done.stderr
    assert "calibrated on 11 images (1 more cannot be decoded)" in " ".join(done.stdout.split())
    record = read_json(tmp_path / "int8.json")
    assert len(record["images"]) == 11
    assert [line.partition(": ")[0] for line in record["unusable"]] == [damaged.name]
    done = run_assay("quantize", small_onnx, tmp_path / "int8.onnx", "--calibration", photographs)
    assert "quantised of the same already; used again" in done.stderr


def test_the_same_options_use_the_file_again_and_changed_ones_do_not(
    small_onnx: Path, photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"
    options = CalibrationOptions(images=ImageRequest(path=photographs), image_count=4)
    first = quantize_file(small_onnx, out, se_resnext50, options, SILENT)
    stamp = out.stat().st_mtime_ns
    assert quantize_file(small_onnx, out, se_resnext50, options, SILENT) == first
    assert out.stat().st_mtime_ns == stamp
    other = CalibrationOptions(images=ImageRequest(path=photographs), image_count=4, weight_range="full")
    assert quantize_file(small_onnx, out, se_resnext50, other, SILENT).weight_range == "full"
    assert out.stat().st_mtime_ns != stamp


@pytest.mark.parametrize("weight_range", ["half", "full"])
def test_a_full_range_is_said_when_it_is_compiled_on_a_processor_that_clips(
    small_onnx: Path,
    photographs: Path,
    se_resnext50: ModelRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    weight_range: WeightRange,
) -> None:
    monkeypatch.setattr(saturation, "sums_int8_exactly", lambda: False)
    options = CalibrationOptions(
        images=ImageRequest(path=photographs), image_count=2, weight_range=weight_range
    )
    quantize_file(small_onnx, tmp_path / "int8.onnx", se_resnext50, options, SILENT)
    engine, heard = find_engine("onnxruntime"), Hearing()
    choice = engine.resolve(CompileChoice(engine="onnxruntime", precision="int8"), se_resnext50)
    compiled = compile_model(
        tmp_path / "int8.onnx", tmp_path / "compiled", choice, overwrite=False, listener=heard
    )
    assert compiled.weight_range == weight_range
    assert any("clips sums to 16 bits" in line for line in heard.lines) == (weight_range == "full")


def test_the_seed_decides_which_images_are_chosen_and_they_keep_their_order(photographs: Path) -> None:
    images = index_images(photographs, IMAGENET_CLASSES).images

    def choose(image_count: int, seed: int = 0) -> list[str]:
        options = CalibrationOptions(image_count=image_count, seed=seed)
        return [image.relative_path for image in choose_images(images, options)]

    chosen = choose(6)
    assert choose(6) == chosen
    assert choose(6, seed=1) != chosen
    assert chosen == sorted(chosen)
    assert choose(300) == [image.relative_path for image in images]


@pytest.mark.parametrize(
    ("precision", "complaint"), [("int8", "holds no quantised layers"), ("fp32", "is quantised")]
)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_another_precision_than_the_onnx_files_is_refused(
    run_assay: RunAssay, small_onnx: Path, tmp_path: Path, precision: str, complaint: str, engine: str
) -> None:
    path = small_onnx
    if precision == "fp32":
        model = onnx.load(str(small_onnx))
        scale = onnx.numpy_helper.from_array(np.array(0.1, np.float32), "scale")
        model.graph.initializer.append(scale)
        model.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", ["q", "scale"], ["rounded"]))
        model.graph.node.insert(0, onnx.helper.make_node("QuantizeLinear", ["image", "scale"], ["q"]))
        model.graph.node[2].input[0] = "rounded"
        path = tmp_path / "int8.onnx"
        onnx.save(model, str(path))
    done = run_assay("compile", path, tmp_path / "c", "--precision", precision, "--engine", engine, "-q")
    assert done.returncode == 5, done.stderr
    assert complaint in done.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "wish",
    [
        (["--calibration-count", "0"], 2, "expected 1 or more"),
        (["--keep-float", "*nonsense*"], 2, "no layer is called so"),
        (["--max-drop", "0.1"], 2, "--max-drop and --images go together"),
        (["--calibration", "nowhere"], 5, "nowhere"),
    ],
)
def test_impossible_options_get_one_message_and_write_nothing(
    run_assay: RunAssay,
    small_onnx: Path,
    photographs: Path,
    tmp_path: Path,
    wish: tuple[list[str], int, str],
) -> None:
    options, status, complaint = wish
    given = options if "--calibration" in options else [*options, "--calibration", str(photographs)]
    done = run_assay("quantize", small_onnx, tmp_path / "out.onnx", *given, "-q")
    assert done.returncode == status, done.stderr
    assert complaint in done.stderr
    assert not (tmp_path / "out.onnx").exists()


class Announcements(Listener):
    """Keeps what is announced."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        self.lines.append(text)


def test_a_file_of_opset_11_is_converted_first_and_that_is_said(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    source = export_small(tmp_path / "old.onnx", se_resnext50, opset=11)
    heard = Announcements()
    quantize_file(
        source,
        tmp_path / "int8.onnx",
        se_resnext50,
        CalibrationOptions(images=ImageRequest(path=photographs)),
        heard,
    )
    assert "has opset 11; quantised from opset 13, whose logits differ by at most" in heard.lines[0]
    made = onnx.load(str(tmp_path / "int8.onnx"))
    assert made.opset_import[0].version >= 13
    assert "QuantizeLinear" in {node.op_type for node in made.graph.node}


def test_a_file_that_was_quantised_by_another_model_record_is_quantised_again(
    small_onnx: Path, photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    out, options = tmp_path / "int8.onnx", CalibrationOptions(images=ImageRequest(path=photographs))
    quantize_file(small_onnx, out, se_resnext50, options, SILENT)
    before = out.read_bytes()
    quantize_file(small_onnx, out, se_resnext50, options, Interrupted("Quantising"))  # used again
    darker = msgspec.structs.replace(se_resnext50.preprocessing, mean=(0.9, 0.9, 0.9))
    record = msgspec.structs.replace(se_resnext50, preprocessing=darker)
    quantize_file(small_onnx, out, record, options, SILENT)
    assert out.read_bytes() != before
    assert read_stored_record(out) == record


def test_a_network_that_runs_batches_of_eight_only_is_not_quantised(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    source = make_colour_classifier(tmp_path / "fixed.onnx", batch_size=8)
    with pytest.raises(FixedBatchError, match="batches of 8 only"):
        quantize_file(
            source,
            tmp_path / "o.onnx",
            se_resnext50,
            CalibrationOptions(images=ImageRequest(path=photographs)),
            SILENT,
        )


@given(st.integers(0, 200), st.integers(0, 220))
def test_accuracy_control_finds_the_fewest_layers_to_keep_in_float_in_few_trials(
    largest: int, threshold: int
) -> None:
    tried: list[int] = []

    def is_enough(count: int) -> bool:
        tried.append(count)
        return count >= threshold

    assert find_fewest(largest, is_enough) == (threshold if threshold <= largest else None)
    assert len(tried) == len(set(tried)) <= 2 * max(largest, 1).bit_length() + 2


class Interrupted(Listener):
    """Ends the search, as Ctrl-C would, at the first line that begins so."""

    def __init__(self, start: str) -> None:
        self._start = start

    def announce(self, text: str) -> None:
        if text.startswith(self._start):
            raise KeyboardInterrupt


@pytest.fixture
def request_within(
    small_onnx: Path, photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> ControlRequest:
    """No loss allowed on twelve images, labelled with what the float model says of half of them."""
    quantized = tmp_path / "out.full.onnx"
    quantize_file(
        small_onnx, quantized, se_resnext50, CalibrationOptions(images=ImageRequest(path=photographs)), SILENT
    )
    index = index_images(photographs, IMAGENET_CLASSES)
    return ControlRequest(
        source=small_onnx,
        quantized=quantized,
        out_path=tmp_path / "out.onnx",
        record=se_resnext50,
        index=index,
        max_drop=0,
    )


def test_a_search_that_was_interrupted_goes_on_and_ends_with_the_same(request_within: ControlRequest) -> None:
    with pytest.raises(KeyboardInterrupt):
        control_accuracy(request_within, Interrupted("0 layers in float"))
    trials_path = request_within.out_path.with_suffix(".trials.json")
    ranked = read_json(trials_path)
    assert len(ranked["errors"]) == 5
    assert all(error >= 0 for error in ranked["errors"].values())
    found = control_accuracy(request_within, SILENT)
    assert found.verdict.outcome == "cannot tell"  # twelve images prove no loss of exactly 0
    assert read_json(trials_path)["errors"] == ranked["errors"]
    assert found.trial in found.trials
    onnx.checker.check_model(str(request_within.out_path), full_check=True)
    before = request_within.out_path.read_bytes()
    again = control_accuracy(request_within, SILENT)
    assert again == found
    assert request_within.out_path.read_bytes() == before


def test_a_negative_loss_is_refused(request_within: ControlRequest) -> None:
    wrong = ControlRequest(**{**vars(request_within), "max_drop": -1.0})
    with pytest.raises(UsageError, match="expected 0 or more"):
        control_accuracy(wrong, SILENT)


@pytest.mark.slow
def test_the_golden_images_in_int8_and_float_in_one_run(
    run_assay: RunAssay, golden: Path, lite0_toml: Path, tmp_path: Path
) -> None:
    given = ["--weights", golden / "efficientnet_lite0" / "model.onnx", "--model", lite0_toml]
    given += ["--images", golden / "images", "--labels", golden / "labels.txt", "--batch-size", "1"]
    done = run_assay("run", *given, "--precision", "int8", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert metrics["accuracy"]["top1"]["hits"] >= 86
    paired = metrics["agreement"]["paired"]
    assert paired["both_count"] + paired["lost_count"] == 89  # the float model's, as published with it
    assert metrics["agreement"]["reference"] == "openvino fp32"
    manifest = read_json(tmp_path / "run" / "manifest.json")
    assert {"u8", "i8"} & set(manifest["sessions"]["openvino int8"]["computed_in"])
    assert set(manifest["sessions"]["openvino fp32"]["computed_in"]) == {"f32"}
    precisions = {row["precision"] for row in read_json(tmp_path / "run" / "benchmark.json")["rows"]}
    assert precisions == {"int8", "fp32"}
    assert "int8 model was calibrated on 100 of these images" in done.stdout


@pytest.mark.slow
def test_the_golden_images_lose_nothing_with_layers_kept_in_float(
    run_assay: RunAssay, golden: Path, lite0_toml: Path, tmp_path: Path
) -> None:
    """Calibrated on three images, so that something is lost at first."""
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((golden / "images").iterdir())[:3]:
        (few / path.name).write_bytes(path.read_bytes())
    given = [golden / "efficientnet_lite0" / "model.onnx", tmp_path / "out.onnx", "--model", lite0_toml]
    given += ["--calibration", few, "--images", golden / "images", "--labels", golden / "labels.txt"]
    done = run_assay("quantize", *given, "--max-drop", "1", "--json")
    assert done.returncode == 6, done.stderr  # 100 images cannot prove that no more than 1 point is lost
    document = json.loads(done.stdout)
    counts = {trial["float_layer_count"]: trial["paired"] for trial in document["trials"]}
    kept = len(document["quantized"]["float_layers"])
    assert counts[kept]["difference_points"] >= -1
    assert all(paired["difference_points"] < -1 for count, paired in counts.items() if count < kept)


def test_labels_are_needed_to_measure_a_loss(
    run_assay: RunAssay, small_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    for number, path in enumerate(sorted(photographs.iterdir())):
        path.rename(photographs / f"photograph_{number}.jpg")
    options = ["--calibration", photographs, "--images", photographs, "--max-drop", "0", "-q"]
    done = run_assay("quantize", small_onnx, tmp_path / "out.onnx", *options)
    assert done.returncode in {2, 5}, done.stderr
    assert "label" in done.stderr
