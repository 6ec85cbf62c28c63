"""Where a model differs from a reference of it: each layer's own error, then proof by repairing layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images
from assay.convert.quantize import read_onnx
from assay.convert.twin_graph import (
    LAYER_TYPES,
    Compared,
    align_opsets,
    build_twin,
    match_tensors,
    repair,
)
from assay.diagnose.network_finding import (
    LayerError,
    NetworkFinding,
    NetworkOutcome,
    Repair,
    choose_repair,
    rank_errors,
)
from assay.engines.openvino.tensors import compute_outputs
from assay.errors import BadModelError
from assay.runs.listener import Listener

ERROR_IMAGE_COUNT = 32
REPAIR_COUNTS = (1, 2, 3, 5, 8)
Outputs = dict[str, NDArray[Any]]


def compare_networks(
    other_path: Path,
    reference_path: Path,
    output_name: str,
    images: Images,
    classes: NDArray[np.int64] | None,
    listener: Listener,
) -> NetworkFinding:
    """Find the layers of an ONNX file that make errors of their own, and what repairing them restores.

    Args:
        other_path: The ONNX file that may be damaged.
        reference_path: The ONNX file that is right, such as the float one.
        output_name: The output of scores.
        images: As both take them, at least one.
        classes: The class of each image's label, (N,); None without labels.
        listener: Hears of the steps.

    Raises:
        BadModelError: A file cannot be read, or they have no tensor in common.
        EngineError: One of them, or the graph made of both, does not run.
    """
    reference, other = align_opsets(read_onnx(reference_path), read_onnx(other_path))
    compared = match_tensors(reference, other)
    if not compared:
        raise BadModelError(
            f"{other_path} and {reference_path} have no tensor and no layer's weights in common",
            hint="give two forms of one network",
        )
    listener.announce(f"Comparing {len(compared)} tensors on {min(len(images), ERROR_IMAGE_COUNT)} images")
    twin = build_twin(reference, other, compared)
    sums = compute_outputs(twin.SerializeToString(), images[:ERROR_IMAGE_COUNT])
    errors = rank_errors([_read_error(one, number, sums) for number, one in enumerate(compared)])
    suspects = [one for one in errors if one.is_suspect]
    listener.announce(
        f"Repairing up to {min(len(suspects), REPAIR_COUNTS[-1])} layers on {len(images)} images"
    )
    expected = _answer(reference, images, output_name)
    repairs = [_count(0, _answer(other, images, output_name), expected, classes)]
    for count in [count for count in REPAIR_COUNTS if count <= len(suspects)]:
        if repairs[-1].same_count == len(images):
            break
        chosen = [one.tensor for one in suspects[:count]]
        answers = _answer(repair(other, reference, compared, chosen), images, output_name)
        repairs.append(_count(count, answers, expected, classes))
    needed = choose_repair(repairs).layer_count
    return NetworkFinding(
        outcome=_judge(suspects, repairs, len(images)),
        image_count=len(images),
        reference_hits=None if classes is None else int((expected == classes).sum()),
        layers=tuple(one.name for one in suspects),
        errors=tuple(errors),
        repairs=tuple(repairs),
        keep_float=_name_layers(reference, [one.tensor for one in suspects[:needed]]),
    )


def _read_error(one: Compared, number: int, sums: Outputs) -> LayerError:
    signal, error = float(sums[f"signal.{number}"].sum()), float(sums[f"error.{number}"].sum())
    is_finite = bool(np.isfinite(error) and np.isfinite(signal))
    ratio = 10 * np.log10(signal / error) if is_finite and error > 0 and signal > 0 else None
    return LayerError(
        name=one.node,
        operator=one.operator,
        tensor=one.reference,
        sqnr_db=None if ratio is None else float(ratio),
        is_finite=is_finite,
    )


def _answer(model: Any, images: Images, output_name: str) -> NDArray[np.int64]:
    """The likeliest class of each image, (N,); -1 where the scores are not finite."""
    scores = compute_outputs(model.SerializeToString(), images)[output_name].reshape(len(images), -1)
    answers: NDArray[np.int64] = np.where(np.isfinite(scores).min(axis=1), scores.argmax(axis=1), -1)
    return answers


def _count(
    layer_count: int,
    answers: NDArray[np.int64],
    expected: NDArray[np.int64],
    classes: NDArray[np.int64] | None,
) -> Repair:
    return Repair(
        layer_count=layer_count,
        same_count=int((answers == expected).sum()),
        hits=None if classes is None else int((answers == classes).sum()),
    )


def _judge(suspects: Sequence[LayerError], repairs: Sequence[Repair], count: int) -> NetworkOutcome:
    if suspects:
        return "damaged"
    return "same" if repairs[0].same_count == count else "spread"


def _name_layers(reference: Any, tensors: Sequence[str]) -> tuple[str, ...]:
    """The convolutions and matrix products that make these tensors, over what lies between."""
    makers = {name: node for node in reference.graph.node for name in node.output}
    names: dict[str, None] = {}
    for tensor in tensors:
        node = makers.get(tensor)
        while node is not None and node.op_type not in LAYER_TYPES:
            node = next((makers[name] for name in node.input if name in makers), None)
        if node is not None:
            names[node.name] = None
    return tuple(names)
