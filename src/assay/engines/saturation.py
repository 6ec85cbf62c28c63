"""int8 models whose sums a processor without VNNI clips, and what to say of them."""

from __future__ import annotations

from assay.engines.compiled_model import CompiledModel
from assay.processors import sums_int8_exactly

_CPU_DEVICES = {"CPU", "cpu", "openvino"}  # as the engines call them
_AGAIN = "quantise it again with the default --weight-range half"


def clips_sums(compiled: CompiledModel) -> bool:
    """Whether this processor is known to clip sums of the model's int8 layers."""
    return _is_at_risk(compiled) and compiled.weight_range == "full" and sums_int8_exactly() is False


def note_saturation(compiled: CompiledModel) -> list[str]:
    """What to say where this processor clips sums of the model's int8 layers, or may; mostly nothing."""
    is_exact = sums_int8_exactly()
    if is_exact or not _is_at_risk(compiled):
        return []
    if compiled.weight_range != "full":
        return [
            "the range of the int8 weights cannot be told; if they fill more than half of it, a processor "
            "without VNNI clips sums in silence, and answers differ"
        ]
    if is_exact is None:
        return [
            "the int8 weights fill the full range: if this processor has no VNNI, it clips sums in silence, "
            f"and answers differ; {_AGAIN}"
        ]
    return [
        "the int8 weights fill the full range, and this processor has no VNNI: it clips sums to 16 bits, so "
        f"answers differ from those of other processors; {_AGAIN}"
    ]


def _is_at_risk(compiled: CompiledModel) -> bool:
    is_int8 = "int8" in compiled.precision.split("+")  # a cascade has the precisions of both its models
    on_cpu = not _CPU_DEVICES.isdisjoint(compiled.device.split("+"))
    return is_int8 and on_cpu and compiled.weight_range != "half"
