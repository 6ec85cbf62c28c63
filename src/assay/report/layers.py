"""Where a network differs from its reference: the sentence, the layers, and what repairs restore."""

from __future__ import annotations

from assay.diagnose.network_finding import Bisection, LayerError, NetworkFinding, choose_repair
from assay.report.tables.table import Table

_SHOWN = 10
_SHORT = ("Layer", "Signal to error, dB", "Differs")


def describe_network(found: NetworkFinding) -> list[str]:
    """The answer, and the line that keeps the guilty layers of an int8 model in float."""
    without = found.repairs[0]
    changed = found.image_count - without.same_count
    notes = [f"Note: {one}." for one in found.remarks]
    if found.outcome == "same":
        return [f"The network answers as the reference on all {found.image_count} images.", *notes]
    if found.engine is not None:
        return [_say_engine(found, found.engine, changed), *notes]
    if found.outcome == "spread":
        return [
            f"{changed} of {found.image_count} answers differ, but no layer stands out: the difference is "
            "spread over the network, as by an epsilon or by arithmetic.",
            *notes,
        ]
    lines = [f"{_say_first(found)} {changed} of {found.image_count} answers differ."]
    if found.saturated:
        lines.append(
            f"{len(found.saturated)} layers are sound in the file, and not in this processor's integers "
            f"(without VNNI sums of 16 bits saturate): {', '.join(found.saturated[:3])}"
        )
    return [*lines, *_say_repair(found, changed), *notes]


def _say_repair(found: NetworkFinding, changed: int) -> list[str]:
    """What repairs restore, and for an int8 model the line that keeps the layers in float, with its price."""
    best = choose_repair(found.repairs)
    if not best.layer_count:
        return []
    lines = [
        f"With {best.layer_count} of them as in the reference {found.image_count - best.same_count} "
        f"still differ: {best.same_count - found.repairs[0].same_count} of {changed} are restored."
    ]
    if found.keep_float:
        lines.append("  " + " ".join(f"--keep-float '{name}'" for name in found.keep_float))
    if found.price is not None:
        before, after = found.price.before, found.price.after
        lines.append(
            f"  costs {100 * (1 - after / before):.1f} % of the speed: {before:.1f} -> {after:.1f} images/s "
            f"here, in batches of {found.price.batch_size}, in turns"
        )
    return lines


def _say_engine(found: NetworkFinding, cut: Bisection, changed: int) -> str:
    what = (
        f"From layer {cut.layer} on the engine computes otherwise: {100 * cut.share:.0f} % of the error"
        if cut.layer
        else "No layer of the engine stands out: the difference is spread over the network"
    )
    agree = "three more agree" if cut.is_monotone else "three more do not agree: take the layer with care"
    return (
        f"The ONNX file is sound, and {changed} of {found.image_count} answers of the engine differ. {what} "
        f"({len(cut.probes)} of {cut.cut_count} cuts were run; {agree})."
    )


def _say_first(found: NetworkFinding) -> str:
    guilty = [one for one in found.errors if one.is_suspect]
    if not guilty:
        return "No layer of the file errs by itself."
    first = guilty[0]
    return (
        f"Layer {first.name} ({first.operator}) errs by itself: {_say_error(first)}; {say_cause(first)}. "
        f"{len(guilty)} of {len(found.errors)} tensors have more error than the {found.limit_db:.0f} dB of a "
        "healthy one."
    )


def _say_error(one: LayerError) -> str:
    if not one.is_finite:
        return "values that are not finite"
    return "nothing on these images" if one.sqnr_db is None else f"{one.sqnr_db:.1f} dB"


def say_cause(one: LayerError) -> str:
    """What differs in a layer, in words."""
    if one.factors is not None and one.cause == "factors":
        low, high = one.factors
        return f"its weights differ by a factor for each output, {low:.3g} to {high:.3g}"
    if one.cause == "weights":
        return f"its weights differ{f' ({one.detail})' if one.detail else ''}"
    if one.cause == "operator":
        return f"its operator differs: {one.detail}"
    if one.cause == "ranges":
        return f"its weights are the same, so a range or zero point: what is quantised is {one.quantisers[0]}"
    if one.cause == "overflow":
        return f"it reaches {one.peak:,.0f}, and float16 ends at 65,504"
    if one.cause == "processor":
        return "only this processor's integers err"
    return "weights and operator are the same, so a bias or another constant" if one.cause else "as expected"


def list_network_tables(found: NetworkFinding, *, whole: bool = False) -> list[Table]:
    """The layers, guiltiest first, and the repairs.

    Args:
        found: Of the network.
        whole: Whether all is shown: without, the first ten, and of each what leaves room for its name.
    """
    header: tuple[str, ...] = (
        "Layer",
        "Operator",
        "Signal to error, dB",
        "here, dB",
        "Differs",
        "Largest value",
    )
    errors: tuple[tuple[str, ...], ...] = tuple(
        (
            one.name,
            one.operator,
            "not finite" if not one.is_finite else _write_ratio(one.sqnr_db),
            _write_ratio(one.processor_sqnr_db),
            one.cause or "-",
            "-" if one.peak is None else f"{one.peak:.3g}",
        )
        for one in found.errors[: None if whole else _SHOWN]
    )
    if not whole:
        header, errors = _SHORT, tuple((row[0], row[2], row[4]) for row in errors)
    steps = ("Layers as in the reference", "Same answer", "Right")
    repairs = tuple(
        (
            f"{one.layer_count}",
            f"{one.same_count} of {found.image_count}",
            "-" if one.hits is None else f"{one.hits}",
        )
        for one in found.repairs
    )
    note = (f"The reference has {found.reference_hits} right.",) if found.reference_hits is not None else ()
    return [
        Table(
            title="Layers by their own error",
            header=header,
            rows=errors,
        ),
        Table(title="Repairs", header=steps, rows=repairs, notes=note),
    ]


def _write_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"
