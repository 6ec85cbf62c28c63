"""One network in the forms that exporters give it: each changes an ONNX file, and what its record says."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from assay.arrays import Images, Logits, Pixels
from assay.models.record import ModelRecord
from brightness_classifier import make_brightness_record

Changes = Mapping[str, Mapping[str, Any]]
"""Keys of the record that differ, by its table."""
Change = Callable[[Any, ModelRecord], Changes]
"""Changes the model in place, and says how its record differs."""
DTYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
LOWEST_OPSET, OWN_OPSET, HIGHEST_OPSET = 7, 17, 26
"""Those that ONNX Runtime 1.31 and OpenVINO 2026.4 read."""


def change_record(record: ModelRecord, changes: Changes) -> ModelRecord:
    """The record with these keys."""
    tables = {name: msgspec.structs.replace(getattr(record, name), **keys) for name, keys in changes.items()}
    return msgspec.structs.replace(record, **tables)


def keep(model: Any, record: ModelRecord) -> Changes:
    """No change."""
    del model, record
    return {}


def take(layout: str, dtype: str) -> Change:
    """An input of that layout and type, and nodes that make the old one of it; of uint8 they normalise."""

    def change(model: Any, record: ModelRecord) -> Changes:
        steps: list[tuple[str, dict[str, Any]]] = []
        if dtype != "float32":
            steps.append(("Cast", {"to": TensorProto.FLOAT}))
        if dtype == "uint8":
            made = record.preprocessing
            steps += [("Div", {"constant": [made.pixel_scale] * 3}), ("Sub", {"constant": made.mean})]
            steps.append(("Div", {"constant": made.std}))
        if layout == "NHWC":
            steps.append(("Transpose", {"perm": [0, 3, 1, 2]}))
        _put_in_front(model.graph, steps, layout, record.input.name)
        sizes = [record.input.height, record.input.width]
        axes = [*sizes, 3] if layout == "NHWC" else [3, *sizes]
        port = helper.make_tensor_value_info("fed", DTYPES[dtype], ["batch", *axes])
        model.graph.input[0].CopyFrom(port)
        kept = {"pixel_scale": 1.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}
        keys = {"input": {"name": "fed", "layout": layout, "dtype": dtype}}
        return keys | ({"preprocessing": kept} if dtype == "uint8" else {})

    return change


def _put_in_front(graph: Any, steps: list[tuple[str, dict[str, Any]]], layout: str, name: str) -> None:
    """Nodes from the tensor `fed` to the tensor of that name."""
    tensors = ["fed", *(f"fed_{number}" for number in range(1, len(steps))), name]
    for place, (operator, attributes) in enumerate(steps):
        inputs = [tensors[place]]
        if (values := attributes.pop("constant", None)) is not None:
            array = np.array(values, np.float32).reshape((1, 1, 1, 3) if layout == "NHWC" else (1, 3, 1, 1))
            inputs.append(f"constant_{place}")
            graph.initializer.append(numpy_helper.from_array(array, inputs[1]))
        graph.node.insert(place, helper.make_node(operator, inputs, [tensors[place + 1]], **attributes))


def compute_in_float16(model: Any, record: ModelRecord) -> Changes:
    """Weights, input and output in float16, as ONNX Runtime's tool converts them."""
    model.CopyFrom(convert_float_to_float16(model, keep_io_types=False))
    del record
    return {"input": {"dtype": "float16"}}


def put_behind(
    model: Any,
    record: ModelRecord,
    operator: str,
    constants: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> Any:
    """Put a node behind the scores, whose output is `given`; returns its declaration, that of the old one."""
    graph, values = model.graph, constants or {}
    for name, value in values.items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    inputs = [record.output.name, *values]
    graph.node.append(helper.make_node(operator, inputs, ["given"], **attributes))
    graph.output[0].name = "given"
    return graph.output[0].type.tensor_type


def give(operator: str, scores: str) -> Change:
    """Scores that are what the operator makes of the logits."""

    def change(model: Any, record: ModelRecord) -> Changes:
        put_behind(model, record, operator)
        return {"output": {"name": "given", "scores": scores}}

    return change


def give_axes_of_one(model: Any, record: ModelRecord) -> Changes:
    """(N, classes, 1, 1), as networks that end in a convolution give it."""
    declared = put_behind(model, record, "Unsqueeze", {"given_axes": [2, 3]})
    for _ in range(2):
        declared.shape.dim.add().dim_value = 1
    return {"output": {"name": "given"}}


def give_float16(model: Any, record: ModelRecord) -> Changes:
    """Scores that are rounded last of all."""
    put_behind(model, record, "Cast", to=TensorProto.FLOAT16).elem_type = TensorProto.FLOAT16
    return {"output": {"name": "given"}}


def give_a_background_class(model: Any, record: ModelRecord) -> Changes:
    """One class more, before the others, as TensorFlow's networks have it."""
    constants = {"given_pads": [0, 1, 0, 0], "given_low": np.float32(-100)}
    count = record.output.class_count + 1
    put_behind(model, record, "Pad", constants).shape.dim[1].dim_value = count
    return {"output": {"name": "given", "class_count": count, "label_offset": 1}}


def give_several(model: Any, record: ModelRecord) -> Changes:
    """The class first, then the scores by another name, then them again, turned round."""
    name, count = record.output.name, record.output.class_count
    graph = model.graph
    graph.node.append(helper.make_node("ArgMax", [name], ["best"], axis=1))
    graph.node.append(helper.make_node("Neg", [name], ["worst"]))
    kept = copy.deepcopy(graph.output[0])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["batch", 1]))
    graph.output.append(helper.make_tensor_value_info("worst", TensorProto.FLOAT, ["batch", count]))
    graph.output.append(kept)
    return {}


