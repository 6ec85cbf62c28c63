"""Makes an ONNX file of a torch network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assay.defaults import OPSETS
from assay.errors import BadModelError, UsageError, quote_reason
from assay.models.choose_record import store_record
from assay.models.record import ModelRecord

# What the exporter was seen to raise on networks that it cannot write, its own OnnxExporterError among them.
EXPORT_ERRORS = (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError)


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
        BadModelError: The exporter cannot write the network, at this opset or at all, or the record says that
            its input has another layout or type.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"--opset {opset} is not supported",
            hint=f"choose {OPSETS[0]} to {OPSETS[-1]}: ATC accepts no other",
        )
    tensor = record.input
    if (tensor.layout, tensor.dtype) != ("NCHW", "float32"):
        raise BadModelError(
            f"the model record says that the input is {tensor.layout}, {tensor.dtype}; the networks that "
            "assay exports take NCHW, float32",
            hint="leave input.layout and input.dtype out of the record of a checkpoint",
        )
    example = torch.zeros(1, tensor.channels, tensor.height, tensor.width)
    try:
        with _plain_attention(network), _silence_exporter():
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
    except EXPORT_ERRORS as error:
        newest = f"try --opset {OPSETS[-1]}, or " if opset != OPSETS[-1] else ""
        raise BadModelError(
            f"{record.architecture} cannot be exported to ONNX at opset {opset}: {quote_reason(error)}",
            hint=f"{newest}export it with its own library, and give the ONNX file",
        ) from error
    store_record(onnx_path, record)


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """No warnings of its own successor and of Python values in the trace, which the parity check is for.

    Nor the whole graph of what failed, which it prints on stdout, asked or not.
    """
    log = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *_said: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_onnx_log = log


@contextmanager
def _plain_attention(network: nn.Module) -> Iterator[None]:
    """Attention as products and a softmax: torch's own operator for it is not written at every opset.

    timm's layers have a switch for it, the networks of transformers a method.
    """
    fused = [module for module in network.modules() if getattr(module, "fused_attn", False) is True]
    switches: list[Any] = [
        module for module in network.modules() if hasattr(module, "set_attn_implementation")
    ]
    before = [module.config._attn_implementation for module in switches]  # it has no other name
    try:
        for module in fused:
            module.fused_attn = False  # type: ignore[assignment]
        for module in switches:
            module.set_attn_implementation("eager")
        yield
    finally:
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]
        for module, name in zip(switches, before, strict=True):
            module.set_attn_implementation(name)
