"""Every engine through the real command line: the same answers, and plain refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from assay.checkpoint.fitted_network import fit_network, save_checkpoint
from assay.engines import catalog
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions
from assay.images.prepare import preprocess_image, stack_images
from assay.images.sources import index_images
from assay.models.record import ModelRecord
from conftest import RunAssay

ENGINES = ("openvino", "onnxruntime", "torch", "ascend")


@pytest.fixture(scope="module")
def fitted_checkpoint(
    golden: Path, se_resnext50: ModelRecord, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The real network with random weights, its last layer fitted to the golden images."""
    index = index_images(golden / "images", IMAGENET_CLASSES, LabelOptions(path=golden / "labels.txt"))
    images = stack_images(preprocess_image(image, se_resnext50) for image in index.images)
    labels = np.array([image.label for image in index.images], dtype=np.int64)
    path = tmp_path_factory.mktemp("fitted") / "weights.pth"
    save_checkpoint(fit_network(images, labels, seed=1), path)
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("ascend_tools")
def test_all_engines_say_the_same_of_every_golden_image(
    run_assay: RunAssay, golden: Path, fitted_checkpoint: Path, tmp_path: Path
) -> None:
    """One checkpoint; the chip's double computes in fp32 here, as `must_keep_origin_dtype` asks it to."""
    given = ["--weights", fitted_checkpoint, "--images", golden / "images", "--labels", golden / "labels.txt"]
    given += ["--precision", "fp32", "--batch-size", "4", "--keep-logits", "-q"]
    rows = {}
    for engine in ENGINES:
        done = run_assay("run", *given, "--engine", engine, "-o", tmp_path / engine)
        assert done.returncode == 0, done.stderr
        rows[engine] = pq.read_table(tmp_path / engine / "predictions").to_pylist()
        assert json.loads((tmp_path / engine / "manifest.json").read_text())["precision"] == "fp32"
    logits = {engine: np.array([row["logits"] for row in rows[engine]]) for engine in ENGINES}
    for engine in ENGINES:
        assert [row["name"] for row in rows[engine]] == [row["name"] for row in rows["torch"]]
        np.testing.assert_array_equal(logits[engine].argmax(axis=1), logits["torch"].argmax(axis=1))
        assert np.abs(logits[engine] - logits["torch"]).max() < 1e-3, engine
    clocks = {
        row["clock"] for row in json.loads((tmp_path / "ascend" / "benchmark.json").read_text())["rows"]
    }
    assert clocks == {"call", "device"}


@pytest.mark.usefixtures("ascend_tools")
def test_the_golden_images_score_on_the_chips_double_what_they_score_in_openvino(
    run_assay: RunAssay, golden: Path, lite0_toml: Path, tmp_path: Path
) -> None:
    """A model compiled for each batch size; the largest is evaluated, in fp16 as ATC compiles by itself."""
    given = ["--weights", golden / "efficientnet_lite0" / "model.onnx", "--model", lite0_toml]
    given += ["--images", golden / "images", "--labels", golden / "labels.txt", "--batch-size", "1,8"]
    done = run_assay("run", *given, "--engine", "ascend", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    accuracy = json.loads((tmp_path / "run" / "metrics.json").read_text())["accuracy"]
    assert (accuracy["top1"]["hits"], accuracy["top5"]["hits"], accuracy["image_count"]) == (89, 96, 100)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["precision"], manifest["compiled_batch_size"]) == ("fp16", 8)
    rows = json.loads((tmp_path / "run" / "benchmark.json").read_text())["rows"]
    assert [(row["batch_size"], row["clock"]) for row in rows] == [
        (1, "call"),
        (1, "device"),
        (8, "call"),
        (8, "device"),
    ]


@pytest.mark.usefixtures("ascend_tools")
def test_the_tool_as_a_process_gives_the_same_predictions(
    run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    found = []
    for runner in (["--set", "runner=process", "--set", f"python={sys.executable}"], []):
        folder = tmp_path / f"compiled{len(runner)}"
        done = run_assay("compile", colour_onnx, folder, "--engine", "ascend", "--batch-size", "4", *runner)
        assert done.returncode == 0, done.stderr
        run = tmp_path / f"run{len(runner)}"
        done = run_assay("evaluate", folder, "--images", photographs, "-o", run)
        assert done.returncode == 0, done.stderr
        found.append(pq.read_table(run / "predictions").to_pylist())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "case",
    [
        ("openvino", "GPU", "OpenVINO finds no device GPU"),
        ("onnxruntime", "cuda", "has no CUDAExecutionProvider; it has: "),
        ("onnxruntime", "cann", "has no CANNExecutionProvider"),
        ("torch", "cuda", "torch finds no device cuda"),
        ("ascend", "npu", "ATC, the compiler of CANN, is not on this machine"),
    ],
)
@pytest.mark.parametrize("command", ["run", "compile"])
def test_a_device_that_is_not_there_is_exit_status_4_with_the_reason(
    run_assay: RunAssay,
    colour_onnx: Path,
    photographs: Path,
    tmp_path: Path,
    case: tuple[str, str, str],
    command: str,
) -> None:
    engine, device, reason = case
    out = tmp_path / "out"
    given: list[object] = [colour_onnx, out]
    if command == "run":
        given = ["--weights", colour_onnx, "--images", photographs, "-o", out]
    options = ["--engine", engine, "--device", device, "--set", "soc_version=Ascend310P3"]
    done = run_assay(command, *given, *(options if engine == "ascend" else options[:4]))
    assert done.returncode == 4, done.stderr
    assert reason in done.stderr
    assert not out.exists()


def test_a_loaded_model_whose_chip_is_gone_is_exit_status_4(
    start_assay: RunAssay,
    colour_onnx: Path,
    photographs: Path,
    tmp_path: Path,
    ascend_tools: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ascend_tools
    done = start_assay("compile", colour_onnx, tmp_path / "c", "--engine", "ascend", "--batch-size", "2")
    assert done.returncode == 0, done.stderr
    monkeypatch.delenv("PYTHONPATH")
    done = start_assay("evaluate", tmp_path / "c", "--images", photographs, "-o", tmp_path / "run")
    assert done.returncode == 4, done.stderr
    assert "the inference tool's Python packages are not here" in done.stderr


def test_engines_says_what_can_run_here(run_assay: RunAssay) -> None:
    done = run_assay("engines", "--json")
    assert done.returncode == 0, done.stderr
    engines = {engine["name"]: engine for engine in json.loads(done.stdout)["engines"]}
    assert list(engines) == list(catalog.ENGINES)
    assert "CPU" in engines["openvino"]["devices_here"]
    assert engines["ascend"]["proven_devices"] == []
    assert engines["ascend"]["version"] == "CANN not found"
    assert set(engines["onnxruntime"]["devices"]) == {"cpu", "cuda", "tensorrt", "cann", "openvino"}
    text = run_assay("engines").stdout
    assert all(name in text for name in engines)
    assert max(map(len, text.splitlines())) <= 80