def declare(*axes: str | int | None) -> Change:
    """An input that declares these sizes, a name or None for one that is open; none at all for no shape."""

    def change(model: Any, record: ModelRecord) -> Changes:
        name = record.input.name
        sizes = list(axes) if axes else None
        port = helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
        model.graph.input[0].CopyFrom(port)
        if axes and axes[0] in (1, -1):
            model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = int(axes[0])
        elif None in (axes or (None,)):
            name = record.output.name
            sizes = [None] * len(axes[:2]) if axes else None
            model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))
        del model.graph.value_info[:]
        return {}

    return change


def list_weights_as_inputs(model: Any, record: ModelRecord) -> Changes:
    """As files of IR version 3 do."""
    lower_opset(model, record, 8)
    model.ir_version = 3
    ports = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
    ]
    own = copy.deepcopy(model.graph.input[0])
    del model.graph.input[:]
    model.graph.input.extend([*ports, own])  # the images last: their place says nothing
    return {}


def hold_weights_in_nodes(model: Any, record: ModelRecord) -> Changes:
    """As Paddle's exporter writes them: Constant nodes."""
    del record
    nodes = [
        helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer
    ]
    del model.graph.initializer[:]
    for place, node in enumerate(nodes):
        model.graph.node.insert(place, node)
    return {}


def convert_to(opset: int) -> Change:
    """Another opset: by onnx from its own on, by hand below."""

    def change(model: Any, record: ModelRecord) -> Changes:
        if opset < OWN_OPSET:
            lower_opset(model, record, opset)
        else:
            model.CopyFrom(onnx.version_converter.convert_version(model, opset))
        return {}

    return change


def lower_opset(model: Any, record: ModelRecord, opset: int) -> None:
    """An older opset, which onnx cannot convert to: constants folded, and inputs made attributes again.

    After the folding Conv, Gemm, Add, GlobalAveragePool and Flatten are of opset 7; Clip and Pad have their
    values as attributes up to opset 10.
    """
    fold_constants(model)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for node in [node for node in graph.node if node.op_type == "Reshape"]:  # the batch, then all the rest
        source = node.input[0]
        assert makers[source].op_type == "GlobalAveragePool"
        node.CopyFrom(helper.make_node("Flatten", [source], [node.output[0]], name=node.name))
    for node in graph.node if opset < 11 else ():
        values = [constants[name] for name in node.input[1:] if name in constants]
        if node.op_type == "Clip":
            low, high = map(float, values)
            node.attribute.extend([helper.make_attribute("min", low), helper.make_attribute("max", high)])
            del node.input[1:]
        elif node.op_type == "Pad":
            pads = [int(size) for size in values[0]]
            value = float(values[1]) if len(values) > 1 else 0.0
            node.attribute.extend(
                [helper.make_attribute("pads", pads), helper.make_attribute("value", value)]
            )
            del node.input[1:]
    drop_unread(graph)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", opset))
    onnx.checker.check_model(model)
    del record


