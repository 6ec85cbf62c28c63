"""What a comparison of two forms of a network found: each tensor's own error, and what repairs restore."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

NetworkOutcome = Literal["same", "damaged", "spread"]
Cause = Literal["weights", "factors", "ranges", "operator", "overflow", "processor", "other"]
INT8_DB = 28.0  # of a healthy int8 network the lowest was 30
HALF_RANGE_DB = 24.0  # with weights in half the range of int8 it was 25.6
FLOAT_DB = 60.0  # of two exports the lowest was over 100, of float16 weights 68
_QUANTISED_DB = 60.0  # a network whose median is below holds rounded weights, whatever its file says
_LARGEST_FLOAT16 = 65504.0
_SUMS = frozenset({"Add", "Mul", "Concat"})


class LayerError(msgspec.Struct, frozen=True, kw_only=True):
    """The error that one layer makes by itself, fed with the reference's own tensors.

    Args:
        name: The reference's node that makes the tensor.
        operator: Of that node.
        tensor: The reference's name of it; of a layer, after its batch normalisation and bias.
        place: The tensor's number in the reference, from its input on.
        other_tensor: What it is called in the model that is diagnosed.
        sqnr_db: Ten times the decimal logarithm of signal over error, of all images; None without an error.
        is_finite: False where the layer gives infinities or not-a-number.
        processor_sqnr_db: The ratio in this processor's own integers, where the file is quantised: without
            VNNI sums of 16 bits saturate.
        weights_db: The ratio of its weights alone, where it has any that differ.
        factors: The least and the largest factor of an output's weights, where they are more than rounding.
        quantisers: What is quantised on the way from the tensors that it is made of.
        peak: The largest magnitude in the reference's tensor.
        cause: What differs; None where the error is no larger than expected.
        detail: More about the cause, in words.
    """

    name: str
    operator: str
    tensor: str
    place: int = 0
    other_tensor: str = ""
    sqnr_db: float | None
    is_finite: bool = True
    processor_sqnr_db: float | None = None
    weights_db: float | None = None
    factors: tuple[float, float] | None = None
    quantisers: tuple[str, ...] = ()
    peak: float | None = None
    cause: Cause | None = None
    detail: str = ""

    @property
    def is_suspect(self) -> bool:
        """Whether the file has an error here that is larger than expected."""
        return self.cause is not None and self.cause != "processor"

    @property
    def saturates(self) -> bool:
        """Whether the layer is sound as the file has it, and not in this processor's integers."""
        return self.cause == "processor"

    @property
    def headroom(self) -> float | None:
        """How many times the peak fits into float16; below 1 it overflows."""
        return _LARGEST_FLOAT16 / self.peak if self.peak else None


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """The model with its guiltiest layers as in the reference: how many images get the reference's answer."""

    layer_count: int
    same_count: int
    hits: int | None


