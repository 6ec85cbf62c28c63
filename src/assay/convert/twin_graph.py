"""Two ONNX graphs of one network, tensor by tensor: a twin that shows each layer's own error, and repairs.

In the twin every piece of the other graph computes from the reference's tensors, so that an error shows
where it is made and nowhere after. Comparing the two as they run, each on its own tensors, blames others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from assay.errors import BadModelError, quote_reason

LAYER_TYPES = frozenset({"Conv", "Gemm", "MatMul", "ConvTranspose"})
_SHAPE_TYPES = frozenset({"Shape", "Constant", "ConstantOfShape", "Cast", "Gather", "Unsqueeze", "Squeeze"})
_MOVING_TYPES = frozenset({"Identity", "Pad", "Slice", "Reshape", "Flatten", "Transpose", "Concat"})
_QUANTISER_TYPES = frozenset({"QuantizeLinear", "DequantizeLinear"})
_PASSED_OVER = _SHAPE_TYPES | _MOVING_TYPES | _QUANTISER_TYPES | {"Range"}
_LEAST_COSINE = 0.9  # of one layer in two exports; of two layers it was at most 0.15


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A tensor that both graphs compute, its name in each, and the node of the reference that makes it."""

    reference: str
    other: str
    node: str
    operator: str


def align_opsets(reference: Any, other: Any) -> tuple[Any, Any]:
    """The two models in one opset, the later of theirs.

    Raises:
        BadModelError: onnx cannot convert the older one.
    """
    opsets = [_read_opset(model) for model in (reference, other)]
    aligned = []
    for model, opset in zip((reference, other), opsets, strict=True):
        try:
            later = max(opsets)
            aligned.append(model if opset == later else onnx.version_converter.convert_version(model, later))
        except RuntimeError as error:
            raise BadModelError(
                f"the models have opsets {opsets[0]} and {opsets[1]}, and onnx cannot convert one to the "
                f"other: {quote_reason(error)}",
                hint="export the reference with the opset of the other",
            ) from error
    return aligned[0], aligned[1]


def match_tensors(reference: Any, other: Any) -> list[Compared]:
    """The tensors of images that both graphs compute, in the reference's order.

    By their names, as quantisers keep them; where fewer than half of the layers have theirs, by the cosine of
    the layers' weights.

    Args:
        reference: A ModelProto.
        other: A ModelProto of the same network.
    """
    floats = _list_image_tensors(reference)
    there = {name for node in other.graph.node for name in node.output}
    named = [one for one in floats if one.reference in there]
    layers = [one for one in floats if one.operator in LAYER_TYPES]
    if 2 * sum(one.operator in LAYER_TYPES for one in named) >= len(layers):
        return named
    return _match_by_weights(reference, other, layers)


def build_twin(reference: Any, other: Any, compared: Sequence[Compared]) -> Any:
    """The reference with each piece of the other beside it; two outputs for each tensor, float32 (N,) each.

    `signal.K` is the sum of squares of the reference's tensor number K, `error.K` that of its difference from
    what the other's piece makes of the reference's tensors. The reference's own outputs stay.

    Args:
        reference: A ModelProto; it is not changed.
        other: A ModelProto of the same network, likewise.
        compared: As `match_tensors`.
    """
    twin = onnx.ModelProto()
    twin.CopyFrom(reference)
    _copy_other_domains(twin, other)
    names = {one.other: one.reference for one in compared} | _pair_inputs(other, reference)
    held: set[str] = set()
    for number, one in enumerate(compared):
        borders = {name: target for name, target in names.items() if name != one.other}
        made = _copy_piece(twin.graph, other, one.other, borders, f"twin.{number}/", held)
        _add_errors(twin, one.reference, made, number)
    return twin


def repair(other: Any, reference: Any, compared: Sequence[Compared], chosen: Collection[str]) -> Any:
    """A copy of the other graph in which the chosen tensors are made by the reference's nodes.

    Args:
        other: A ModelProto; it is not changed.
        reference: A ModelProto of the same network, likewise.
        compared: As `match_tensors`.
        chosen: Names of the reference's tensors.
    """
    repaired = onnx.ModelProto()
    repaired.CopyFrom(other)
    names = {one.reference: one.other for one in compared} | _pair_inputs(reference, other)
    held: set[str] = set()
    for number, one in enumerate(one for one in compared if one.reference in chosen):
        borders = {name: target for name, target in names.items() if name != one.reference}
        made = _copy_piece(repaired.graph, reference, one.reference, borders, f"repair.{number}/", held)
        for node in repaired.graph.node:
            _rename(node.output, one.other, f"{one.other}.damaged")
        repaired.graph.node.append(helper.make_node("Identity", [made], [one.other]))
    _sort_nodes(repaired.graph)
    return repaired