def fold_constants(model: Any) -> None:
    """Let ONNX Runtime compute what depends on no input."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        model.CopyFrom(onnx.load(options.optimized_model_filepath))
    own = [entry for entry in model.opset_import if entry.domain in {"", "ai.onnx"}]
    del model.opset_import[:]
    model.opset_import.extend(own)


def drop_unread(graph: Any) -> None:
    """Remove nodes and weights that no output needs."""
    while True:
        read = {name for node in graph.node for name in node.input} | {port.name for port in graph.output}
        unread = [node for node in graph.node if not read & set(node.output)]
        for node in unread:
            graph.node.remove(node)
        if not unread:
            break
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)


def make_tiny_network(path: Path, class_count: int = 10) -> dict[str, np.ndarray]:
    """Write a network of one convolution, opset 17, `image` to `class`; returns its weights.

    Convolution of 8 channels, kernel 3, stride 8, padded by 1; values cut to 0 to 6; mean; linear layer.
    """
    rng = np.random.default_rng(4)
    shapes = {"kernel": (8, 3, 3, 3), "bias": (8,), "head": (class_count, 8), "shift": (class_count,)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["shift"] -= weights["head"].sum(axis=1)  # the features are about 1: no class is everyone's
    values = {**weights, "low": np.float32(0), "high": np.float32(6), "flat": np.array([0, -1])}
    nodes = [
        helper.make_node("Conv", ["image", "kernel", "bias"], ["edges"], strides=[8, 8], pads=[1] * 4),
        helper.make_node("Clip", ["edges", "low", "high"], ["cut"]),
        helper.make_node("GlobalAveragePool", ["cut"], ["means"]),
        helper.make_node("Reshape", ["means", "flat"], ["features"]),
        helper.make_node("Gemm", ["features", "head", "shift"], ["class"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 224, 224])],
        [helper.make_tensor_value_info("class", TensorProto.FLOAT, ["batch", class_count])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    opset = helper.make_opsetid("", OWN_OPSET)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return weights


TINY_RECORD = change_record(make_brightness_record(), {"output": {"class_count": 10}})
"""The record of that network."""


def run_tiny_network(weights: dict[str, np.ndarray], images: Images) -> Logits:
    """The logits of that network, by torch."""
    kernel, bias, head, shift = (torch.from_numpy(weights[name]) for name in weights)
    edges = torch.nn.functional.conv2d(torch.from_numpy(images), kernel, bias, stride=8, padding=1)
    means = edges.clamp(0, 6).mean(dim=(2, 3))
    logits: Logits = torch.nn.functional.linear(means, head, shift).numpy()
    return logits


def draw_coloured_pixels(count: int) -> Pixels:
    """Pictures of a colour each, in squares that are lighter or darker: not all of one class."""
    rng = np.random.default_rng(8)
    squares = rng.integers(0, 216, (count, 1, 1, 3)) + rng.integers(0, 40, (count, 7, 7, 3))
    return squares.astype(np.uint8).repeat(32, axis=1).repeat(32, axis=2)


FORMS: dict[str, Change] = {
    "as it is": keep,
    "NHWC": take("NHWC", "float32"),
    "float16 input": take("NCHW", "float16"),
    "float16 NHWC": take("NHWC", "float16"),
    "float16 throughout": compute_in_float16,
    "uint8": take("NCHW", "uint8"),
    "uint8 NHWC": take("NHWC", "uint8"),
    "softmax": give("Softmax", "probabilities"),
    "sigmoid": give("Sigmoid", "sigmoid"),
    "log-softmax": give("LogSoftmax", "logits"),
    "axes of one": give_axes_of_one,
    "float16 output": give_float16,
    "background class": give_a_background_class,
    "several outputs": give_several,
    "fixed batch": declare(1, 3, 224, 224),
    "batch of -1": declare(-1, 3, 224, 224),
    "free sizes": declare("batch_size", 3, "height", "width"),
    "all sizes free": declare(None, None, None, None),
    "no shape": declare(),
    "IR 3": list_weights_as_inputs,
    "weights in nodes": hold_weights_in_nodes,
    **{
        f"opset {number}": convert_to(number)
        for number in range(LOWEST_OPSET, HIGHEST_OPSET + 1)
        if number != OWN_OPSET
    },
}
"""By what is said of them."""
EXTERNAL_DATA = "external data"  # apart: it is no change of the model
QUICK_FORMS = [name for name in FORMS if not name.startswith("opset")] + [
    EXTERNAL_DATA,
    f"opset {LOWEST_OPSET}",
    "opset 11",
    f"opset {HIGHEST_OPSET}",
]


def write_form(source: Path, form: str, record: ModelRecord, path: Path) -> ModelRecord:
    """Write the network of `source` in that form, opset 17 if it is of no other; returns its record.

    Args:
        source: An ONNX file of opset 17, input float32 NCHW, that gives logits.
        form: A key of `FORMS`, or `EXTERNAL_DATA`.
        record: Its record.
        path: The file to write.
    """
    model = onnx.load(str(source))
    if form == EXTERNAL_DATA:
        location = f"{path.name}.data"
        onnx.save(model, str(path), save_as_external_data=True, location=location, size_threshold=64)
        return record
    changes = FORMS[form](model, record)
    onnx.save(model, str(path))
    return change_record(record, changes)
