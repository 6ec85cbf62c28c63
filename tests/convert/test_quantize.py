"""int8 ONNX files: well-formed, float where asked, and layers that go back to float exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from assay.arrays import Images
from assay.convert.export_onnx import export_onnx
from assay.convert.quantize import (
    Quantisation,
    list_layers,
    list_products_of_activations,
    match_layers,
    quantize_onnx,
    read_float_onnx,
    read_onnx,
    return_to_float,
    write_onnx,
)
from assay.errors import BadModelError, UsageError
from assay.models.calibration import WeightRange
from assay.models.network_input import make_network_input
from assay.models.record import ModelRecord
from brightness_classifier import make_brightness_record
from network_forms import make_tiny_network, write_form

RECORD = make_brightness_record()
LAYERS = ["/0/Conv", "/2/Conv", "/6/Gemm"]


def make_small_network() -> nn.Module:
    """A network of two convolutions, the second grouped, and a linear layer, with random weights."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, stride=4, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 1000),
    )
    return network.eval()


@pytest.fixture(scope="module")
def small_onnx(se_resnext50: ModelRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    export_onnx(make_small_network(), path, se_resnext50, 17)
    return path


def draw_images(count: int) -> Iterator[Images]:
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield rng.normal(size=(1, 3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def int8_onnx(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "int8.onnx"
    quantize(small_onnx, path)
    return path


def quantize(
    source: Path,
    path: Path,
    float_layers: tuple[str, ...] = (),
    record: ModelRecord = RECORD,
    weight_range: WeightRange = "half",
) -> None:
    drawn = draw_pixels(8) if record.input.dtype == "uint8" else draw_images(8)
    quantisation = Quantisation(float_layers=float_layers, weight_range=weight_range)
    quantize_onnx(read_float_onnx(source), path, drawn, record=record, quantisation=quantisation)


def draw_pixels(count: int) -> Iterator[Images]:
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield rng.integers(0, 256, size=(1, 3, 224, 224)).astype(np.float32)


def run(model: Any, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    logits: np.ndarray = session.run(None, {session.get_inputs()[0].name: images})[0]
    return logits


def find_quantised(model: Any) -> list[str]:
    """Names of the layers that read from a dequantised tensor, by the graph alone."""
    dequantised = {
        out for node in model.graph.node if node.op_type == "DequantizeLinear" for out in node.output
    }
    return [name for name in LAYERS if any(tensor in dequantised for tensor in find_node(model, name).input)]


def find_node(model: Any, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def test_the_layers_are_those_that_compute(small_onnx: Path) -> None:
    assert list_layers(read_onnx(small_onnx)) == LAYERS


def test_the_file_is_well_formed_and_every_layer_is_quantised(int8_onnx: Path) -> None:
    onnx.checker.check_model(str(int8_onnx), full_check=True)
    assert find_quantised(onnx.load(str(int8_onnx))) == LAYERS


def test_int8_logits_are_near_the_float_ones_but_not_the_same(small_onnx: Path, int8_onnx: Path) -> None:
    images = np.concatenate(list(draw_images(4)))
    exact, found = run(read_onnx(small_onnx), images), run(read_onnx(int8_onnx), images)
    assert 0 < np.abs(found - exact).max() < 0.1 * np.abs(exact).max()


def find_largest_pair_sum(path: Path) -> int:
    """The largest sum of two products of a uint8 with an int8 weight, over all layers of the file."""
    graph = onnx.load(str(path)).graph
    dequantised = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.name in LAYERS]
    weights = [values[dequantised[node.input[1]]].astype(int) for node in layers]
    assert len(weights) == len(LAYERS)
    return max(2 * 255 * int(np.abs(layer).max()) for layer in weights)


def test_sums_of_two_products_fit_16_bits_unless_the_full_range_is_asked_for(
    small_onnx: Path, int8_onnx: Path, tmp_path: Path
) -> None:
    assert find_largest_pair_sum(int8_onnx) <= 2**15 - 1
    quantize(small_onnx, tmp_path / "full.onnx", weight_range="full")
    assert find_largest_pair_sum(tmp_path / "full.onnx") == 2 * 255 * 127


def test_products_of_activations_are_told_from_those_with_weights() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["w"], ["turned"]),
            helper.make_node("MatMul", ["x", "turned"], ["keys"], name="linear"),
            helper.make_node("Softmax", ["x"], ["queries"]),
            helper.make_node("MatMul", ["queries", "keys"], ["result"], name="attention"),
        ],
        "attention",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4, 4])],
        [helper.make_tensor_value_info("result", onnx.TensorProto.FLOAT, [4, 4])],
        [onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    assert list_products_of_activations(helper.make_model(graph)) == ["attention"]


def test_layers_that_are_kept_are_not_quantised(small_onnx: Path, tmp_path: Path) -> None:
    quantize(small_onnx, tmp_path / "kept.onnx", ("/2/Conv",))
    assert find_quantised(onnx.load(str(tmp_path / "kept.onnx"))) == ["/0/Conv", "/6/Gemm"]


def test_names_and_patterns_are_matched(small_onnx: Path) -> None:
    model = read_onnx(small_onnx)
    assert match_layers(model, ["*Conv"]) == ["/0/Conv", "/2/Conv"]
    assert match_layers(model, ["/6/Gemm", "/0/Conv"]) == ["/0/Conv", "/6/Gemm"]
    assert match_layers(model, []) == []


def test_a_pattern_that_matches_nothing_is_refused_with_names_that_are_there(small_onnx: Path) -> None:
    with pytest.raises(UsageError, match="no layer is called so") as caught:
        match_layers(read_onnx(small_onnx), ["*fc*"])
    assert "/0/Conv" in caught.value.hint


@pytest.mark.parametrize("layer", LAYERS)
def test_one_layer_goes_back_to_float(small_onnx: Path, int8_onnx: Path, layer: str) -> None:
    model = return_to_float(read_onnx(int8_onnx), read_onnx(small_onnx), [layer])
    onnx.checker.check_model(model, full_check=True)
    assert find_quantised(model) == [name for name in LAYERS if name != layer]


def test_with_all_layers_back_in_float_the_logits_are_the_float_models(
    small_onnx: Path, int8_onnx: Path
) -> None:
    source = read_onnx(small_onnx)
    model = return_to_float(read_onnx(int8_onnx), source, LAYERS)
    assert not any(node.op_type.endswith("quantizeLinear") for node in model.graph.node)
    images = np.concatenate(list(draw_images(2)))
    np.testing.assert_allclose(run(model, images), run(source, images), atol=1e-5)


@pytest.mark.parametrize(
    "form", ["as it is", "NHWC", "float16 input", "uint8", "uint8 NHWC", "weights in nodes", "IR 3"]
)
def test_a_network_in_every_form_is_quantised_and_goes_back_to_float(form: str, tmp_path: Path) -> None:
    """Its nodes have no names, as many exporters leave them."""
    make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", form, RECORD, tmp_path / "model.onnx")
    quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", record=record)
    source, quantised = read_float_onnx(tmp_path / "model.onnx"), read_onnx(tmp_path / "int8.onnx")
    drawn = draw_pixels(4) if record.input.dtype == "uint8" else draw_images(4)
    images = np.concatenate([make_network_input(image, record) for image in drawn])
    exact = run(read_onnx(tmp_path / "model.onnx"), images)
    assert 0 < np.abs(run(quantised, images) - exact).max() < 0.3 * np.abs(exact).max()
    back = return_to_float(quantised, source, list_layers(source))
    np.testing.assert_allclose(run(back, images), exact, atol=1e-4)


def test_a_network_that_computes_in_float16_is_refused(tmp_path: Path) -> None:
    make_tiny_network(tmp_path / "plain.onnx")
    write_form(tmp_path / "plain.onnx", "float16 throughout", RECORD, tmp_path / "model.onnx")
    with pytest.raises(BadModelError, match="computes in float16") as caught:
        read_float_onnx(tmp_path / "model.onnx")
    assert "float32 file" in caught.value.hint


def test_the_int8_model_is_not_changed_by_that(small_onnx: Path, int8_onnx: Path) -> None:
    model = read_onnx(int8_onnx)
    before = model.SerializeToString()
    return_to_float(model, read_onnx(small_onnx), LAYERS)
    assert model.SerializeToString() == before


def test_an_older_opset_is_read_as_opset_13_with_the_same_logits(
    small_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    path = tmp_path / "old.onnx"
    export_onnx(make_small_network(), path, se_resnext50, 11)
    converted = read_float_onnx(path)
    assert converted.opset_import[0].version == 13
    images = np.concatenate(list(draw_images(2)))
    np.testing.assert_allclose(run(converted, images), run(read_onnx(path), images), atol=1e-5)
    assert read_float_onnx(small_onnx) == read_onnx(small_onnx)


def test_an_opset_that_onnx_cannot_convert_is_refused(small_onnx: Path, tmp_path: Path) -> None:
    model = read_onnx(small_onnx)
    model.opset_import[0].version = 11
    model.graph.node[0].op_type = "NoSuchOperator"
    write_onnx(model, tmp_path / "old.onnx")
    with pytest.raises(BadModelError, match="has opset 11; quantisation needs 13 or later"):
        read_float_onnx(tmp_path / "old.onnx")
