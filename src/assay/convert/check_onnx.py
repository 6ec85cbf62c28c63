"""Checks that an ONNX file is well-formed and has the tensors that its record says."""

from __future__ import annotations

from pathlib import Path

import onnx

from assay.errors import BadModelError, quote_reason, shorten
from assay.models.record import ModelRecord


def check_onnx_file(onnx_path: Path, record: ModelRecord) -> None:
    """Refuse an ONNX file that is malformed or has other tensors than the record says.

    Raises:
        BadModelError: onnx.checker refuses it, or the input or output has another name or shape.
    """
    try:
        onnx.checker.check_model(str(onnx_path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BadModelError(f"{onnx_path}: onnx.checker refuses it: {quote_reason(error)}") from error
    graph = onnx.load(str(onnx_path), load_external_data=False).graph
    tensor = record.input
    found = [_describe_tensor(port) for port in (*graph.input, *graph.output)]
    expected = [
        f"{tensor.name} [batch, {tensor.channels}, {tensor.height}, {tensor.width}]",
        f"{record.output.name} [batch, {record.output.class_count}]",
    ]
    if found != expected:
        shown = shorten(" and ".join(found))
        raise BadModelError(f"{onnx_path}: expected {' and '.join(expected)}, found {shown}")


def _describe_tensor(port: onnx.ValueInfoProto) -> str:
    dims = port.type.tensor_type.shape.dim
    return f"{port.name} [{', '.join(dim.dim_param or str(dim.dim_value) for dim in dims)}]"
