"""Running on the chip: both generations of the inference tool, and the tool as a process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from assay.arrays import Images, Logits
from assay.engines.ascend.engine import AscendEngine
from assay.engines.catalog import load_for_evaluation
from assay.engines.engine import Session
from assay.errors import BadModelError, EngineError, MissingRuntimeError
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord
from colour_classifier import draw_weights
from compiling import compile_with
from network_forms import (
    TINY_RECORD,
    draw_coloured_pixels,
    make_tiny_network,
    run_tiny_network,
    write_form,
)

pytestmark = pytest.mark.usefixtures("ascend_tools")
FP32 = {"soc_version": "Ascend310P3", "precision_mode": "must_keep_origin_dtype"}
PROCESS = {**FP32, "runner": "process", "python": sys.executable}


@pytest.fixture(params=["2023", "2024"])
def generation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ASSAY_DOUBLE_GENERATION", request.param)
    return str(request.param)


def open_session(
    onnx_path: Path,
    record: ModelRecord,
    folder: Path,
    settings: dict[str, str],
    batch_size: int | None = 4,
    precision: str = "fp32",
) -> Session:
    folder.mkdir(exist_ok=True)
    chosen = {"precision": precision, "batch_size": batch_size, "settings": settings}
    compile_with(AscendEngine(), onnx_path, folder, record, **chosen)
    return AscendEngine().load(folder)


def draw_images(count: int) -> Images:
    return np.random.default_rng(2).normal(size=(count, 3, 224, 224)).astype(np.float32)


def classify(images: Images) -> Logits:
    """What the colour classifier gives, by numpy."""
    logits: Logits = images.mean(axis=(2, 3)) @ draw_weights()
    return logits


@pytest.mark.parametrize("settings", [FP32, PROCESS], ids=["python", "process"])
def test_logits_are_the_networks_and_every_call_has_its_device_time(
    generation: str, colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, settings: dict[str, str]
) -> None:
    session = open_session(colour_onnx, se_resnext50, tmp_path / "c", settings)
    images = draw_images(3)
    np.testing.assert_allclose(session.run(images), classify(images), atol=1e-4)
    times = session.take_device_ms()
    assert len(times) == 1, generation
    assert 0 < times[0] < 10_000
    assert session.take_device_ms() == ()
    session.close()


def test_the_process_takes_more_images_than_a_batch(
    generation: str, colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    session = open_session(colour_onnx, se_resnext50, tmp_path / "c", PROCESS)
    images = draw_images(11)
    np.testing.assert_allclose(session.run(images), classify(images), atol=1e-4)
    assert len(session.take_device_ms()) == 3, generation  # batches of 4, 4 and 3, padded
    session.close()


def test_of_several_batch_sizes_the_smallest_that_fits_is_run(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    settings = {**FP32, "dynamic_batch_size": "1,4,8"}
    session = open_session(colour_onnx, se_resnext50, tmp_path / "c", settings, None)
    for count in (1, 3, 8, 10):
        images = draw_images(count)
        np.testing.assert_allclose(session.run(images), classify(images), atol=1e-4)
    assert len(session.take_device_ms()) == 5  # the ten are eight and two
    session.close()


def test_several_batch_sizes_with_the_older_tool_are_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DOUBLE_GENERATION", "2023")
    settings = {**FP32, "dynamic_batch_size": "1,4,8"}
    with pytest.raises(EngineError, match="cannot set the batch"):
        open_session(colour_onnx, se_resnext50, tmp_path / "c", settings, None)


def test_a_model_in_fp16_is_rounded_to_it(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    settings = {"soc_version": "Ascend310P3"}
    session = open_session(colour_onnx, se_resnext50, tmp_path / "c", settings, precision="fp16")
    logits = session.run(draw_images(2))
    np.testing.assert_array_equal(logits, logits.astype(np.float16).astype(np.float32))
    session.close()


@pytest.mark.parametrize("settings", [FP32, PROCESS], ids=["python", "process"])
def test_a_model_with_aipp_is_given_pixels(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, settings: dict[str, str]
) -> None:
    """The chip's float16 constants cost at most 3e-3 of a normalised value (facts 3.2)."""
    settings = {**settings, "insert_op_conf": "rgb"}
    pixels = np.random.default_rng(4).integers(0, 256, size=(3, 224, 224, 3), dtype=np.uint8)
    images = normalise_pixels(pixels, se_resnext50)
    session = open_session(colour_onnx, se_resnext50, tmp_path / "c", settings)
    np.testing.assert_allclose(session.run(images), classify(images), atol=0.02)
    session.close()
    session = load_for_evaluation(tmp_path / "c")
    assert session.description.takes_pixels
    np.testing.assert_allclose(session.run(pixels), classify(images), atol=0.02)
    session.close()


