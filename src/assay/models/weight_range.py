"""How much of int8 the weights of a quantised model fill, read from the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assay.models.calibration import WeightRange
from assay.models.inspection.graph import QUANTISING, SKIPPED, GraphNode, GraphTensor, ModelGraph
from assay.models.model_file import read_graph

HALF = 64
"""Two products of a uint8 and an int8 of at most this size add up to at most 32,640, which fits 16 bits."""
_LARGEST = 127
# Which inputs of a layer can be weights.
_WEIGHT_INPUTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1,),
    "MatMul": (0, 1),
    "ConvInteger": (1,),
    "MatMulInteger": (1,),
    "QLinearConv": (3,),
    "QLinearMatMul": (3,),
    "com.microsoft.QGemm": (3,),
}
_PASSED = SKIPPED | QUANTISING | {"Transpose", "Mul", "Sub"}  # the last two dequantise in an OpenVINO IR


def find_weight_range(path: Path) -> WeightRange | Literal["unknown"]:
    """The range that a quantised model's int8 weights fill, those of depthwise convolutions left out.

    Those add no products in pairs, and are not halved. Products of activations with activations, as in
    attention, fill the full range. `unknown` where quantised weights cannot be told,
    such as uint8 ones.

    Args:
        path: An ONNX file or OpenVINO IR with quantised layers.

    Raises:
        BadModelError: It cannot be read.
    """
    graph = read_graph(path)
    largest = list(_find_largest_weights(graph))
    if any(value is not None and value > HALF for value in largest):
        return "full"
    return "half" if largest and None not in largest else "unknown"


def _find_largest_weights(graph: ModelGraph) -> Iterator[int | None]:
    """Yield the largest size of a weight of each quantised layer, as int8; None where it cannot be told."""
    for node in graph.nodes:
        places = _WEIGHT_INPUTS.get(node.operator, ())
        found = [_find_weights(graph, node.inputs[place]) for place in places if place < len(node.inputs)]
        for path, tensor in found:
            is_quantised = any(one.operator in QUANTISING for one in path)
            if tensor is not None and not _is_depthwise(node, path, tensor):
                if is_quantised or tensor.dtype in {"int8", "uint8"}:
                    yield _find_largest(graph, path, tensor)
            elif is_quantised and all(other is None for _, other in found):
                yield _LARGEST


def _find_weights(graph: ModelGraph, name: str) -> tuple[list[GraphNode], GraphTensor | None]:
    """The constant that an input comes from, None where there is none, and the nodes on the way to it."""
    path: list[GraphNode] = []
    while name not in graph.tensors:
        maker = graph.makers.get(name)
        if maker is None or maker.operator not in _PASSED or not maker.inputs or maker in path:
            return path, None
        path.append(maker)
        name = maker.inputs[0]
    return path, graph.tensors[name]


def _is_depthwise(node: GraphNode, path: Sequence[GraphNode], weights: GraphTensor) -> bool:
    """Whether each output of a convolution sees one channel alone.

    ONNX tells the groups; an IR gives grouped weights an axis of their own, some by reshaping them.
    """
    is_grouped = (
        node.get("group") not in (None, (1,))
        or len(weights.shape) == 5
        or any(one.operator == "Reshape" for one in path)
    )
    sees_one = all(size == 1 for size in weights.shape[1:-2] or weights.shape[1:2])
    return node.operator in {"Conv", "QLinearConv", "ConvInteger"} and is_grouped and sees_one


def _find_largest(graph: ModelGraph, path: list[GraphNode], weights: GraphTensor) -> int | None:
    values = weights.read()
    if values is None:
        return None
    if weights.dtype == "int8":
        return int(np.abs(values.astype(np.int16)).max(initial=0))
    if weights.dtype == "float32" and path[-1].operator == "QuantizeLinear":
        return _quantise_largest(graph, path[-1], values)
    return None


def _quantise_largest(graph: ModelGraph, node: GraphNode, values: NDArray[np.float32]) -> int | None:
    """The largest size of float weights that a node makes int8 of, without a zero point."""
    scale, zero = (graph.tensors.get(name) for name in (*node.inputs[1:3], "")[:2])
    factors = None if scale is None else scale.read()
    if factors is None or zero is None or zero.dtype != "int8":
        return None
    shape = [1] * values.ndim
    if factors.size > 1:
        shape[int((node.get("axis") or (1,))[0])] = factors.size
    return int(min(_LARGEST, np.rint(np.abs(values / factors.reshape(shape))).max(initial=0)))
