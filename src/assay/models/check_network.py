"""Whether an ONNX file is what its record says and assay can feed: names, types, layout, evaluation mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.errors import BadModelError, quote, shorten
from assay.models.onnx_file import OnnxFile, Port, list_weight_files, read_onnx_file
from assay.models.record import ModelRecord

_FLOATS = ("float32", "float16", "float64")
_GUIDE = "docs/how-to/own-classifier.md"


def check_network(onnx_path: Path, record: ModelRecord) -> OnnxFile:
    """What the ONNX file says of itself, after checking it against the record.

    Taken are one input, float32 (N, channels, height, width), and an output of the record's name, alone or
    among others, with a row of logits for each image: floats (N, classes), with or without axes of 1.

    Raises:
        BadModelError: It cannot be read, its weights are not there, or it has other inputs or outputs,
            another layout, or nodes that compute as during training.
    """
    list_weight_files(onnx_path)
    found = read_onnx_file(onnx_path)
    _check_input(found.inputs, record, onnx_path)
    _check_output(found.outputs, record, onnx_path)
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


def _check_input(ports: Sequence[Port], record: ModelRecord, onnx_path: Path) -> None:
    tensor = record.input
    port = _find_port("input", tensor.name, ports, onnx_path)
    if len(ports) != 1:
        raise BadModelError(
            f"{onnx_path}: expected one input, found {len(ports)}: {_join_names(ports)}",
            hint="assay feeds images alone: give the other inputs constant values before exporting",
        )
    if port.dtype != "float32":
        raise BadModelError(
            f"{onnx_path}: input {quote(port.name)} takes {port.dtype}; assay feeds float32, normalised as "
            "the model record says",
            hint=f"export it with a float32 input ({_GUIDE} says how, also for uint8 and float16)",
        )
    size = (tensor.channels, tensor.height, tensor.width)
    if port.shape is None:
        return
    if len(port.shape) == 4 and port.shape[3] == tensor.channels and port.shape[1] != tensor.channels:
        raise BadModelError(
            f"{onnx_path}: input {quote(port.name)} is channels last (NHWC), {_write_shape(port.shape)}; "
            "assay takes channels first (NCHW) only, so far",
            hint=f"turn the file: {_GUIDE}, 'A file with channels last'; of TensorFlow: "
            f"tf2onnx --inputs-as-nchw {port.name}",
        )
    fits = len(port.shape) == 4 and all(
        found in (None, wanted) for found, wanted in zip(port.shape[1:], size, strict=True)
    )
    if not fits:
        raise BadModelError(
            f"{onnx_path}: input {quote(port.name)} has shape {_write_shape(port.shape)}, the model "
            f"record says {_write_shape((None, *size))}",
            hint="set input and preprocessing of the model record to what the network takes",
        )


def _check_output(ports: Sequence[Port], record: ModelRecord, onnx_path: Path) -> None:
    port = _find_port("output", record.output.name, ports, onnx_path)
    class_count = record.output.class_count
    if port.dtype not in _FLOATS:
        others = [other.name for other in ports if other.dtype in _FLOATS]
        raise BadModelError(
            f"{onnx_path}: output {quote(port.name)} holds {port.dtype}; expected logits, float32",
            hint=f"set output.name of the model record to {quote(others[0])}"
            if others
            else "export the network without what it does to its logits, such as ArgMax or quantising",
        )
    if port.shape is not None and not fits_logits(port.shape, class_count):
        raise BadModelError(
            f"{onnx_path}: output {quote(port.name)} has shape {_write_shape(port.shape)}, the model "
            f"record says {_write_shape((None, class_count))}",
            hint="set output.class_count of the model record to what the network has",
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
