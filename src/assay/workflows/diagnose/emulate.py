"""What another chip's arithmetic would do to the answers, predicted on this processor from the ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.convert.emulate_arithmetic import add_peaks, emulate_arithmetic, list_stored
from assay.convert.quantize import read_float_onnx, read_onnx
from assay.convert.saturate_sums import saturate_sums
from assay.diagnose.changed_images import examine_changes
from assay.diagnose.emulation import FIRST_INFINITE, Arithmetic, Emulation, find_at_risk
from assay.engines.onnxruntime.tensors import compute_outputs
from assay.errors import BadModelError
from assay.models.network_input import make_network_input
from assay.models.record import ModelRecord
from assay.workflows.diagnose.photographs import Shown

Outputs = dict[str, NDArray[Any]]


def predict_arithmetic(
    onnx_path: Path, arithmetic: Arithmetic, shown: Shown, record: ModelRecord
) -> Emulation:
    """Run the file as it is written, and as the arithmetic rounds or saturates it, and compare the answers.

    Args:
        onnx_path: A float file, or for int8 a quantised one.
        arithmetic: What is emulated.
        shown: The photographs.
        record: Of the network: its input, and which output holds the scores.

    Raises:
        BadModelError: The file cannot be read, is of the other kind, or has no such output among several.
        EngineError: ONNX Runtime cannot run it.
    """
    saturating: dict[str, int] = {}
    tensors: list[str] = []
    if arithmetic == "int8-no-vnni":
        model = read_onnx(onnx_path)
        emulated, saturating = saturate_sums(model)
    else:
        model = read_float_onnx(onnx_path)
        emulated = emulate_arithmetic(model, arithmetic)
        tensors = list_stored(model) if arithmetic in FIRST_INFINITE else []
    images = make_network_input(shown.images, record)
    before = compute_outputs(add_peaks(model, tensors).SerializeToString(), images)
    after = compute_outputs(emulated.SerializeToString(), images)
    scores, others = (_take_scores(outputs, record.output.name, onnx_path) for outputs in (before, after))
    deviation, at_risk = find_at_risk(shown.names, scores, others, arithmetic)
    peaks = {name: float(before[f"peak.{number}"].max()) for number, name in enumerate(tensors)}
    layers = {tensor: node.name or tensor for node in model.graph.node for tensor in node.output}
    largest = max(peaks, key=peaks.__getitem__, default="")
    limit = FIRST_INFINITE.get(arithmetic, float("inf"))
    return Emulation(
        arithmetic=arithmetic,
        images=examine_changes(shown.names, shown.traits, scores, others, shown.classes),
        margin_change=deviation,
        at_risk=at_risk,
        peak=peaks.get(largest),
        peak_layer=layers.get(largest, largest),
        overflowing=tuple(layers.get(name, name) for name, peak in peaks.items() if not peak < limit),
        saturating=saturating,
    )


def _take_scores(outputs: Outputs, name: str, onnx_path: Path) -> NDArray[np.float64]:
    """The scores, (N, classes): the output of that name, else the only one there is."""
    found = {key: value for key, value in outputs.items() if not key.startswith("peak.")}
    if name not in found and len(found) > 1:
        raise BadModelError(
            f"{onnx_path} has no output {name}, but {', '.join(found)}", hint="name it in the model record"
        )
    scores = found.get(name, next(iter(found.values())))
    return scores.reshape(len(scores), -1).astype(np.float64)