@pytest.mark.parametrize("kind", ["rgb-crop", "yuv"])
def test_a_model_that_takes_the_decoders_frames_is_compiled_but_not_evaluated(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(EngineError, match="frames that only the chip's own decoder makes"):
        open_session(colour_onnx, se_resnext50, tmp_path / "c", {**FP32, "insert_op_conf": kind})


@pytest.mark.parametrize("settings", [FP32, PROCESS], ids=["python", "process"])
def test_a_path_that_the_tool_refuses_is_copied_to_one_that_it_takes(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, settings: dict[str, str]
) -> None:
    session = open_session(colour_onnx, se_resnext50, tmp_path / "mod\u00e8les + 1", settings)
    images = draw_images(2)
    np.testing.assert_allclose(session.run(images), classify(images), atol=1e-4)
    session.close()


def test_a_device_that_is_not_there_is_an_engine_error(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"\[ERROR\] acl open device 7 failed"):
        open_session(colour_onnx, se_resnext50, tmp_path / "c", {**FP32, "device_id": "7"})


def test_a_python_without_the_tool_is_said_with_the_way_out(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ais_bench", None)
    with pytest.raises(MissingRuntimeError, match="packages are not here") as caught:
        open_session(colour_onnx, se_resnext50, tmp_path / "c", FP32)
    assert "runner=process" in caught.value.hint


def test_a_process_without_the_tool_is_a_missing_runtime(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(MissingRuntimeError, match="No module named ais_bench"):
        open_session(colour_onnx, se_resnext50, tmp_path / "c", PROCESS)


FORMS_FED = ["NHWC", "float16 input", "uint8", "uint8 NHWC", "several outputs", "axes of one"]


@pytest.mark.parametrize(
    ("form", "settings"),
    [*((form, FP32) for form in FORMS_FED), ("NHWC", PROCESS), ("float16 input", PROCESS)],
)
def test_a_network_in_other_forms_gives_the_same_top1(
    tmp_path: Path, form: str, settings: dict[str, str]
) -> None:
    weights = make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", form, TINY_RECORD, tmp_path / "model.onnx")
    pixels = draw_coloured_pixels(6)
    session = open_session(tmp_path / "model.onnx", record, tmp_path / "compiled", settings)
    images = normalise_pixels(pixels, record)
    found = np.concatenate([session.run(images[:4]), session.run(images[4:])]).argmax(axis=1)
    session.close()
    expected = run_tiny_network(weights, normalise_pixels(pixels, TINY_RECORD)).argmax(axis=1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("form", "settings", "batch_size"),
    [
        ("NHWC", {"dynamic_batch_size": "1,4"}, None),
        ("NHWC", {"insert_op_conf": "rgb"}, 4),
        ("uint8", {"insert_op_conf": "rgb"}, 4),
    ],
)
def test_what_atc_cannot_be_told_of_an_input_is_refused(
    tmp_path: Path, form: str, settings: dict[str, str], batch_size: int | None
) -> None:
    make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", form, TINY_RECORD, tmp_path / "model.onnx")
    with pytest.raises(BadModelError, match="without AIPP"):
        open_session(tmp_path / "model.onnx", record, tmp_path / "c", {**FP32, **settings}, batch_size)


def test_a_float16_file_does_not_run_in_fp32(tmp_path: Path) -> None:
    make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", "float16 throughout", TINY_RECORD, tmp_path / "model.onnx")
    with pytest.raises(BadModelError, match="would not run it in fp32") as caught:
        open_session(tmp_path / "model.onnx", record, tmp_path / "c", FP32)
    assert "--precision fp16" in caught.value.hint
