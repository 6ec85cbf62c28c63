"""Where a model differs from a reference of it: each layer's own error, then proof by repairing layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from assay.diagnose.evidence import find_answers
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


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoNetworks:
    """An ONNX file that may be damaged and one that is right, with the tensors that both compute."""

    other: Any
    reference: Any
    compared: tuple[Compared, ...]
    output_name: str

    def score(self, model: Any, images: Images) -> NDArray[np.float64]:
        """The scores of a model, (N, classes): its output of that name, else the only one it has.

        Raises:
            BadModelError: It has several outputs, and none of that name.
        """
        outputs = compute_outputs(model.SerializeToString(), images)
        if self.output_name not in outputs and len(outputs) > 1:
            raise BadModelError(
                f"one of the two networks has no output {self.output_name}, but {', '.join(outputs)}",
                hint="export it with the output's name of the model record",
            )
        scores = outputs.get(self.output_name, next(iter(outputs.values())))
        return scores.reshape(len(images), -1).astype(np.float64)


def open_networks(other_path: Path, reference_path: Path, output_name: str) -> TwoNetworks:
    """Read two forms of one network, and match their tensors.

    Raises:
        BadModelError: A file cannot be read, or they have no tensor in common.
    """
    reference, other = align_opsets(read_onnx(reference_path), read_onnx(other_path))
    compared = match_tensors(reference, other)
    if not compared:
        raise BadModelError(
            f"{other_path} and {reference_path} have no tensor and no layer's weights in common",
            hint="give two forms of one network",
        )
    return TwoNetworks(other=other, reference=reference, compared=tuple(compared), output_name=output_name)


def compare_networks(
    networks: TwoNetworks, images: Images, classes: NDArray[np.int64] | None, listener: Listener
) -> NetworkFinding:
    """Find the layers that make errors of their own, and what repairing them restores.

    Args:
        networks: The two forms.
        images: As both take them, at least one.
        classes: The class of each image's label, (N,); None without labels.
        listener: Hears of the steps.

    Raises:
        EngineError: One of them, or the graph made of both, does not run.
    """
    errors = _measure_errors(networks, images[:ERROR_IMAGE_COUNT], listener)
    suspects = [one for one in errors if one.is_suspect] + [one for one in errors if one.saturates]
    expected = find_answers(networks.score(networks.reference, images))
    repairs = _repair(networks, suspects, images, expected, classes, listener)
    needed = choose_repair(repairs).layer_count
    return NetworkFinding(
        outcome=_judge(suspects, repairs, len(images)),
        image_count=len(images),
        reference_hits=None if classes is None else int((expected == classes).sum()),
        layers=tuple(one.name for one in suspects),
        errors=tuple(errors),
        repairs=tuple(repairs),
        keep_float=_name_layers(networks.reference, [one.tensor for one in suspects[:needed]]),
        saturated=tuple(one.name for one in suspects if one.saturates),
    )


def _measure_errors(networks: TwoNetworks, images: Images, listener: Listener) -> list[LayerError]:
    """Each tensor's own error as the file has it, and in this processor's integers; guiltiest first."""
    compared = networks.compared
    listener.announce(f"Comparing {len(compared)} tensors on {len(images)} images")
    twin = build_twin(networks.reference, networks.other, compared).SerializeToString()
    sums = compute_outputs(twin, images, in_float=True)
    is_quantised = any(node.op_type == "DequantizeLinear" for node in networks.other.graph.node)
    own = compute_outputs(twin, images) if is_quantised else None
    return rank_errors([_read_error(one, number, sums, own) for number, one in enumerate(compared)])


def _repair(
    networks: TwoNetworks,
    suspects: Sequence[LayerError],
    images: Images,
    expected: NDArray[np.int64],
    classes: NDArray[np.int64] | None,
    listener: Listener,
) -> list[Repair]:
    """Count the reference's answers with none of the suspects repaired, and with ever more of them."""
    repairs = [_count(0, find_answers(networks.score(networks.other, images)), expected, classes)]
    for count in [count for count in REPAIR_COUNTS if count <= len(suspects)]:
        if repairs[-1].same_count == len(images):
            break
        listener.announce(f"Repairing {count} of {len(suspects)} suspects")
        chosen = [one.tensor for one in suspects[:count]]
        mended = repair(networks.other, networks.reference, networks.compared, chosen)
        repairs.append(_count(count, find_answers(networks.score(mended, images)), expected, classes))
    return repairs


def _read_error(one: Compared, number: int, sums: Outputs, own: Outputs | None) -> LayerError:
    signal, error = float(sums[f"signal.{number}"].sum()), float(sums[f"error.{number}"].sum())
    return LayerError(
        name=one.node,
        operator=one.operator,
        tensor=one.reference,
        sqnr_db=_compute_ratio(signal, error),
        is_finite=bool(np.isfinite(error) and np.isfinite(signal)),
        processor_sqnr_db=None
        if own is None
        else _compute_ratio(signal, float(own[f"error.{number}"].sum())),
    )


def _compute_ratio(signal: float, error: float) -> float | None:
    """Signal over error in dB; None without either, or where one is not finite."""
    if not (np.isfinite(error) and np.isfinite(signal) and error > 0 and signal > 0):
        return None
    return float(10 * np.log10(signal / error))


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
