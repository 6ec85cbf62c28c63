"""Where a model differs from a reference of it: each layer's own error, then proof by repairing layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images
from assay.convert.compare_layers import (
    compare_layer_weights,
    compute_ratio,
    describe_operator_change,
    list_quantisers,
)
from assay.convert.graph_steps import LAYER_TYPES, QUANTISER_TYPES, Graph, has_half, prepare_model
from assay.convert.match_tensors import Compared, find_borders, match_tensors
from assay.convert.quantize import name_nodes, read_onnx
from assay.convert.twin_graph import align_opsets, build_twin, repair
from assay.diagnose.evidence import find_answers
from assay.diagnose.network_finding import (
    LayerError,
    NetworkFinding,
    NetworkOutcome,
    Price,
    Repair,
    choose_limit,
    choose_repair,
    describe_signature,
    find_cause,
    rank_errors,
)
from assay.engines.openvino.tensors import compute_outputs, measure_speeds
from assay.errors import BadModelError
from assay.models.weight_range import find_weight_range
from assay.runs.listener import Listener

ERROR_IMAGE_COUNT = 8
REPAIR_COUNTS = (1, 2, 3, 5, 8)
PRICE_BATCH = 8
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoNetworks:
    """An ONNX file that may be damaged and one that is right, with the tensors that both compute."""

    other: Any
    reference: Any
    compared: tuple[Compared, ...]
    output_name: str
    halves_weights: bool = False
    is_half: bool = False

    @property
    def is_quantised(self) -> bool:
        """Whether the other has quantised layers."""
        return any(node.op_type in QUANTISER_TYPES for node in self.other.graph.node)

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
    read = [read_onnx(path) for path in (reference_path, other_path)]
    is_half = has_half(read[1])
    models = [prepare_model(model) for model in read]
    for model in models:
        name_nodes(model.graph)
    reference, other = align_opsets(*models)
    compared = match_tensors(reference, other)
    if not compared:
        raise BadModelError(
            f"{other_path} and {reference_path} have no tensor and no layer's weights in common",
            hint="give two forms of one network",
        )
    return TwoNetworks(
        other=other,
        reference=reference,
        compared=tuple(compared),
        output_name=output_name,
        halves_weights=find_weight_range(other_path) == "half",
        is_half=is_half,
    )


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
    expected = find_answers(networks.score(networks.reference, images))
    answers = find_answers(networks.score(networks.other, images))
    changed_first = images[np.argsort(answers == expected, kind="stable")[:ERROR_IMAGE_COUNT]]
    errors, limit_db = _measure_errors(networks, changed_first, listener)
    suspects = [one for one in errors if one.is_suspect] + [one for one in errors if one.saturates]
    count_same = partial(_count_same, expected=expected, classes=classes)
    repairs = [count_same(0, answers)]
    if repairs[0].same_count < len(images):
        repairs += _repair(networks, suspects, images, count_same, listener)
    needed = choose_repair(repairs).layer_count if networks.is_quantised else 0
    chosen = [one.tensor for one in suspects[:needed]]
    return NetworkFinding(
        outcome=_judge(suspects, errors, repairs, len(images)),
        image_count=len(images),
        reference_hits=None if classes is None else int((expected == classes).sum()),
        limit_db=limit_db,
        layers=tuple(dict.fromkeys(one.name for one in suspects)),
        errors=tuple(errors),
        repairs=tuple(repairs),
        keep_float=_name_layers(networks.reference, chosen),
        saturated=tuple(one.name for one in suspects if one.saturates),
        remarks=tuple(describe_signature(errors)),
        price=_measure_price(networks, chosen, images, listener) if chosen else None,
    )


def _measure_errors(
    networks: TwoNetworks, images: Images, listener: Listener
) -> tuple[list[LayerError], float]:
    """Each tensor's own error, guiltiest first, and the ratio below which one is larger than expected."""
    compared = networks.compared
    listener.announce(f"Comparing {len(compared)} tensors on {len(images)} images")
    twin = build_twin(networks.reference, networks.other, compared).SerializeToString()
    sums = compute_outputs(twin, images, in_float=True)
    is_quantised = networks.is_quantised
    own = compute_outputs(twin, images) if is_quantised else None
    errors = [_read_error(number, networks, sums, own) for number in range(len(compared))]
    ratios = [one.sqnr_db for one in errors]
    limit_db = choose_limit(ratios, is_quantised=is_quantised, halves_weights=networks.halves_weights)
    graphs = Graph(networks.reference), Graph(networks.other)
    judged = [
        _judge_error(error, one, networks, graphs, limit_db)
        for error, one in zip(errors, compared, strict=True)
    ]
    return rank_errors(judged), limit_db


