"""A float ONNX graph as another chip computes it: what it keeps of each tensor is rounded, sums are not.

The chips multiply narrow numbers, add in float32, and store what a layer gives in the narrow type again. A
layer, its bias and the activation behind it are one kernel there, and so are a layer and the addition behind
it: what is inside one is not rounded. The outputs stay in float32, as engines hand them over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from assay.errors import BadModelError

FloatArithmetic = Literal["fp16", "bf16", "tf32"]
LARGEST_FP16 = 65504.0  # IEEE 754 binary16; from 65520 on it rounds to infinity
LAYER_TYPES = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose"})
# These make no new values, so that there is nothing to round
_MOVING = frozenset(
    {
        "Identity",
        "Pad",
        "Slice",
        "Reshape",
        "Flatten",
        "Transpose",
        "Concat",
        "Squeeze",
        "Unsqueeze",
        "Gather",
    }
    | {"Split", "Expand", "Tile", "MaxPool"}
)
_NARROW = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}
_ACTIVATIONS = frozenset(
    {"Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Gelu"}
    | {"BatchNormalization"}
)
_SPLITTER = "emulated.splitter"


def emulate_arithmetic(model: Any, arithmetic: FloatArithmetic) -> Any:
    """A copy of the graph that rounds as chips of this arithmetic do, to the nearest, ties to even.

    fp16 and bf16: the input, the layers' weights and biases, and each tensor that a kernel stores; fp16 has
    its range too, from 65520 on infinity. tf32: what layers multiply, and nothing else.

    Args:
        model: A ModelProto that computes in float32, of opset 13 or later; it is not changed.
        arithmetic: Of the chip.

    Raises:
        BadModelError: It is quantised, so that it does not compute in float.
    """
    _refuse_quantised(model)
    emulated = onnx.ModelProto()
    emulated.CopyFrom(model)
    graph = emulated.graph
    if arithmetic == "tf32":
        rounded = _list_multiplied(model, biases=False)
        graph.initializer.append(numpy_helper.from_array(np.array(2**13 + 1, np.float32), _SPLITTER))
    else:
        rounded = [*_list_multiplied(model, biases=True, made=False), *list_stored(model)]
    _round_tensors(graph, dict.fromkeys(rounded), arithmetic)
    return emulated


def list_stored(model: Any) -> list[str]:
    """The tensors of images that kernels store, the input first, in the graph's order."""
    inside = _find_inside_kernels(model)
    held = {port.name for port in model.graph.output} | inside
    made = [name for name in _list_made(model) if name not in held]
    fed = _find_input(model)
    return [fed.name, *made] if fed.type.tensor_type.elem_type == onnx.TensorProto.FLOAT else made


def add_peaks(model: Any, tensors: list[str]) -> Any:
    """A copy of the graph with an output `peak.K`, float32 (N,): the largest absolute value of tensor K."""
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    for number, tensor in enumerate(tensors):
        flat, size, name = f"peak.{number}/flat", f"peak.{number}/size", f"peak.{number}"
        graph.node.append(helper.make_node("Flatten", [tensor], [flat], axis=1))
        graph.node.append(helper.make_node("Abs", [flat], [size]))
        graph.node.append(_make_maximum(measured, size, name))
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return measured


def _make_maximum(model: Any, tensor: str, name: str) -> Any:
    """A node that takes the maximum over axis 1: an attribute up to opset 17, then an input."""
    opset = next(one.version for one in model.opset_import if one.domain in {"", "ai.onnx"})
    if opset < 18:
        return helper.make_node("ReduceMax", [tensor], [name], axes=[1], keepdims=0)
    if all(one.name != "peak.axis" for one in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "peak.axis"))
    return helper.make_node("ReduceMax", [tensor, "peak.axis"], [name], keepdims=0)


def _refuse_quantised(model: Any) -> None:
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node):
        raise BadModelError(
            "the ONNX file is quantised, and floats of another width are emulated of a float one",
            hint="give the float ONNX file, or --emulate int8-no-vnni",
        )


