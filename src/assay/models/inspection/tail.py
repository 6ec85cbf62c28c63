"""Which output of a network holds the scores, what they are, and of how many classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from assay.models.inspection.graph import QUANTISING, SKIPPED, GraphNode, ModelGraph
from assay.models.onnx_file import Port

_FLOATS = ("float32", "float16", "float64", "bfloat16")
_PASSED = SKIPPED | QUANTISING | {"Transpose"}
_LAYERS = frozenset(
    {"Gemm", "MatMul", "Conv", "QLinearConv", "QLinearMatMul", "QGemm", "com.microsoft.QGemm"}
)
_LOGITS_AFTER = frozenset(
    {"Add", "Sub", "Mul", "Div", "GlobalAveragePool", "ReduceMean", "AveragePool", "Clip"}
)
_BEFORE_LAYERS = _LOGITS_AFTER | _PASSED


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What an output holds.

    Args:
        port: The output.
        scores: "logits", "probabilities", "sigmoid", "class index" and "best scores" (of ArgMax and TopK), or
            empty where that is not told.
        decided_by: The operator that says so; empty where there is none.
        class_count: How many classes; None where that is not told.
        depth: Nodes on the longest path to it, without what turns logits into other scores.
        fault: What is wrong with it, mostly empty.
    """

    port: Port
    scores: str
    decided_by: str
    class_count: int | None
    depth: int
    fault: str = ""

    @property
    def can_hold_scores(self) -> bool:
        """Whether it can hold a row of scores for each image."""
        return self.class_count is not None and self.class_count > 1 and not self.fault


def read_tails(graph: ModelGraph) -> list[Tail]:
    """What each output holds, those that can hold scores first, the longest path first."""
    tails = [_read_tail(graph, port) for port in graph.outputs]
    return sorted(tails, key=lambda tail: (not tail.can_hold_scores, -tail.depth))


def choose_tail(tails: list[Tail]) -> Tail | None:
    """The output with the scores; None where several may hold them, or none does.

    The one with the longest path is taken: the others are features, or heads that help training. Of logits
    and what a softmax makes of them, the logits.
    """
    fitting = [tail for tail in tails if tail.can_hold_scores]
    deepest = [tail for tail in fitting if tail.depth == fitting[0].depth]
    if len(deepest) > 1:
        deepest = [tail for tail in deepest if tail.scores == "logits"] or deepest
    return deepest[0] if len(deepest) == 1 else None


def _read_tail(graph: ModelGraph, port: Port) -> Tail:
    node = find_deciding(graph, port.name)
    scores, fault = _name_scores(graph, node, port)
    before = node.inputs[0] if node and scores in ("probabilities", "sigmoid") and node.inputs else port.name
    return Tail(
        port=port,
        scores=scores,
        decided_by=node.operator if node else "",
        class_count=_count_classes(graph, port),
        depth=_measure_depth(graph, before),
        fault=fault,
    )


def find_deciding(graph: ModelGraph, tensor: str) -> GraphNode | None:
    """The last node before the tensor that changes values."""
    for _ in range(len(graph.nodes)):
        node = graph.makers.get(tensor)
        if node is None or node.operator not in _PASSED or not node.inputs:
            return node
        tensor = node.inputs[0]
    return None


def _measure_depth(graph: ModelGraph, tensor: str) -> int:
    """The depth of the node that computes the tensor, however many nodes then only hand it on."""
    node = find_deciding(graph, tensor)
    return graph.depths[node.outputs[0]] if node else 0


def _name_scores(graph: ModelGraph, node: GraphNode | None, port: Port) -> tuple[str, str]:
    """What the values are, and what is wrong with them."""
    operator = node.operator if node else ""
    if operator in {"ArgMax", "TopK"}:
        is_best = operator == "TopK" and port.dtype in _FLOATS
        return "best scores" if is_best else "class index", f"{operator} keeps no score for each class"
    if port.dtype not in (*_FLOATS, ""):
        return "", f"it holds {port.dtype}"
    if node is None:
        return "", ""
    if operator == "Softmax" or _is_softmax_in_steps(graph, node):
        return "probabilities", _find_axis_fault(graph, node, port)
    if operator in {"Sigmoid", "HardSigmoid"}:
        return "sigmoid", ""
    if operator in {*_LAYERS, "LogSoftmax"} or (operator in _LOGITS_AFTER and _follows_layer(graph, node)):
        return "logits", ""
    return "", ""


def _follows_layer(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether there is only arithmetic and pooling between a layer and the node, and no softmax."""
    found: GraphNode | None = node
    for _ in range(len(graph.nodes)):
        if found is None or found.operator not in _BEFORE_LAYERS:
            break
        computed = (name for name in found.inputs if graph.find_constant(name) is None)
        found = graph.makers.get(next(computed, ""))
    return found is not None and found.operator in _LAYERS


def _find_axis_fault(graph: ModelGraph, node: GraphNode, port: Port) -> str:
    """What is wrong where a softmax is taken over the images of a batch."""
    axis = (node.get("axis") or (-1.0 if graph.opset >= 13 or graph.form != "ONNX" else 1.0,))[0]
    if node.operator != "Softmax" or port.shape is None:
        return ""
    if axis in (0, -len(port.shape)):
        return "its Softmax is over the images of a batch, not the classes"
    is_one = len(port.shape) == 4 and axis in (-1, 3) and graph.opset >= 13 and port.shape[3] == 1
    return "its Softmax is over an axis of 1: every score is 1" if is_one else ""


def _is_softmax_in_steps(graph: ModelGraph, node: GraphNode) -> bool:
    """Whether the node divides exponentials by their sum."""
    if node.operator != "Div" or len(node.inputs) != 2:
        return False
    above, below = (graph.makers.get(name) for name in node.inputs)
    return bool(above and below and above.operator == "Exp" and below.operator == "ReduceSum")


def _count_classes(graph: ModelGraph, port: Port) -> int | None:
    """How many classes: by the declared shape, else by the weights of the last layer."""
    if port.shape is not None:
        axes = [size for size in port.shape[1:] if size != 1]
        if len(axes) > 1 or not axes:
            return None
        if axes[0] is not None:
            return axes[0]
    return next(_list_layer_sizes(graph, port.name), None)


def _list_layer_sizes(graph: ModelGraph, tensor: str) -> Iterator[int]:
    """Yield how many numbers the last layer before the tensor gives, where one is reached."""
    for _ in range(len(graph.nodes)):
        node = graph.makers.get(tensor)
        if node is None or not node.inputs:
            return
        if node.operator in _LAYERS:
            weights = [found for name in node.inputs if (found := graph.find_constant(name)) is not None]
            shape = next((found.shape for found in weights if len(found.shape) in (2, 4)), ())
            if shape:
                is_columns = (
                    len(shape) == 2 and node.get("transB") != (1,) and node.get("transpose_b") != (1,)
                )
                yield shape[1] if is_columns else shape[0]
            return
        if node.operator not in {*_BEFORE_LAYERS, "Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid"}:
            return
        tensor = next((name for name in node.inputs if graph.find_constant(name) is None), "")
