"""Runs an ONNX model that is in memory, for the values of all its outputs: to look inside, not to deploy."""

from __future__ import annotations

from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino.properties import hint

from assay.arrays import Batch
from assay.errors import EngineError, quote_reason

_BATCH = 8
_IN_FLOAT = {"LP_TRANSFORMS_MODE": "NO"}  # the CPU plugin's own name for what makes layers int8


def compute_outputs(model: bytes, images: Batch, *, in_float: bool = False) -> dict[str, NDArray[Any]]:
    """Every output of the model for the images, by name; the first axis is the images'.

    Args:
        model: An ONNX model with its weights, whose first axis is the images'.
        images: As the model's own input takes them, N at least 1.
        in_float: Whether quantised layers are computed as the file says, in float32, and not in this
            processor's integers, whose sums can saturate.

    Raises:
        EngineError: OpenVINO cannot read or run it.
    """
    core = openvino.Core()
    try:
        loaded = core.read_model(model)
        shape = loaded.inputs[0].get_partial_shape()
        if shape.rank.is_static and shape[0].is_dynamic:
            loaded.reshape([-1, *images.shape[1:]])
        size = _BATCH if shape.rank.is_dynamic or shape[0].is_dynamic else shape[0].get_length()
        settings = {hint.inference_precision: openvino.Type.f32, **(_IN_FLOAT if in_float else {})}
        compiled = core.compile_model(loaded, "CPU", settings)
        parts = [_run(compiled, images[first : first + size]) for first in range(0, len(images), size)]
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot look inside the model: {quote_reason(error)}") from error
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _run(compiled: openvino.CompiledModel, images: Batch) -> dict[str, NDArray[Any]]:
    found = compiled(np.ascontiguousarray(images))
    return {output.get_any_name(): np.array(values) for output, values in found.items()}
