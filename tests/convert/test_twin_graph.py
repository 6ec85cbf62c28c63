"""Damage to one layer of a small network is found where it was done, and repairing that layer undoes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from assay.convert.match_tensors import match_tensors
from assay.convert.quantize import quantize_onnx
from assay.convert.twin_graph import align_opsets, build_twin, repair
from assay.engines.openvino.tensors import compute_outputs
from pattern_network import RECORD

IMAGES = np.random.default_rng(0).normal(size=(6, 3, 16, 16)).astype(np.float32)
LAYERS = ("first", "second", "third", "fourth")


def make_network(*, prefix: str = "", opset: int = 17, activation: str = "Relu") -> Any:
    """Four convolutions with activations and a linear layer; every name begins with the prefix."""
    rng = np.random.default_rng(5)
    nodes, weights, last, channels = [], [], "image", 3
    for name in LAYERS:
        values = rng.normal(0, 0.3, (8, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{prefix}{name}.weight"))
        nodes.append(
            helper.make_node(
                "Conv",
                [last, f"{prefix}{name}.weight"],
                [f"{prefix}{name}"],
                name=f"{prefix}{name}_conv",
                pads=[1] * 4,
            )
        )
        nodes.append(
            helper.make_node(
                activation, [f"{prefix}{name}"], [f"{prefix}{name}.act"], name=f"{prefix}{name}_act"
            )
        )
        last, channels = f"{prefix}{name}.act", 8
    head = rng.normal(0, 0.3, (8, 10)).astype(np.float32)
    weights.append(numpy_helper.from_array(head, f"{prefix}head.weight"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], [f"{prefix}pooled"], name=f"{prefix}pool"),
        helper.make_node("Flatten", [f"{prefix}pooled"], [f"{prefix}flat"]),
        helper.make_node(
            "MatMul", [f"{prefix}flat", f"{prefix}head.weight"], ["class"], name=f"{prefix}head"
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("class", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def damage(model: Any, layer: str, factor: float) -> Any:
    """A copy in which a part of the layer's weights is multiplied."""
    damaged = onnx.ModelProto()
    damaged.CopyFrom(model)
    for tensor in damaged.graph.initializer:
        if tensor.name.endswith(f"{layer}.weight"):
            values = numpy_helper.to_array(tensor).copy()
            values[:4] *= factor
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return damaged


def find_guilty(reference: Any, other: Any) -> tuple[str, float, float]:
    """The node with the lowest ratio of signal to error, that ratio, and the next, in dB."""
    compared = match_tensors(reference, other)
    sums = compute_outputs(build_twin(reference, other, compared).SerializeToString(), IMAGES)
    ratios = {
        one.node: 10 * np.log10(sums[f"signal.{k}"].sum() / max(sums[f"error.{k}"].sum(), 1e-20))
        for k, one in enumerate(compared)
    }
    first, second = sorted(ratios, key=ratios.__getitem__)[:2]
    return first, ratios[first], ratios[second]


@pytest.mark.parametrize("layer", LAYERS)
def test_the_layer_whose_weights_are_damaged_is_the_only_one_that_errs(layer: str) -> None:
    reference = make_network()
    name, ratio, next_ratio = find_guilty(reference, damage(reference, layer, 1.5))
    assert name == f"{layer}_conv"
    assert ratio < 20
    assert next_ratio > 100


@pytest.mark.parametrize("layer", LAYERS)
def test_it_is_named_in_an_int8_model_too(tmp_path: Path, layer: str) -> None:
    reference = make_network()
    damaged, out_path = damage(reference, layer, 2.0), tmp_path / "int8.onnx"
    quantize_onnx(damaged, out_path, [IMAGES[:1]] * 4, record=RECORD)
    name, ratio, _ = find_guilty(reference, onnx.load(tmp_path / "int8.onnx"))
    assert name == f"{layer}_conv"
    assert ratio < 15


def test_layers_of_an_export_with_other_names_are_matched_by_their_weights() -> None:
    reference, other = make_network(), make_network(prefix="/model/")
    matched = {one.reference: one.other for one in match_tensors(reference, damage(other, "second", 1.1))}
    between = [f"{name}.act" for name in LAYERS] + ["pooled"]
    assert matched == {name: f"/model/{name}" for name in (*LAYERS, *between)} | {"class": "class"}


def test_another_activation_is_found_where_it_acts() -> None:
    name, ratio, _ = find_guilty(make_network(), make_network(activation="HardSwish"))
    assert name.endswith("_act")
    assert ratio < 20


def test_a_repaired_layer_restores_the_reference() -> None:
    reference = make_network()
    other = damage(reference, "third", 3.0)
    compared = match_tensors(reference, other)
    expected = compute_outputs(reference.SerializeToString(), IMAGES)["class"]
    assert np.abs(compute_outputs(other.SerializeToString(), IMAGES)["class"] - expected).max() > 0.01
    mended = repair(other, reference, compared, ["third"])
    onnx.checker.check_model(mended)
    assert compute_outputs(mended.SerializeToString(), IMAGES)["class"] == pytest.approx(expected, abs=1e-5)


def test_repairing_another_layer_restores_nothing() -> None:
    reference = make_network()
    other = damage(reference, "third", 3.0)
    compared = match_tensors(reference, other)
    damaged = compute_outputs(other.SerializeToString(), IMAGES)["class"]
    mended = repair(other, reference, compared, ["first"])
    assert compute_outputs(mended.SerializeToString(), IMAGES)["class"] == pytest.approx(damaged, abs=1e-5)


def test_models_of_two_opsets_are_compared_in_the_later_one() -> None:
    reference, other = align_opsets(make_network(opset=13), damage(make_network(), "first", 2.0))
    assert [model.opset_import[0].version for model in (reference, other)] == [17, 17]
    assert find_guilty(reference, other)[0] == "first_conv"
