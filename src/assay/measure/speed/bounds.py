"""Speeds held against a bound: so many images/s, or so many times as fast as a reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from assay.measure.speed.between_loads import LOAD_FACTOR
from assay.measure.speed.throughput import ThroughputRow, find_best_row, find_faster_invalid

LEAST_LOADS = 10  # of both sides, five each: one a repeat
BoundOutcome = Literal["pass", "fail", "cannot tell"]


def judge_rate(all_rows: Iterable[ThroughputRow], batch_size: int, bound: float) -> tuple[BoundOutcome, str]:
    """So many images/s at a batch size: every repeat over it passes, every one below fails."""
    rows = [row for row in all_rows if row.batch_size == batch_size]
    if not rows:
        return "cannot tell", f"batch {batch_size} was not measured"
    rows = [row for row in rows if row.clock == rows[-1].clock]  # the device clock, where there is one
    row = find_best_row(rows)
    values = row.images_per_second.values
    reason = (
        f"{row.images_per_second.median:.2f} images/s at batch {batch_size} on the {row.clock} clock, "
        f"repeats {min(values):.2f} to {max(values):.2f}"
    )
    if not row.is_valid:
        return "cannot tell", f"INVALID ({row.invalid_reasons}): {reason}"
    outcome = _judge_range(min(values), max(values), bound)
    if outcome != "pass" and (faster := find_faster_invalid(rows, row)):
        return "cannot tell", f"{reason}; {_describe_invalid(faster)} is faster"
    return outcome, reason


def _describe_invalid(row: ThroughputRow) -> str:
    """Return a figure that proves nothing, and why."""
    return (
        f"the INVALID row of {row.images_per_second.median:.2f} images/s at batch {row.batch_size} "
        f"({row.invalid_reasons})"
    )


def _judge_range(lowest: float, highest: float, bound: float) -> BoundOutcome:
    if lowest >= bound:
        return "pass"
    return "fail" if highest < bound else "cannot tell"


def judge_speedup(
    all_rows: Sequence[ThroughputRow], reference_rows: Sequence[ThroughputRow], bound: float
) -> tuple[BoundOutcome, str]:
    """The best batch over the reference's best batch, on the same clock, for every pair of repeats.

    Where each side is one load of the model, within what two loads of one model may differ by.
    """
    clocks = {row.clock for row in all_rows} & {row.clock for row in reference_rows}
    if not clocks:
        return "cannot tell", (
            "needs the speed of a reference on the same clock: the float model of `run --precision int8`, or "
            "another run, by assay compare A B"
        )
    clock = "device" if "device" in clocks else min(clocks)
    sides = [[row for row in rows if row.clock == clock] for rows in (all_rows, reference_rows)]
    candidate, reference = map(find_best_row, sides)
    one, other = candidate.images_per_second, reference.images_per_second
    lowest, highest = min(one.values) / max(other.values), max(one.values) / min(other.values)
    loads = ""
    if len(candidate.load_speeds) + len(reference.load_speeds) < LEAST_LOADS:
        lowest, highest = lowest / LOAD_FACTOR, highest * LOAD_FACTOR
        loads = f", as two loads of one model may differ by {100 * (LOAD_FACTOR - 1):.0f} %"
        loads += ": --fresh-processes measures by how much"
    reason = (
        f"{one.median / other.median:.2f} ({lowest:.2f} to {highest:.2f}{loads}): {one.median:.2f} images/s "
        f"at batch {candidate.batch_size} over {other.median:.2f} at batch {reference.batch_size}, "
        f"{clock} clock"
    )
    invalid = [row for row in (candidate, reference) if not row.is_valid] + [
        faster
        for rows, best in zip(sides, (candidate, reference), strict=True)
        if (faster := find_faster_invalid(rows, best))
    ]
    if invalid:
        return "cannot tell", f"{reason}; {_describe_invalid(invalid[0])} may be the best batch"
    return _judge_range(lowest, highest, bound), reason
