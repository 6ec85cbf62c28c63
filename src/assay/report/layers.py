"""Where a network differs from its reference: the sentence, the layers, and what repairs restore."""

from __future__ import annotations

from assay.diagnose.network_finding import LayerError, NetworkFinding, choose_repair
from assay.report.tables.table import Table

_SHOWN = 10


def describe_network(found: NetworkFinding) -> list[str]:
    """The answer, and the line that keeps the guilty layers of an int8 model in float."""
    without = found.repairs[0]
    changed = found.image_count - without.same_count
    if found.outcome == "same":
        return [f"The network answers as the reference on all {found.image_count} images."]
    if found.outcome == "spread":
        return [
            f"{changed} of {found.image_count} answers differ, but no layer stands out: the difference is "
            "spread over the network, as by an epsilon or by arithmetic."
        ]
    lines = [f"{_say_first(found)} {changed} of {found.image_count} answers differ."]
    if found.saturated:
        lines.append(
            f"{len(found.saturated)} layers are sound in the file, and not in this processor's integers "
            f"(without VNNI sums of 16 bits saturate): {', '.join(found.saturated[:3])}"
        )
    best = choose_repair(found.repairs)
    if best.layer_count:
        lines.append(
            f"With {best.layer_count} of them as in the reference {found.image_count - best.same_count} "
            f"still differ: {best.same_count - without.same_count} of {changed} are restored."
        )
        lines += [f"  --keep-float '{name}'" for name in found.keep_float]
    return lines


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
    if one.cause == "processor":
        return "only this processor's integers err"
    return "weights and operator are the same, so a bias or another constant" if one.cause else "as expected"


def list_network_tables(found: NetworkFinding, shown: int = _SHOWN) -> list[Table]:
    """The layers, guiltiest first, and the repairs."""
    errors = tuple(
        (
            one.name,
            one.operator,
            "not finite" if not one.is_finite else _write_ratio(one.sqnr_db),
            _write_ratio(one.processor_sqnr_db),
            one.cause or "-",
        )
        for one in found.errors[:shown]
    )
    header = ("Layers as in the reference", "Same answer", "Right")
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
            header=("Layer", "Operator", "Signal to error, dB", "here, dB", "Differs"),
            rows=errors,
        ),
        Table(title="Repairs", header=header, rows=repairs, notes=note),
    ]


def _write_ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"
