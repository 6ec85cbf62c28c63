"""Makes an ONNX file of a torch network."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from assay.defaults import OPSETS
from assay.errors import UsageError
from assay.models.choose_record import store_record
from assay.models.record import ModelRecord


def export_onnx(network: nn.Module, onnx_path: Path, record: ModelRecord, opset: int) -> None:
    """Write the network to `onnx_path` with a dynamic batch, the record's tensor names and the record itself.

    The TorchScript exporter is used: the newer one starts at opset 18 and reaches lower ones only by
    converting afterwards, and ATC takes nothing above 18.

    Args:
        network: A network in eval mode: images, float32 (N, channels, height, width), to logits (N, classes).
        onnx_path: The file to write; a file there is replaced.
        record: Names and sizes of the input and output.
        opset: The ai.onnx opset, 11 to 18.

    Raises:
        UsageError: An opset outside 11 to 18.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"--opset {opset} is not supported",
            hint=f"choose {OPSETS[0]} to {OPSETS[-1]}: ATC accepts no other",
        )
    tensor = record.input
    example = torch.zeros(1, tensor.channels, tensor.height, tensor.width)
    with warnings.catch_warnings():  # the exporter announces its own successor
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (example,),
            str(onnx_path),
            input_names=[tensor.name],
            output_names=[record.output.name],
            dynamic_axes={tensor.name: {0: "batch"}, record.output.name: {0: "batch"}},
            opset_version=opset,
            dynamo=False,
        )
    store_record(onnx_path, record)