def _list_image_tensors(model: Any) -> list[Compared]:
    """The float tensors that depend on the input and are no rearrangement of others."""
    kinds = _infer_types(model)
    fed = {port.name for port in model.graph.input} - {one.name for one in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if not fed & set(node.input):
            continue
        fed |= set(node.output)
        name = node.output[0]
        is_float = kinds.get(name, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT
        if is_float and node.op_type not in _PASSED_OVER:
            found.append(Compared(reference=name, other=name, node=node.name or name, operator=node.op_type))
    return found


def _infer_types(model: Any) -> dict[str, int]:
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        inferred = model
    return {port.name: port.type.tensor_type.elem_type for port in inferred.graph.value_info}


def _match_by_weights(reference: Any, other: Any, layers: Sequence[Compared]) -> list[Compared]:
    """Each layer with the other's layer whose weights point the same way, where there is one."""
    own, others = _read_weights(reference), _read_weights(other)
    matched, taken = [], set()
    for one in layers:
        weights = own.get(one.reference)
        if weights is None:
            continue
        cosines = {
            name: _compute_cosine(weights, each)
            for name, each in others.items()
            if name not in taken and each.size == weights.size
        }
        best = max(cosines, key=cosines.__getitem__, default=None)
        if best is not None and cosines[best] >= _LEAST_COSINE:
            taken.add(best)
            matched.append(
                Compared(reference=one.reference, other=best, node=one.node, operator=one.operator)
            )
    return matched


def _compute_cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of the two as they are, or of one of them turned: exporters store matrices either way."""
    norms = float(np.linalg.norm(one) * np.linalg.norm(other)) or 1.0
    best = float(one.ravel() @ other.ravel())
    if one.ndim == other.ndim == 2:
        best = max(best, float(one.T.ravel() @ other.ravel())) if one.T.shape == other.shape else best
    return best / norms


def _read_weights(model: Any) -> dict[str, NDArray[np.float32]]:
    """The weights of each layer, by the name of the tensor that it makes."""
    tensors = {one.name: one for one in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        if node.op_type in LAYER_TYPES and len(node.input) > 1:
            weights = _read_constant(node.input[1], tensors, makers)
            if weights is not None:
                found[node.output[0]] = weights.astype(np.float32)
    return found


def _read_constant(name: str, tensors: Mapping[str, Any], makers: Mapping[str, Any]) -> NDArray[Any] | None:
    """The value of a tensor that does not depend on the input: stored, or made of one by few operators."""
    if name in tensors:
        return numpy_helper.to_array(tensors[name])
    node = makers.get(name)
    if node is None or node.op_type not in {
        "Constant",
        "DequantizeLinear",
        "Identity",
        "Transpose",
        "QuantizeLinear",
    }:
        return None
    if node.op_type == "Constant":
        return next((numpy_helper.to_array(one.t) for one in node.attribute if one.name == "value"), None)
    value = _read_constant(node.input[0], tensors, makers)
    if value is None or node.op_type in {"Identity", "QuantizeLinear"}:
        return value
    if node.op_type == "Transpose":
        order = next((list(one.ints) for one in node.attribute if one.name == "perm"), None)
        return np.transpose(value, order)
    return _dequantise(value, node, tensors, makers)


def _dequantise(
    value: NDArray[Any], node: Any, tensors: Mapping[str, Any], makers: Mapping[str, Any]
) -> NDArray[Any] | None:
    scale = _read_constant(node.input[1], tensors, makers)
    zero = _read_constant(node.input[2], tensors, makers) if len(node.input) > 2 else np.zeros(())
    if scale is None or zero is None:
        return None
    axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
    shape = [-1 if place == axis % value.ndim else 1 for place in range(value.ndim)] if scale.ndim else []
    centred = value.astype(np.float32) - zero.astype(np.float32).reshape(shape)
    product: NDArray[Any] = centred * scale.reshape(shape)
    return product


def _copy_piece(
    graph: Any, source: Any, tensor: str, borders: Mapping[str, str], prefix: str, held: set[str]
) -> str:
    """Copy what makes a tensor of the tensors at its borders into a graph; returns what it is called there.

    Args:
        graph: Where to; weights go there once, as `held.NAME`.
        source: The model that it is copied from.
        tensor: The tensor that is made.
        borders: What tensors of the source are called in the graph, where the piece begins.
        prefix: Of the copied nodes and tensors.
        held: Names of weights that the graph has by now.
    """
    makers = {name: node for node in source.graph.node for name in node.output}
    weights = {one.name: one for one in source.graph.initializer}
    wanted, seen = [tensor], set()
    nodes: list[Any] = []
    while wanted:
        name = wanted.pop()
        if name in seen or name in borders or not name:
            continue
        seen.add(name)
        if name in weights:
            if name not in held:
                held.add(name)
                graph.initializer.add().CopyFrom(weights[name])
                graph.initializer[-1].name = f"held.{name}"
        elif name in makers and not any(one is makers[name] for one in nodes):
            nodes.append(makers[name])
            wanted += makers[name].input

    def call(name: str) -> str:
        if not name:
            return ""
        if name in borders:
            return borders[name]
        return f"held.{name}" if name in weights else prefix + name

    for node in (node for node in source.graph.node if any(node is one for one in nodes)):
        copied = graph.node.add()
        copied.CopyFrom(node)
        copied.name = prefix + (node.name or node.output[0])
        copied.input[:] = [call(name) for name in node.input]
        copied.output[:] = [prefix + name if name else "" for name in node.output]
    return prefix + tensor


def _add_errors(twin: Any, reference: str, made: str, number: int) -> None:
    """Add the sums of squares of a tensor and of its difference from another one, for each image."""
    graph, start = twin.graph, f"sums.{number}/"
    graph.node.append(helper.make_node("Sub", [reference, made], [f"{start}difference"]))
    for tensor, name in ((reference, "signal"), (f"{start}difference", "error")):
        flat, square = f"{start}{name}.flat", f"{start}{name}.square"
        graph.node.append(helper.make_node("Flatten", [tensor], [flat], axis=1))
        graph.node.append(helper.make_node("Mul", [flat, flat], [square]))
        graph.node.append(_make_sum(twin, square, f"{name}.{number}"))
        graph.output.append(helper.make_tensor_value_info(f"{name}.{number}", onnx.TensorProto.FLOAT, None))


def _make_sum(twin: Any, tensor: str, name: str) -> Any:
    """A node that sums up axis 1: an attribute up to opset 12, then an input."""
    if _read_opset(twin) < 13:
        return helper.make_node("ReduceSum", [tensor], [name], axes=[1], keepdims=0)
    if all(one.name != "sums.axis" for one in twin.graph.initializer):
        twin.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "sums.axis"))
    return helper.make_node("ReduceSum", [tensor, "sums.axis"], [name], keepdims=0)


def _pair_inputs(source: Any, target: Any) -> dict[str, str]:
    """The inputs of one model by those of another: each has one that is no weight."""
    return dict(zip(_list_inputs(source), _list_inputs(target), strict=False))


def _list_inputs(model: Any) -> list[str]:
    weights = {one.name for one in model.graph.initializer}
    return [port.name for port in model.graph.input if port.name not in weights]


def _read_opset(model: Any) -> int:
    return next((one.version for one in model.opset_import if one.domain in {"", "ai.onnx"}), 0)


def _copy_other_domains(twin: Any, other: Any) -> None:
    known = {one.domain for one in twin.opset_import}
    for one in other.opset_import:
        if one.domain not in known:
            twin.opset_import.add().CopyFrom(one)


def _rename(names: Any, old: str, new: str) -> None:
    for place, name in enumerate(names):
        if name == old:
            names[place] = new


def _sort_nodes(graph: Any) -> None:
    """Put every node behind those that it reads."""
    made = {name for node in graph.node for name in node.output}
    left, ordered, known = list(graph.node), [], set()
    while left:
        ready = [node for node in left if all(name not in made or name in known for name in node.input)]
        if not ready:
            raise ValueError("the graph has a cycle")
        ordered += ready
        known |= {name for node in ready for name in node.output}
        left = [node for node in left if not any(node is one for one in ready)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def list_layer_names(model: Any, tensors: Iterable[str]) -> list[str]:
    """The names of the nodes that make these tensors, in the graph's order."""
    wanted = set(tensors)
    return [node.name for node in model.graph.node if wanted & set(node.output)]
