"""Whether an ONNX file is what its record says and assay can feed: names, types, layout, evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from assay.errors import BadModelError, quote, shorten
from assay.models.inspection.front import read_front
from assay.models.inspection.graph import GraphNode, ModelGraph
from assay.models.inspection.tail import find_deciding
from assay.models.model_file import list_model_weights, read_graph, read_model_file
from assay.models.network_input import order_axes
from assay.models.onnx_file import OnnxFile, Port
from assay.models.record import InputDtype, ModelRecord

READ_OPSETS = range(7, 27)
"""The versions of ONNX's operators that runtimes are known to read as they are meant.

ONNX Runtime guarantees none below 7, and takes none above 26; OpenVINO reads newer ones as the newest it has.
"""
_FLOATS = ("float32", "float16", "float64")
_GUIDE = "assay help own-classifier"
_LAYOUTS = {"NCHW": "channels first (NCHW)", "NHWC": "channels last (NHWC)"}
_CHOOSING = frozenset({"ArgMax", "ArgMin", "TopK"})


def check_network(onnx_path: Path, record: ModelRecord) -> OnnxFile:
    """What the ONNX file says of itself, after checking it against the record.

    Taken are one input of the record's layout and dtype, and an output of the record's name, alone or among
    others, with a row of scores for each image: floats (N, classes), with or without axes of 1.

    Raises:
        BadModelError: It cannot be read, its weights are not there, or it has an opset that runtimes may
            misread, other inputs or outputs, another layout, or nodes that compute as during training.
    """
    list_model_weights(onnx_path)
    found = read_model_file(onnx_path)
    graph = read_graph(onnx_path)
    if graph.form == "ONNX" and graph.opset not in READ_OPSETS:
        raise BadModelError(
            f"{onnx_path} has opset {graph.opset}; runtimes are known to read opset {READ_OPSETS[0]} to "
            f"{READ_OPSETS[-1]} as it is meant",
            hint="export it again with opset 17, or convert it: onnx.version_converter.convert_version",
        )
    _check_input(graph, record, onnx_path)
    _check_output(graph, record, onnx_path)
    if found.training_nodes:
        count, first = len(found.training_nodes), found.training_nodes[0]
        raise BadModelError(
            f"{onnx_path}: {count} of its nodes compute as during training, such as {quote(first)}: an "
            "image's logits depend on the images beside it, or on chance",
            hint="export it in evaluation mode: model.eval(), and no training=TrainingMode.TRAINING",
        )
    return found


def fits_logits(shape: Sequence[int | None], class_count: int) -> bool:
    """Whether a shape can hold one row of logits for each image: the classes, and axes of 1, after the batch.

    >>> fits_logits((None, 1000, 1, 1), 1000), fits_logits((None, 1001), 1000), fits_logits((1000,), 1000)
    (True, False, False)
    """
    axes = [size for size in shape[1:] if size != 1]
    known = [size for size in axes if size is not None]
    return known == [class_count] or (not known and None in axes)


def _check_input(graph: ModelGraph, record: ModelRecord, onnx_path: Path) -> None:
    ports, tensor = graph.inputs, record.input
    port = _find_port("input", tensor.name, ports, onnx_path)
    if len(ports) != 1:
        raise BadModelError(
            f"{onnx_path}: expected one input, found {len(ports)}: {_join_names(ports)}",
            hint="assay feeds images alone: give the other inputs constant values before exporting",
        )
    _check_dtype(port, record, onnx_path)
    axes = port.shape[1:] if port.shape and len(port.shape) == 4 else (None, None, None)
    other = "NCHW" if tensor.layout == "NHWC" else "NHWC"
    fits = {layout: _fits(axes, order_axes(tensor, layout)) for layout in (tensor.layout, other)}
    if (port.shape is None or len(port.shape) == 4) and fits[tensor.layout]:
        if not (fits[other] and read_front(graph, port).layout == other):
            return
    elif not (port.shape and len(port.shape) == 4 and fits[other]):
        raise BadModelError(
            f"{onnx_path}: input {quote(port.name)} has shape {_write_shape(port.shape or ())}, the model "
            f"record says {_write_shape((None, *order_axes(tensor)))}",
            hint="set input and preprocessing of the model record to what the network takes",
        )
    raise BadModelError(
        f"{onnx_path}: input {quote(port.name)} is {_LAYOUTS[other]}, {_write_shape((None, *axes))}; the "
        f"model record says {_LAYOUTS[tensor.layout]}",
        hint=f"set input.layout = '{other}' in the model record",
    )


def _fits(axes: Sequence[int | None], wanted: Sequence[int]) -> bool:
    return all(size in (None, one) for size, one in zip(axes, wanted, strict=True))


def _check_dtype(port: Port, record: ModelRecord, onnx_path: Path) -> None:
    if port.dtype == record.input.dtype:
        return
    what = f"{onnx_path}: input {quote(port.name)} takes {port.dtype}"
    if port.dtype not in get_args(InputDtype):
        raise BadModelError(
            f"{what}; assay feeds {', '.join(get_args(InputDtype))}",
            hint=f"put a Cast in front of the network: {_GUIDE} says how",
        )
    pixels = ", and pixel_scale = 1, mean of 0, std of 1: it normalises pixels itself"
    raise BadModelError(
        f"{what}, the model record says {record.input.dtype}",
        hint=f"set input.dtype = '{port.dtype}' in the model record{pixels * (port.dtype == 'uint8')}",
    )


def _check_output(graph: ModelGraph, record: ModelRecord, onnx_path: Path) -> None:
    port = _find_port("output", record.output.name, graph.outputs, onnx_path)
    class_count = record.output.class_count
    maker = find_deciding(graph, port.name)
    if maker is not None and maker.operator in _CHOOSING:
        raise BadModelError(
            f"{onnx_path}: output {quote(port.name)} holds {port.dtype} of {maker.operator}: classes that "
            "the network chose, not a score for each",
            hint=_find_way_out(graph, maker, onnx_path),
        )
    if port.dtype not in _FLOATS:
        raise BadModelError(
            f"{onnx_path}: output {quote(port.name)} holds {port.dtype}; expected logits, float32",
            hint=_find_way_out(graph, None, onnx_path),
        )
    if port.shape is not None and not fits_logits(port.shape, class_count):
        is_one_more = fits_logits(port.shape, class_count + 1)
        raise BadModelError(
            f"{onnx_path}: output {quote(port.name)} has shape {_write_shape(port.shape)}, the model "
            f"record says {_write_shape((None, class_count))}",
            hint="set output.class_count of the model record to what the network has"
            + ", and output.label_offset = 1 if its first class is a background class" * is_one_more,
        )


def _find_way_out(graph: ModelGraph, maker: GraphNode | None, onnx_path: Path) -> str:
    """How to come by the scores: another output, or the tensor that `maker` chooses from."""
    for port in graph.outputs:
        node = find_deciding(graph, port.name)
        if port.dtype in _FLOATS and not (node and node.operator in _CHOOSING):
            return f"set output.name of the model record to {quote(port.name)}"
    if maker is None:
        return "export the network without what it does to its logits, such as quantising them"
    return (
        f"set output.name to {quote(maker.inputs[0])}, and cut the file there: onnx.utils.extract_model("
        f"'{onnx_path}', 'cut.onnx', ['{graph.inputs[0].name}'], ['{maker.inputs[0]}'])"
    )


def _find_port(kind: str, name: str, ports: Sequence[Port], onnx_path: Path) -> Port:
    for port in ports:
        if port.name == name:
            return port
    raise BadModelError(
        f"{onnx_path}: expected an {kind} named {quote(name)}, found: {_join_names(ports)}",
        hint=f"set {kind}.name of the model record to what the network has, or give the right --model",
    )


def _join_names(ports: Sequence[Port]) -> str:
    names = [shorten(port.name, 60) for port in ports[:5]] + (
        [f"… ({len(ports)} in all)"] if len(ports) > 5 else []
    )
    return ", ".join(names) or "none"


def _write_shape(shape: Sequence[int | None]) -> str:
    """A shape in words, such as `[batch, 3, 224, 224]`."""
    sizes = ["?" if size is None else str(size) for size in shape]
    if shape and shape[0] is None:
        sizes[0] = "batch"
    return f"[{', '.join(sizes)}]"
