"""Runs an ONNX model that is in memory, for the values of all its outputs: to look inside, not to deploy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino.properties import hint

from assay.arrays import Batch
from assay.errors import EngineError, quote_reason

_BATCH, _TURNS = 8, 15
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


def measure_speeds(models: Sequence[bytes], images: Batch) -> list[float]:
    """Images per second of each model, one batch after the other: medians of turns, in one process.

    Args:
        models: ONNX models with their weights.
        images: The batch that all of them run.

    Raises:
        EngineError: OpenVINO cannot read or run one.
    """
    core = openvino.Core()
    try:
        compiled = [core.compile_model(core.read_model(model), "CPU") for model in models]
        for one in compiled:
            _run(one, images)
        seconds: list[list[float]] = [[] for _ in compiled]
        for _turn in range(_TURNS):
            for taken, one in zip(seconds, compiled, strict=True):
                start = time.perf_counter()
                _run(one, images)
                taken.append(time.perf_counter() - start)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot look inside the model: {quote_reason(error)}") from error
    return [len(images) / statistics.median(taken) for taken in seconds]


def _run(compiled: openvino.CompiledModel, images: Batch) -> dict[str, NDArray[Any]]:
    found = compiled(np.ascontiguousarray(images))
    return {output.get_any_name(): np.array(values) for output, values in found.items()}