class Bisection(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine leaves the reference, by cutting the network in two.

    Args:
        layer: The node whose tensor is the first with half of the error in it; empty where none stands out.
        share: What that layer adds of the whole error of the logits, as mean squares.
        probes: The number of the cut, and the error of the logits behind it, in the order they were made.
        cut_count: Cuts that are possible.
        is_monotone: Whether three more probes agree with the bisection.
        error: Of the whole network.
    """

    layer: str
    share: float
    probes: tuple[tuple[int, float], ...]
    cut_count: int
    is_monotone: bool
    error: float


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What keeping layers in float costs: images per second of both, medians of turns in one process."""

    before: float
    after: float
    batch_size: int


class NetworkFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model differs from its reference.

    Args:
        outcome: "same": no answer differs and no layer is suspect; "damaged": by `layers`; "spread": answers
            differ, but no layer stands out.
        image_count: Images whose answers were compared.
        reference_hits: Of the reference; None without labels.
        limit_db: Errors below are larger than expected of the two forms.
        layers: The suspects, guiltiest first; layers that this processor alone computes wrongly come last.
        saturated: Those that this processor alone computes wrongly.
        errors: Every tensor that both compute, guiltiest first.
        repairs: With ever more of the suspects as in the reference; the first with none.
        keep_float: The layers whose repair restores most answers, fewest first, as `--keep-float` takes them.
        remarks: What else was seen, in words.
        engine: Where the engine leaves the ONNX file, where it was asked.
        price: What `keep_float` costs in speed; None where nothing is kept.
    """

    outcome: NetworkOutcome
    image_count: int
    reference_hits: int | None
    limit_db: float = INT8_DB
    layers: tuple[str, ...]
    errors: tuple[LayerError, ...]
    repairs: tuple[Repair, ...]
    keep_float: tuple[str, ...] = ()
    saturated: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    engine: Bisection | None = None
    price: Price | None = None


def choose_limit(
    ratios: Sequence[float | None], *, is_quantised: bool, halves_weights: bool = False
) -> float:
    """The ratio below which an error is larger than expected: of int8, or of float.

    Args:
        ratios: Of all tensors, in dB; None without an error.
        is_quantised: Whether the file says that it is.
        halves_weights: Whether its weights are kept in half the range of int8.
    """
    if halves_weights:
        return HALF_RANGE_DB
    known = sorted(float("inf") if one is None else one for one in ratios)
    is_rounded = bool(known) and known[len(known) // 2] < _QUANTISED_DB
    return INT8_DB if is_quantised or is_rounded else FLOAT_DB


def find_cause(
    error: LayerError, limit_db: float, *, is_operator_changed: bool, is_half: bool = False
) -> Cause | None:
    """What makes a layer err; None where its error is no larger than expected.

    Args:
        error: The layer's, with everything but its cause.
        limit_db: As `choose_limit`.
        is_operator_changed: Whether another operator, or the same with other constants, stands there.
        is_half: Whether the file computes in float16.
    """
    overflows = is_half and (error.headroom or math.inf) < 1
    is_wrong = not error.is_finite or (error.sqnr_db is not None and error.sqnr_db < limit_db)
    # healthy int8 weights have 37, and 31 in half the range, and more
    weights_limit = limit_db if limit_db > INT8_DB else limit_db + 4
    if error.factors is not None:
        return "factors"
    if error.weights_db is not None and error.weights_db < weights_limit:
        return "weights"
    if overflows:
        return "overflow"
    if is_wrong and is_operator_changed:
        return "operator"
    if is_wrong:
        return "ranges" if error.quantisers else "other"
    found = error.processor_sqnr_db
    return "processor" if found is not None and found < limit_db else None


def describe_signature(errors: Sequence[LayerError]) -> list[str]:
    """What the weights of the whole network have in common, and what overflows in float16."""
    layers = [one for one in errors if one.weights_db is not None or one.factors is not None]
    moved = [one.factors for one in layers if one.factors is not None]
    lines = []
    if len(moved) > 1 and 2 * len(moved) > len(layers):
        low, high = min(low for low, _ in moved), max(high for _, high in moved)
        lines.append(
            f"the weights of {len(moved)} layers differ by a factor for each output, {low:.3g} to "
            f"{high:.3g}: the epsilon of the batch normalisation is another, or it was folded otherwise"
        )
    over = [one for one in errors if (one.headroom or math.inf) < 1]
    if over:
        worst = min(over, key=lambda one: one.headroom or 0.0)
        lines.append(
            f"{len(over)} tensors overflow in float16 (65,504), as {worst.tensor} of {worst.name}, which "
            f"reaches {worst.peak:,.0f}"
        )
    return lines


def rank_errors(errors: Sequence[LayerError]) -> list[LayerError]:
    """The errors, guiltiest first: what is not finite, then suspects, then the lowest ratio.

    Of suspects that read one tensor by the same quantiser, the layer comes before a residual addition; and a
    suspect comes before those that read what it makes by a range that is too small for the reference's.
    """
    ranked = sorted(errors, key=_rate)
    for one in [one for one in ranked if one.is_suspect]:
        behind = [place for place, each in enumerate(ranked) if _follows(each, one)]
        if behind and min(behind) < (place := ranked.index(one)):
            ranked.insert(min(behind), ranked.pop(place))
    return ranked


def _follows(one: LayerError, cause: LayerError) -> bool:
    """Whether a suspect errs because another one does: by a shared quantiser, or by its tensor's range."""
    if one is cause or one.cause != "ranges":
        return False
    shares = bool(set(one.quantisers) & set(cause.quantisers)) and cause.cause == "ranges"
    is_sum = one.operator in _SUMS and cause.operator not in _SUMS
    return (shares and is_sum) or cause.other_tensor in one.quantisers


def _rate(error: LayerError) -> tuple[bool, bool, bool, float]:
    ratios = [one for one in (error.sqnr_db, error.weights_db) if one is not None]
    return error.is_finite, not error.is_suspect, not ratios, min(ratios, default=0.0)


def choose_repair(repairs: Sequence[Repair]) -> Repair:
    """The repair of the fewest layers that restores as many answers as any."""
    most = max(one.same_count for one in repairs)
    return next(one for one in repairs if one.same_count == most)
