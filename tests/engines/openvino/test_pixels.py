"""Normalisation in the graph: only where it gives what the host's gives."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from assay.engines.compiled_model import read_compiled_json
from assay.engines.openvino.engine import OpenVinoEngine
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions
from assay.images.prepare import preprocess_image, stack_images
from assay.images.sources import index_images
from assay.models.pixel_values import normalise_pixels, recover_pixels
from assay.models.record import ModelRecord
from compiling import compile_with
from conftest import give_colour_order

QUICK = {"streams": "1", "inner_batch": "4"}


def test_all_golden_images_have_the_same_top1_and_the_same_logits_within_1e_4(
    golden: Path, lite0_record: ModelRecord, lite0_compiled: Path
) -> None:
    index = index_images(golden / "images", IMAGENET_CLASSES, LabelOptions(path=golden / "labels.txt"))
    images = stack_images(preprocess_image(image, lite0_record) for image in index.images)
    for_images, for_pixels = (
        OpenVinoEngine().load(lite0_compiled),
        OpenVinoEngine().load_for_pixels(lite0_compiled),
    )
    assert for_pixels.description.takes_pixels
    by_host = for_images.run(images)
    by_graph = for_pixels.run(recover_pixels(images, lite0_record))
    np.testing.assert_array_equal(by_graph.argmax(axis=1), by_host.argmax(axis=1))
    assert np.abs(by_graph - by_host).max() <= 1e-4
    for_images.close()
    for_pixels.close()


def test_where_pixels_would_give_other_logits_the_host_normalises(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    """Weights of 100,000 make logits as large, of which float32 holds no four places after the point."""
    model = onnx.load(str(colour_onnx))
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(1e5 * numpy_helper.to_array(weights), weights.name))
    onnx.save(model, str(tmp_path / "steep.onnx"))
    (tmp_path / "compiled").mkdir()
    steep, folder = tmp_path / "steep.onnx", tmp_path / "compiled"
    compiled = compile_with(OpenVinoEngine(), steep, folder, se_resnext50, settings=QUICK)
    assert not compiled.takes_pixels
    session = OpenVinoEngine().load_for_pixels(tmp_path / "compiled")
    assert not session.description.takes_pixels
    session.close()


@pytest.mark.parametrize(("normalise", "takes_pixels"), [("in_graph", True), ("on_host", False)])
def test_the_user_can_keep_normalisation_on_the_host(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, normalise: str, takes_pixels: bool
) -> None:
    settings = {**QUICK, "normalise": normalise}
    compile_with(OpenVinoEngine(), colour_onnx, tmp_path, se_resnext50, settings=settings)
    assert read_compiled_json(tmp_path).takes_pixels == takes_pixels


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_bgr_network_is_given_rgb_pixels(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, batch_size: int | None
) -> None:
    record = give_colour_order(se_resnext50, "BGR")
    compile_with(OpenVinoEngine(), colour_onnx, tmp_path, record, batch_size=batch_size, settings=QUICK)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    for_images, for_pixels = OpenVinoEngine().load(tmp_path), OpenVinoEngine().load_for_pixels(tmp_path)
    assert for_pixels.description.takes_pixels
    expected = for_images.run(normalise_pixels(pixels, record))
    np.testing.assert_allclose(for_pixels.run(pixels), expected, atol=1e-4)
    for_images.close()
    for_pixels.close()


@pytest.mark.parametrize("arithmetic", ["divide", "multiply", "fused"])
def test_a_std_that_divides_twice_does_so_in_the_graph(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path, arithmetic: str
) -> None:
    preprocessing = msgspec.structs.replace(
        se_resnext50.preprocessing, std=(0.4785, 0.4733, 0.4743), std_twice=True, arithmetic=arithmetic
    )
    record = msgspec.structs.replace(se_resnext50, preprocessing=preprocessing)
    compiled = compile_with(OpenVinoEngine(), colour_onnx, tmp_path, record, settings=QUICK)
    assert compiled.takes_pixels  # as the engine found for itself: the logits are the same


def test_one_channel_of_pixels_is_normalised_in_the_graph(se_resnext50: ModelRecord, tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(49, 1000)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("AveragePool", ["image"], ["means"], kernel_shape=[4, 4], strides=[4, 4]),
            onnx.helper.make_node("Flatten", ["means"], ["flat"]),
            onnx.helper.make_node("MatMul", ["flat", "weights"], ["class"]),
        ],
        "grey",
        [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["batch", 1, 28, 28])],
        [onnx.helper.make_tensor_value_info("class", onnx.TensorProto.FLOAT, ["batch", 1000])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "grey.onnx"))
    preprocessing = msgspec.structs.replace(
        se_resnext50.preprocessing, resize_side=28, crop_size=28, mean=(0.1307,), std=(0.3081,)
    )
    tensor = msgspec.structs.replace(se_resnext50.input, channels=1, height=28, width=28, colour_order="grey")
    record = msgspec.structs.replace(se_resnext50, input=tensor, preprocessing=preprocessing)
    (tmp_path / "compiled").mkdir()
    source, folder = tmp_path / "grey.onnx", tmp_path / "compiled"
    assert compile_with(OpenVinoEngine(), source, folder, record, settings=QUICK).takes_pixels
    pixels = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    session = OpenVinoEngine().load_for_pixels(folder)
    images = (pixels.transpose(0, 3, 1, 2) / 255 - 0.1307) / 0.3081
    expected = images.reshape(2, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(2, 49) @ weights
    np.testing.assert_allclose(session.run(pixels), expected, rtol=0, atol=1e-4)
    session.close()


def test_fractions_of_pixels_are_normalised_by_the_host(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    preprocessing = msgspec.structs.replace(se_resnext50.preprocessing, sampling="tensorflow")
    record = msgspec.structs.replace(se_resnext50, preprocessing=preprocessing)
    assert not compile_with(OpenVinoEngine(), colour_onnx, tmp_path, record, settings=QUICK).takes_pixels
