"""The head of an ONNX graph, up to one of its tensors, as a classifier whose logits are that tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from assay.convert.graph_steps import Graph, list_steps


def list_cuts(model: Any) -> list[tuple[str, str]]:
    """The tensors that all images pass through, in order, each with the node that makes it.

    A graph that is cut at one of them falls apart in two: nothing behind it reads what is before it.

    Args:
        model: A ModelProto.
    """
    graph = Graph(model)
    last_read: dict[str, int] = {}
    for place, node in enumerate(model.graph.node):
        if node.output[0] in graph.fed:
            last_read |= {name: place for name in node.input if name in graph.fed}
    steps = {step.tensor: step for step in list_steps(graph)}
    cuts, crossing = [], set(graph.inputs)
    for place, node in enumerate(model.graph.node):
        crossing = {
            name for name in crossing | (set(node.output) & graph.fed) if last_read.get(name, -1) > place
        }
        step = steps.get(node.output[0])
        known = step is not None and step.shape is not None and None not in step.shape[1:]
        if step is not None and known and crossing == {step.tensor}:
            cuts.append((step.tensor, step.node))
    return cuts


def cut_head(model: Any, tensor: str, output_name: str) -> tuple[Any, int]:
    """The graph up to the tensor, made flat: (N, values), and how many values an image has.

    Args:
        model: A ModelProto.
        tensor: One of `list_cuts`.
        output_name: What the flat tensor is called.
    """
    count = int(np.prod(_read_sizes(model, tensor)))
    head = _keep_between(model, set(), tensor)
    for node in head.graph.node:  # the tensor may have the output's name
        for names in (node.input, node.output):
            names[:] = [f"{name}.whole" if name == tensor else name for name in names]
    flat = helper.make_node("Flatten", [f"{tensor}.whole"], [output_name], name="assay.flatten", axis=1)
    head.graph.node.append(flat)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    size = batch.dim_value or batch.dim_param or "batch"
    head.graph.output.append(
        helper.make_tensor_value_info(output_name, onnx.TensorProto.FLOAT, [size, count])
    )
    return head, count


def cut_tail(model: Any, tensor: str) -> Any:
    """The graph from the tensor on, which it takes flat, as `cut_head` gives it."""
    (port,) = model.graph.output
    sizes = _read_sizes(model, tensor)
    tail = _keep_between(model, {tensor}, port.name)
    tail.graph.initializer.append(numpy_helper.from_array(np.array([-1, *sizes], np.int64), "assay.sizes"))
    node = helper.make_node("Reshape", ["assay.head", "assay.sizes"], [tensor], name="assay.reshape")
    tail.graph.node.insert(0, node)
    del tail.graph.input[:]
    shape: list[str | int] = ["batch", int(np.prod(sizes))]
    tail.graph.input.append(helper.make_tensor_value_info("assay.head", onnx.TensorProto.FLOAT, shape))
    tail.graph.output.append(port)
    return tail


def _read_sizes(model: Any, tensor: str) -> list[int]:
    shape = next(step.shape for step in list_steps(Graph(model)) if step.tensor == tensor) or ()
    return [size or 1 for size in shape[1:]]


def _keep_between(model: Any, starts: set[str], end: str) -> Any:
    """A copy with what makes one tensor of others, without outputs, and the weights that it needs."""
    makers = {name: place for place, node in enumerate(model.graph.node) for name in node.output if name}
    waiting, kept, read = [end], set(), set()
    while waiting:
        name = waiting.pop()
        read.add(name)
        if name in makers and name not in starts and makers[name] not in kept:
            kept.add(makers[name])
            waiting += model.graph.node[makers[name]].input
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.initializer[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(model.graph.node[place] for place in sorted(kept))
    part.graph.initializer.extend(one for one in model.graph.initializer if one.name in read)
    return part
