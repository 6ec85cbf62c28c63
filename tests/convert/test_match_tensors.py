"""Tensors of two forms of a network are matched, and what differs in a layer is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from assay.convert.compare_layers import compare_layer_weights
from assay.convert.graph_steps import Graph, list_steps, prepare_model
from assay.convert.match_tensors import Compared, match_tensors

OUTPUTS = 6
RNG = np.random.default_rng(4)
WEIGHTS = RNG.normal(size=(OUTPUTS, 3, 3, 3)).astype(np.float32)
BETA, MEAN = RNG.normal(size=(2, OUTPUTS)).astype(np.float32)
GAMMA, VARIANCE = RNG.uniform(0.5, 2, size=(2, OUTPUTS)).astype(np.float32)


def make_unfolded(*, epsilon: float = 1e-3) -> Any:
    """A convolution, its batch normalisation, and an activation."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["conv"], name="conv", pads=[1] * 4),
        helper.make_node(
            "BatchNormalization",
            ["conv", "gamma", "beta", "mean", "variance"],
            ["norm"],
            name="norm",
            epsilon=epsilon,
        ),
        helper.make_node("Relu", ["norm"], ["class"], name="act"),
    ]
    values = {"weight": WEIGHTS, "gamma": GAMMA, "beta": BETA, "mean": MEAN, "variance": VARIANCE}
    return make_model(nodes, values)


def make_folded() -> Any:
    """The same with the batch normalisation in the convolution, which keeps its name."""
    factors = GAMMA / np.sqrt(VARIANCE + np.float32(1e-3))
    nodes = [
        helper.make_node("Conv", ["image", "weight", "bias"], ["conv"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["conv"], ["class"], name="act"),
    ]
    return make_model(
        nodes, {"weight": WEIGHTS * factors[:, None, None, None], "bias": BETA - MEAN * factors}
    )


def make_model(nodes: list[Any], values: dict[str, Any]) -> Any:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("class", TensorProto.FLOAT, ["batch", OUTPUTS, 8, 8])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def find(compared: list[Compared], node: str) -> Compared:
    return next(one for one in compared if one.node == node)


def test_a_folded_batch_normalisation_is_the_same_layer_behind_it() -> None:
    compared = match_tensors(make_unfolded(), make_folded())
    assert [(one.reference, one.other) for one in compared] == [("norm", "conv"), ("class", "class")]
    difference = compare_layer_weights(find(compared, "conv"))
    assert difference.sqnr_db is None or difference.sqnr_db > 100


def test_another_epsilon_is_a_factor_for_each_output_above_1() -> None:
    difference = compare_layer_weights(
        find(match_tensors(make_unfolded(), make_unfolded(epsilon=0.0)), "conv")
    )
    expected = np.sqrt((VARIANCE + 1e-3) / VARIANCE)
    assert difference.factors is None or difference.factors == pytest.approx(
        (expected.min(), expected.max()), rel=1e-4
    )
    large = compare_layer_weights(find(match_tensors(make_unfolded(epsilon=0.1), make_unfolded()), "conv"))
    expected = np.sqrt((VARIANCE + 0.1) / (VARIANCE + 1e-3))
    assert large.factors == pytest.approx((expected.min(), expected.max()), rel=1e-4)


def test_outputs_in_another_order_are_told_from_other_weights() -> None:
    other = make_folded()
    tensor = other.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), "weight"))
    difference = compare_layer_weights(find(match_tensors(make_folded(), other), "conv"))
    assert difference.is_permuted
    assert difference.factors is None
    assert difference.sqnr_db is not None and difference.sqnr_db < 10


def test_a_float16_file_is_compared_in_float32() -> None:
    model = make_folded()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(
            numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        )
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT16
    prepared = prepare_model(model)
    onnx.checker.check_model(prepared, full_check=True)
    (layer, _activation) = list_steps(Graph(prepared))
    assert layer.weights is not None
    assert layer.weights == pytest.approx(list_steps(Graph(make_folded()))[0].weights, rel=1e-3)


def test_a_name_that_stands_for_another_layer_is_not_believed() -> None:
    """Numbered names move on when an export has one node more."""
    first, second = RNG.normal(size=(2, OUTPUTS, OUTPUTS, 1, 1)).astype(np.float32)
    third = RNG.normal(size=first.shape).astype(np.float32)

    def chain(names: list[str]) -> Any:
        ends = ["image", *names]
        values = {f"w{k}": value for k, value in enumerate((first, second, third))}
        nodes = [helper.make_node("Conv", [ends[k], f"w{k}"], [ends[k + 1]], name=f"n{k}") for k in range(3)]
        model = make_model(nodes, values)
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = OUTPUTS
        return model

    compared = match_tensors(chain(["10", "11", "class"]), chain(["11", "12", "class"]))
    assert [(one.reference, one.other) for one in compared] == [
        ("10", "11"),
        ("11", "12"),
        ("class", "class"),
    ]
