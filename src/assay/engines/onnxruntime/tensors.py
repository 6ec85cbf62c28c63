"""Runs an ONNX model that is in memory, for the values of all its outputs: every cast and sum as written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Batch
from assay.engines.onnxruntime.engine import RUNTIME_ERRORS, onnxruntime
from assay.errors import EngineError, quote_reason

_BATCH = 8


def compute_outputs(model: bytes, images: Batch) -> dict[str, NDArray[Any]]:
    """Every output of the model for the images, by name; the first axis is the images'.

    Casts to a narrower type and back are carried out; OpenVINO takes them out of the graph.

    Args:
        model: An ONNX model with its weights, whose first axis is the images'.
        images: As the model's own input takes them, N at least 1.

    Raises:
        EngineError: ONNX Runtime cannot read or run it.
    """
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # its errors are raised too
    # Quantised layers as the file says, and no layer of float made narrower or wider than it is written
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        fed = session.get_inputs()[0]
        size = fed.shape[0] if fed.shape and isinstance(fed.shape[0], int) else _BATCH
        names = [output.name for output in session.get_outputs()]
        parts = [
            session.run(names, {fed.name: np.ascontiguousarray(images[first : first + size])})
            for first in range(0, len(images), size)
        ]
    except RUNTIME_ERRORS as error:
        raise EngineError(f"ONNX Runtime cannot run the model: {quote_reason(error)}") from error
    return {name: np.concatenate([part[place] for part in parts]) for place, name in enumerate(names)}
