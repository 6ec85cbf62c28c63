"""Rows of speed written down by hand, VALID or not, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from assay.measure.speed.machine_use import MachineUse
from assay.measure.speed.throughput import Latency, Spread, ThroughputRow
from assay.measure.speed.validity import Validity

REASON = "measured for less than 3 s"


def make_validity(*, is_valid: bool) -> Validity:
    """A verdict; where it is INVALID, for one reason."""
    return Validity(
        is_valid=is_valid,
        reasons=() if is_valid else (REASON,),
        warm_up_s=1.0,
        measured_s=5.0 if is_valid else 0.5,
        variation_percent=1.0,
        machine=MachineUse(processors=2),
    )


def make_speed_row(
    *values: float, batch_size: int = 1, clock: str = "call", is_valid: bool = True, **changes: Any
) -> ThroughputRow:
    """A row of these repeats, in images per second."""
    named = {"engine": "openvino", "device": "CPU", "precision": "fp32", **changes}
    return ThroughputRow(
        **named,
        batch_size=batch_size,
        clock=clock,  # type: ignore[arg-type]  # one of three
        caller_count=1,
        images_per_second=Spread(median=sorted(values)[len(values) // 2], values=values),
        latency_ms=Latency(p50=1, p90=1, p99=1),
        warm_up_ms=(),
        call_ms=tuple((1.0,) for _ in values),
        validity=make_validity(is_valid=is_valid),
    )