def _list_made(model: Any) -> list[str]:
    """The float tensors that are computed of the images, but for those that move values only."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        inferred = model
    kinds = {port.name: port.type.tensor_type.elem_type for port in inferred.graph.value_info}
    of_images, made = {_find_input(model).name}, []
    for node in model.graph.node:
        if node.op_type in ("Shape", "Size") or not of_images & set(node.input):
            continue
        of_images |= set(node.output)
        is_float = kinds.get(node.output[0], onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
        if is_float and node.op_type not in _MOVING:
            made.append(node.output[0])
    return made


def _find_input(model: Any) -> Any:
    weights = {one.name for one in model.graph.initializer}
    return next(port for port in model.graph.input if port.name not in weights)


def _list_multiplied(model: Any, *, biases: bool, made: bool = True) -> list[str]:
    """What layers take in: weights, with their biases or without, and what is made of the images or not."""
    of_images = {_find_input(model).name}
    for node in model.graph.node:
        if of_images & set(node.input):
            of_images |= set(node.output)
    names = [
        name
        for node in model.graph.node
        if node.op_type in LAYER_TYPES
        for name in (node.input if biases else node.input[:2])
        if name
    ]
    return [name for name in names if made or name not in of_images]


def _find_inside_kernels(model: Any) -> set[str]:
    """The tensors between a layer and what is computed with it: activations, and one addition."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {port.name for port in model.graph.output}
    inside: set[str] = set()
    for layer in (node for node in model.graph.node if node.op_type in LAYER_TYPES):
        tensor, added = layer.output[0], False
        while tensor not in outputs and (last := _find_fused(tensor, readers)) is not None:
            if last.op_type == "Add":
                # Of two layers that are added, one is stored before the other goes on with it
                if added or inside & set(last.input):
                    break
                added = True
            inside |= set(last.input) if last.op_type == "Mul" else {tensor}
            tensor = last.output[0]
    return inside


def _find_fused(tensor: str, readers: dict[str, list[Any]]) -> Any | None:
    """The activation or addition with which a kernel goes on, of x times the sigmoid of x the product."""
    reading = readers.get(tensor, [])
    if sorted(node.op_type for node in reading) == ["Mul", "Sigmoid"]:  # SiLU, known as swish too
        gate, product = sorted(reading, key=lambda node: node.op_type, reverse=True)
        return product if set(product.input) == {tensor, gate.output[0]} else None
    if len(reading) == 1 and reading[0].op_type in _ACTIVATIONS | {"Add"}:
        return reading[0]
    return None


def _round_tensors(graph: Any, tensors: dict[str, None], arithmetic: FloatArithmetic) -> None:
    """Put what rounds it behind each tensor, before all that reads it."""
    nodes: list[Any] = []
    made = {name for node in graph.node for name in node.output}
    for name in tensors:
        if name not in made:
            nodes += _make_rounding(name, f"{name}.rounded", arithmetic)
    for node in graph.node:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [f"{name}.rounded" if name in tensors else name for name in node.input]
        nodes.append(copied)
        for name in node.output:
            if name in tensors:
                nodes += _make_rounding(name, f"{name}.rounded", arithmetic)
    del graph.node[:]
    graph.node.extend(nodes)


def _make_rounding(name: str, rounded: str, arithmetic: FloatArithmetic) -> Iterator[Any]:
    """Nodes that round a tensor: casts, and for tf32, which has no type, the split of T. J. Dekker (1971)."""
    if arithmetic != "tf32":
        yield helper.make_node("Cast", [name], [f"{rounded}.narrow"], to=_NARROW[arithmetic])
        yield helper.make_node("Cast", [f"{rounded}.narrow"], [rounded], to=onnx.TensorProto.FLOAT)
        return
    yield helper.make_node("Mul", [name, _SPLITTER], [f"{rounded}.product"])
    yield helper.make_node("Sub", [f"{rounded}.product", name], [f"{rounded}.rest"])
    yield helper.make_node("Sub", [f"{rounded}.product", f"{rounded}.rest"], [rounded])
