"""Two ONNX graphs of one network, tensor by tensor: a twin that shows each layer's own error, and repairs.

In the twin every piece of the other graph computes from the reference's tensors, so that an error shows
where it is made and nowhere after. Comparing the two as they run, each on its own tensors, blames others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import helper, numpy_helper

from assay.convert.match_tensors import Compared
from assay.errors import BadModelError, quote_reason


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


def build_twin(reference: Any, other: Any, compared: Sequence[Compared]) -> Any:
    """The reference with each piece of the other beside it; three outputs for each tensor, float32 (N,) each.

    `signal.K` is the sum of squares of the reference's tensor number K, `error.K` that of its difference from
    what the other's piece makes of the reference's tensors, `peak.K` the largest magnitude in the
    reference's. The reference's own outputs stay.

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
    nodes = list(source.graph.node)
    makers = {name: place for place, node in enumerate(nodes) for name in node.output}
    weights = {one.name: one for one in source.graph.initializer}
    wanted, seen, chosen = [tensor], set(), set()
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
        elif name in makers and makers[name] not in chosen:
            chosen.add(makers[name])
            wanted += nodes[makers[name]].input

    def call(name: str) -> str:
        if not name:
            return ""
        if name in borders:
            return borders[name]
        return f"held.{name}" if name in weights else prefix + name

    for place in sorted(chosen):
        node, copied = nodes[place], graph.node.add()
        copied.CopyFrom(node)
        copied.name = prefix + (node.name or node.output[0])
        copied.input[:] = [call(name) for name in node.input]
        copied.output[:] = [prefix + name if name else "" for name in node.output]
    return prefix + tensor


def _add_errors(twin: Any, reference: str, made: str, number: int) -> None:
    """Add the sums of squares of a tensor and of its difference from another one, and its peak, by image."""
    graph, start = twin.graph, f"sums.{number}/"
    graph.node.append(helper.make_node("Sub", [reference, made], [f"{start}difference"]))
    for tensor, name in ((reference, "signal"), (f"{start}difference", "error")):
        flat, square = f"{start}{name}.flat", f"{start}{name}.square"
        graph.node.append(helper.make_node("Flatten", [tensor], [flat], axis=1))
        graph.node.append(helper.make_node("Mul", [flat, flat], [square]))
        graph.node.append(_make_reduction("ReduceSum", 13, twin, square, f"{name}.{number}"))
    graph.node.append(helper.make_node("Abs", [f"{start}signal.flat"], [f"{start}magnitude"]))
    graph.node.append(_make_reduction("ReduceMax", 18, twin, f"{start}magnitude", f"peak.{number}"))
    for name in ("signal", "error", "peak"):
        graph.output.append(helper.make_tensor_value_info(f"{name}.{number}", onnx.TensorProto.FLOAT, None))


def _make_reduction(operator: str, since: int, twin: Any, tensor: str, name: str) -> Any:
    """A node that reduces axis 1: an attribute before the opset in which it became an input."""
    if _read_opset(twin) < since:
        return helper.make_node(operator, [tensor], [name], axes=[1], keepdims=0)
    if all(one.name != "sums.axis" for one in twin.graph.initializer):
        twin.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "sums.axis"))
    return helper.make_node(operator, [tensor, "sums.axis"], [name], keepdims=0)


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
    nodes = list(graph.node)
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    needs = {
        place: {makers[name] for name in node.input if name in makers} for place, node in enumerate(nodes)
    }
    order = list(TopologicalSorter(needs).static_order())
    copies = [onnx.NodeProto.FromString(nodes[place].SerializeToString()) for place in order]
    del graph.node[:]
    graph.node.extend(copies)
