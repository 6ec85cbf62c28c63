"""An ONNX file as OpenVINO's model, in the shape that it is compiled for."""

from __future__ import annotations

from pathlib import Path

import openvino

from assay.engines.engine import CompileOptions
from assay.errors import BadModelError
from assay.models.record import ModelRecord


def read_onnx(onnx_path: Path, record: ModelRecord) -> openvino.Model:
    """Return the ONNX file's model, after checking its input and output by name.

    Raises:
        BadModelError: It cannot be read, or has others.
    """
    try:
        model = openvino.Core().read_model(onnx_path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BadModelError(
            f"{onnx_path} cannot be read as an ONNX file: {reason}",
            hint="expected a file written by `assay export` or another ONNX exporter",
        ) from error
    _check_name("input", record.input.name, [port.names for port in model.inputs], onnx_path)
    _check_name("output", record.output.name, [port.names for port in model.outputs], onnx_path)
    return model


def _check_name(kind: str, name: str, ports: list[set[str]], onnx_path: Path) -> None:
    if len(ports) != 1 or name not in ports[0]:
        found = ", ".join(sorted(min(names, default="(unnamed)") for names in ports)) or "none"
        raise BadModelError(
            f"{onnx_path}: expected one {kind} named {name!r}, found: {found}",
            hint=f"set {kind}.name of the model record to what the network has",
        )


def set_shape(model: openvino.Model, onnx_path: Path, options: CompileOptions) -> None:
    """Give the model the shape it is compiled for: the record's image, and the batch size or any.

    Raises:
        BadModelError: It cannot take that, or gives no row of logits for each image.
    """
    tensor = options.record.input
    batch = -1 if options.batch_size is None else options.batch_size
    shape = openvino.PartialShape([batch, tensor.channels, tensor.height, tensor.width])
    own = model.inputs[0].get_partial_shape()
    if own.rank.is_dynamic or own.rank.get_length() != 4 or not own[1:].compatible(shape[1:]):
        raise BadModelError(
            f"{onnx_path}: input {tensor.name!r} has shape {own}, the model record says {shape}",
            hint="set input and preprocessing of the model record to what the network takes",
        )
    try:
        model.reshape({tensor.name: shape})
    except RuntimeError as error:
        raise BadModelError(
            f"{onnx_path}: cannot take batches of {options.batch_size or 'any size'}: {error}",
            hint="export it with a dynamic batch, or compile with the --batch-size it was exported for",
        ) from error
    classes = model.outputs[0].get_partial_shape()
    expected = openvino.PartialShape([batch, options.record.output.class_count])
    if not classes.compatible(expected):
        raise BadModelError(
            f"{onnx_path}: output {options.record.output.name!r} has shape {classes}, expected {expected}",
            hint="set output.class_count of the model record to what the network has",
        )


def reshape(model: openvino.Model, batch_size: int | None) -> None:
    """Give the model another batch size; None means any."""
    shape = model.inputs[0].get_partial_shape()
    shape[0] = -1 if batch_size is None else batch_size
    model.reshape(shape)
