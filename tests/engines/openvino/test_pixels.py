"""Normalisation in the graph: only where it gives what the host's gives."""

from __future__ import annotations

from pathlib import Path

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
    golden: Path, lite0_record: ModelRecord, tmp_path: Path
) -> None:
    onnx_path = golden / "efficientnet_lite0" / "model.onnx"
    compile_with(OpenVinoEngine(), onnx_path, tmp_path, lite0_record, settings=QUICK)
    index = index_images(golden / "images", IMAGENET_CLASSES, LabelOptions(path=golden / "labels.txt"))
    images = stack_images(preprocess_image(image, lite0_record) for image in index.images)
    for_images, for_pixels = OpenVinoEngine().load(tmp_path), OpenVinoEngine().load_for_pixels(tmp_path)
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