def _repair(
    networks: TwoNetworks,
    suspects: Sequence[LayerError],
    images: Images,
    count_same: Callable[[int, NDArray[np.int64]], Repair],
    listener: Listener,
) -> Iterator[Repair]:
    """Count the reference's answers with ever more of the suspects repaired, until all are restored."""
    for count in [count for count in REPAIR_COUNTS if count <= len(suspects)]:
        listener.announce(f"Repairing {count} of {len(suspects)} suspects")
        chosen = [one.tensor for one in suspects[:count]]
        mended = repair(networks.other, networks.reference, networks.compared, chosen)
        repaired = count_same(count, find_answers(networks.score(mended, images)))
        yield repaired
        if repaired.same_count == len(images):
            return


def _read_error(number: int, networks: TwoNetworks, sums: Outputs, own: Outputs | None) -> LayerError:
    """The error of one tensor as the sums have it, in the file's numbers and in this processor's."""
    one = networks.compared[number]
    signal, error = float(sums[f"signal.{number}"].sum()), float(sums[f"error.{number}"].sum())
    differs = compare_layer_weights(one)
    return LayerError(
        name=one.node,
        operator=one.operator,
        tensor=one.reference,
        place=number,
        other_tensor=one.other,
        sqnr_db=compute_ratio(signal, error),
        is_finite=bool(np.isfinite(error) and np.isfinite(signal)),
        processor_sqnr_db=None if own is None else compute_ratio(signal, float(own[f"error.{number}"].sum())),
        weights_db=differs.sqnr_db,
        factors=differs.factors,
        peak=float(sums[f"peak.{number}"].max()),
        detail="the same values in other places" if differs.is_permuted else "",
    )


def _judge_error(
    error: LayerError,
    one: Compared,
    networks: TwoNetworks,
    graphs: tuple[Graph, Graph],
    limit_db: float,
) -> LayerError:
    """The error with its cause, and what is quantised on the way."""
    backward = {each.other: each.reference for each in networks.compared if each is not one}
    backward |= dict.fromkeys(graphs[1].inputs, "")
    borders = find_borders(graphs[1], one.other, backward)
    quantisers = list_quantisers(graphs[1], one.other, borders)
    change = describe_operator_change(one, graphs)
    known = msgspec.structs.replace(error, quantisers=tuple(quantisers))
    cause = find_cause(known, limit_db, is_operator_changed=bool(change), is_half=networks.is_half)
    detail = change if cause == "operator" else error.detail if cause == "weights" else ""
    return msgspec.structs.replace(known, cause=cause, detail=detail)


def _count_same(
    layer_count: int,
    answers: NDArray[np.int64],
    *,
    expected: NDArray[np.int64],
    classes: NDArray[np.int64] | None,
) -> Repair:
    return Repair(
        layer_count=layer_count,
        same_count=int((answers == expected).sum()),
        hits=None if classes is None else int((answers == classes).sum()),
    )


def _measure_price(networks: TwoNetworks, chosen: Sequence[str], images: Images, listener: Listener) -> Price:
    """Images per second with none and with the chosen layers in float, in turns."""
    listener.announce(f"Measuring what {len(chosen)} layers in float cost")
    mended = repair(networks.other, networks.reference, networks.compared, chosen)
    batch = images[:PRICE_BATCH]
    models = [model.SerializeToString() for model in (networks.other, mended)]
    before, after = measure_speeds(models, batch)
    return Price(before=before, after=after, batch_size=len(batch))


def _judge(
    suspects: Sequence[LayerError], errors: Sequence[LayerError], repairs: Sequence[Repair], count: int
) -> NetworkOutcome:
    if 2 * len(suspects) > max(6, len(errors)):
        return "spread"
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
