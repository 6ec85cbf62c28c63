"""What another chip's arithmetic is predicted to do, in words."""

from __future__ import annotations

from assay.diagnose.emulation import FIRST_INFINITE, Emulation
from assay.report.changed import describe_changed

_NAMED = 3
_ARITHMETICS = {
    "fp16": "weights and stored tensors rounded to float16, sums in float32",
    "bf16": "weights and stored tensors rounded to bfloat16, sums in float32",
    "tf32": "what layers multiply rounded to TF32, sums in float32",
    "int8-no-vnni": "sums of two products held within 16 bits, as on AVX2 without VNNI",
}


def describe_emulation(found: Emulation) -> list[str]:
    """That it is a prediction, of what; what changes, which images may, and what is out of range."""
    lines = [f"Predicted, not measured, for {found.arithmetic}: {_ARITHMETICS[found.arithmetic]}."]
    lines += describe_changed(found.images, found.name_exact())
    if found.margin_change is not None:
        lines.append(
            f"The arithmetic moves margins by {found.margin_change:.2g} (standard deviation). "
            f"{len(found.at_risk) or 'No'} more images have so small a margin that another order of sums may "
            f"decide{_list_names(found.at_risk)}."
        )
    return [*lines, *_describe_range(found), *_describe_saturation(found)]


def _describe_range(found: Emulation) -> list[str]:
    if found.overflowing:
        return [
            f"Beyond the range of {found.arithmetic}, so infinite there: {_name_some(found.overflowing)}. "
            f"The largest value is {found.peak:.3g}."
        ]
    if not found.peak:
        return []
    room = FIRST_INFINITE[found.arithmetic] / found.peak
    return [
        f"The range is enough: the largest value is {found.peak:.3g} ({found.peak_layer}), and {room:,.0f} "
        "times that would fit."
    ]


def _describe_saturation(found: Emulation) -> list[str]:
    if found.arithmetic != "int8-no-vnni":
        return []
    count = sum(found.saturating.values())
    return [
        f"{count:,} pairs of weights in {len(found.saturating)} layers can saturate."
        if count
        else "No pair of weights can saturate, so that sums are exact there too."
    ]


def _list_names(names: tuple[str, ...]) -> str:
    return f": {_name_some(names)}" if names else ""


def _name_some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
