"""A quantised ONNX graph as processors without VNNI compute it: sums of two products saturate at 16 bits.

Before AVX-VNNI and AVX-512 VNNI, x86 multiplies bytes by VPMADDUBSW: an unsigned activation times a signed
weight, two neighbouring input channels added, and held at -32768 or 32767 (Intel's manual, volume 2). Two
weights of more than 128 together are enough. Depthwise layers add no channels, and where activations
are signed oneDNN halves the weights instead: neither is changed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from assay.convert.emulate_arithmetic import LAYER_TYPES
from assay.errors import BadModelError

LOWEST, HIGHEST, _LARGEST_BYTE = -(2**15), 2**15 - 1, 255
_PASSED = frozenset({"Pad", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "MaxPool"})


@dataclass(frozen=True, kw_only=True, eq=False)
class _Layer:
    """A layer of int8, its activations unsigned.

    Args:
        node: Of the graph that is changed.
        weights: (outputs, inputs of a group, height, width), or (outputs, inputs).
        weight_scales: (outputs,).
        scale: Of the activations.
        zero_point: Of the activations, 0 to 255.
        group_count: Of a convolution.
    """

    node: Any
    weights: NDArray[np.float32]
    weight_scales: NDArray[np.float32]
    scale: float
    zero_point: float
    group_count: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """The pairs of neighbouring inputs whose sum can saturate: R of them, of a layer."""

    outputs: NDArray[np.int64]  # (R,)
    inputs: NDArray[np.int64]  # (R, 2), of all the layer's inputs
    weights: NDArray[np.float32]  # (R, 2)
    places: NDArray[np.int64]  # (R, 2): row and column in the kernel


def saturate_sums(model: Any) -> tuple[Any, dict[str, int]]:
    """A copy of the graph whose layers lose what saturates, and how many pairs of weights can, by layer.

    Args:
        model: A ModelProto with quantise/dequantise pairs; it is not changed.

    Raises:
        BadModelError: It has no layer of int8.
    """
    saturated = onnx.ModelProto()
    saturated.CopyFrom(model)
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    constants |= {
        name: numpy_helper.to_array(node.attribute[0].t)
        for name, node in makers.items()
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    if not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise BadModelError(
            "the ONNX file is not quantised, and what saturates are sums of int8",
            hint="give the int8 file that `assay quantize` wrote",
        )
    counts: dict[str, int] = {}
    nodes = []
    for node in saturated.graph.node:
        nodes.append(node)
        layer = _read_layer(node, makers, constants)
        pairs = None if layer is None else _find_pairs(layer)
        if layer is not None and pairs is not None and len(pairs.outputs):
            counts[node.name or node.output[0]] = len(pairs.outputs)
            nodes += _lose_excess(saturated.graph, layer, pairs)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del saturated.graph.node[:]
    saturated.graph.node.extend(copies)
    return saturated, counts


def _read_layer(node: Any, makers: dict[str, Any], constants: dict[str, NDArray[Any]]) -> _Layer | None:
    """A layer whose activations are unsigned bytes and whose weights are signed ones; None for others."""
    if node.op_type not in LAYER_TYPES - {"ConvTranspose"}:
        return None
    fed, held = _find_quantised(node.input[0], makers), makers.get(node.input[1])
    if fed is None or held is None or held.op_type != "DequantizeLinear" or held.input[0] not in constants:
        return None
    weights, zero_point = constants[held.input[0]], constants.get(fed.input[2] if len(fed.input) > 2 else "")
    if weights.dtype != np.int8 or zero_point is None or zero_point.dtype != np.uint8 or zero_point.size != 1:
        return None
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if node.op_type == "MatMul" or (node.op_type == "Gemm" and not attributes.get("transB", 0)):
        weights = weights.swapaxes(-1, -2)
    if node.op_type != "Conv" and (weights.ndim != 2 or attributes.get("transA", 0)):
        return None
    return _Layer(
        node=node,
        weights=weights.astype(np.float32),
        weight_scales=np.broadcast_to(constants[held.input[1]].ravel(), len(weights)).astype(np.float32),
        scale=float(constants[fed.input[1]].ravel()[0]),
        zero_point=float(zero_point.ravel()[0]),
        group_count=int(attributes.get("group", 1)),
    )


def _find_quantised(name: str, makers: dict[str, Any]) -> Any | None:
    """What dequantises a tensor, before what only moves its values."""
    node = makers.get(name)
    while node is not None and node.op_type in _PASSED:
        node = makers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _find_pairs(layer: _Layer) -> _Pairs | None:
    """Inputs 0 and 1, 2 and 3, … of one place of the kernel, where the largest activations saturate."""
    weights = layer.weights.reshape(*layer.weights.shape[:2], *(layer.weights.shape[2:] or (1, 1)))
    even = weights.shape[1] // 2 * 2
    if weights.ndim != 4 or not even:
        return None
    both = np.stack([weights[:, 0:even:2], weights[:, 1:even:2]])  # (2, outputs, inputs / 2, height, width)
    high, low = np.maximum(both, 0).sum(axis=0), np.minimum(both, 0).sum(axis=0)
    outputs, halves, rows, columns = np.nonzero(
        (high * _LARGEST_BYTE > HIGHEST) | (low * _LARGEST_BYTE < LOWEST)
    )
    starts = outputs // (len(weights) // layer.group_count) * weights.shape[1]  # of each output's group
    return _Pairs(
        outputs=outputs,
        inputs=np.stack([starts + 2 * halves, starts + 2 * halves + 1], axis=1),
        weights=both[:, outputs, halves, rows, columns].T,
        places=np.stack([rows, columns], axis=1),
    )


def _lose_excess(graph: Any, layer: _Layer, pairs: _Pairs) -> list[Any]:
    """Nodes that take from a layer's tensor what each pair's sum has beyond 16 bits, times both scales."""
    tensor, count = layer.node.output[0], len(pairs.outputs)
    start, is_convolution = f"{tensor}/saturated", layer.node.op_type == "Conv"
    layer.node.output[0] = f"{start}/whole"
    shares = np.zeros((len(layer.weights), count), np.float32)  # (outputs, R)
    shares[pairs.outputs, np.arange(count)] = (layer.weight_scales * layer.scale)[pairs.outputs]
    constants = {
        "low": np.float32(LOWEST),
        "high": np.float32(HIGHEST),
        "shares": shares[:, :, None, None] if is_convolution else shares.T,
        "offsets": layer.zero_point * pairs.weights.sum(axis=1),
    }
    _add_constants(graph, start, constants)
    sums, held, excess, loss = (f"{start}/{name}" for name in ("sums", "held", "excess", "loss"))
    last = "Conv" if is_convolution else "MatMul"
    return [
        *(_convolve if is_convolution else _multiply)(graph, layer, pairs, start),
        helper.make_node("Clip", [sums, f"{start}/low", f"{start}/high"], [held]),
        helper.make_node("Sub", [sums, held], [excess]),
        helper.make_node(last, [excess, f"{start}/shares"], [loss]),
        helper.make_node("Sub", [f"{start}/whole", loss], [tensor]),
    ]


def _convolve(graph: Any, layer: _Layer, pairs: _Pairs, start: str) -> Iterator[Any]:
    """Nodes that make `sums`, (N, R, height, width): strides and padding of the layer, two inputs a group."""
    count = len(pairs.outputs)
    kernels = np.zeros((count, 2, *layer.weights.shape[2:]), np.float32)
    kernels[np.arange(count), :, pairs.places[:, 0], pairs.places[:, 1]] = pairs.weights / layer.scale
    _add_constants(graph, start, {"order": pairs.inputs.ravel(), "kernels": kernels})
    yield helper.make_node("Gather", [layer.node.input[0], f"{start}/order"], [f"{start}/inputs"], axis=1)
    copied = onnx.NodeProto()
    copied.CopyFrom(layer.node)
    copied.name = f"{start}/Conv"
    copied.input[:] = [f"{start}/inputs", f"{start}/kernels", f"{start}/offsets"]
    copied.output[:] = [f"{start}/sums"]
    for attribute in [one for one in copied.attribute if one.name == "group"]:
        copied.attribute.remove(attribute)
    copied.attribute.append(helper.make_attribute("group", count))
    yield copied


def _multiply(graph: Any, layer: _Layer, pairs: _Pairs, start: str) -> Iterator[Any]:
    """Nodes that make `sums`, (…, R): products of two entries of the last axis, and their offset."""
    terms = []
    for number in range(2):
        order, weights, taken, term = (
            f"{start}/{name}.{number}" for name in ("order", "weights", "taken", "term")
        )
        _add_constants(
            graph, "", {order: pairs.inputs[:, number], weights: pairs.weights[:, number] / layer.scale}
        )
        yield helper.make_node("Gather", [layer.node.input[0], order], [taken], axis=-1)
        yield helper.make_node("Mul", [taken, weights], [term])
        terms.append(term)
    yield helper.make_node("Add", terms, [f"{start}/both"])
    yield helper.make_node("Add", [f"{start}/both", f"{start}/offsets"], [f"{start}/sums"])


def _add_constants(graph: Any, start: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        array = np.asarray(value)
        array = array if array.dtype == np.int64 else array.astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(array, f"{start}/{name}" if start else name))
