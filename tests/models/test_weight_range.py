"""The range of int8 weights is read from the weights, in whatever form a file holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

from assay.models.weight_range import find_weight_range
from brightness_classifier import move_weights_out

HALF, FULL = 64, 127


def write_model(
    path: Path, nodes: list[onnx.NodeProto], largest: int, *, depthwise: int = 0, dtype: type = np.int8
) -> Path:
    """A network of 4 channels that computes `result` by the nodes, of these weights."""
    weights = np.zeros((4, 4, 3, 3))
    weights[1, 2, 0, 0] = -largest
    values = {
        "scale": np.float32(0.5),
        "zero": dtype(0),
        "q": weights.astype(dtype),
        "w": (0.5 * weights).astype(np.float32),
        "q_depthwise": np.full((4, 1, 3, 3), depthwise, np.int8),
        "q_matrix": np.full((4, 2), largest, np.int8),
    }
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def dequantise(source: str, target: str) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [source, "scale", "zero"], [target])


STORED = [dequantise("q", "dq"), helper.make_node("Conv", ["x", "dq"], ["result"])]
ROUNDED_IN_GRAPH = [
    helper.make_node("QuantizeLinear", ["w", "scale", "zero"], ["q2"]),
    dequantise("q2", "dq"),
]
INTEGER_LAYER = [
    helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"]),
    helper.make_node("Flatten", ["xq"], ["flat"], axis=3),
    helper.make_node("MatMulInteger", ["flat", "q_matrix", "xz"], ["sums"]),
    helper.make_node("Cast", ["sums"], ["result"], to=TensorProto.FLOAT),
]


@pytest.mark.parametrize(("largest", "expected"), [(HALF, "half"), (HALF + 1, "full"), (FULL, "full")])
@pytest.mark.parametrize(
    "nodes",
    [STORED, [*ROUNDED_IN_GRAPH, helper.make_node("Conv", ["x", "dq"], ["result"])], INTEGER_LAYER],
    ids=["stored as int8", "stored as float and rounded in the graph", "layer of integers"],
)
def test_it_is_told_from_the_largest_weight(
    tmp_path: Path, nodes: list[onnx.NodeProto], largest: int, expected: str
) -> None:
    assert find_weight_range(write_model(tmp_path / "m.onnx", nodes, largest)) == expected


def test_it_is_told_from_weights_in_a_file_beside(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", STORED, FULL)
    move_weights_out(path)
    assert find_weight_range(path) == "full"


@pytest.mark.parametrize(("largest", "expected"), [(HALF, "half"), (FULL, "full")])
def test_depthwise_convolutions_do_not_count_in_onnx_and_openvinos_ir(
    tmp_path: Path, largest: int, expected: str
) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        dequantise("xq", "xd"),
        dequantise("q_depthwise", "dqd"),
        helper.make_node("Conv", ["xd", "dqd"], ["y"], group=4),
        dequantise("q", "dq"),
        helper.make_node("Conv", ["y", "dq"], ["result"]),
    ]
    path = write_model(tmp_path / "m.onnx", nodes, largest, depthwise=FULL)
    assert find_weight_range(path) == expected
    openvino.save_model(openvino.Core().read_model(path), tmp_path / "m.xml")
    assert find_weight_range(tmp_path / "m.xml") == expected


def test_products_of_quantised_activations_fill_the_full_range(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        dequantise("xq", "xd"),
        helper.make_node("Transpose", ["xd"], ["turned"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["xd", "turned"], ["result"]),
    ]
    assert find_weight_range(write_model(tmp_path / "m.onnx", nodes, HALF)) == "full"


def test_weights_that_are_no_int8_are_unknown(tmp_path: Path) -> None:
    assert find_weight_range(write_model(tmp_path / "m.onnx", STORED, HALF, dtype=np.uint8)) == "unknown"
