"""A run against its baseline: no worse in accuracy within some points, in speed within some percent."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from assay.measure.accuracy.coverage import Coverage, describe_other_images
from assay.measure.accuracy.paired import PairedAccuracy
from assay.measure.speed.between_loads import count_needed, estimate_ratio, find_provable
from assay.measure.speed.throughput import ThroughputRow

ERROR = 0.05  # the chance that a test takes to be wrong, one-sided
BASELINE_RUNS = 5
"""So many runs of the baseline at most are taken for a speed, the newest ones."""
BaselineOutcome = Literal["pass", "fail", "cannot tell"]
Rates = tuple[float, ...]
Unit = Literal["run", "load"]
MOST: dict[Unit, int] = {"run": BASELINE_RUNS, "load": 20}  # that are worth asking for
_ASK: dict[Unit, str] = {
    "run": "one run on each side does not show how far runs differ by themselves: make the baseline of "
    f"{BASELINE_RUNS} runs, assay history add RUN --baseline adds one",
    "load": "one load of the model on each side does not show how far loads differ by themselves: measure "
    "both with --fresh-processes",
}


@dataclass(frozen=True, kw_only=True)
class BaselinePart:
    """One comparison with the baseline: of the accuracy, or of one speed.

    Args:
        name: What is compared; unique among the parts.
        paired: The candidate's Top-1 against the baseline's on the same images; None for a speed.
        baseline: Images per second of each repeat, a tuple for each run of the baseline; empty for accuracy.
        candidate: Likewise, of the candidate's runs.
        unit: What the tuples are of: runs, or loads of the model within one run.
        remark: What must be known of how far they differ; empty where nothing.
        problem: Why it cannot be compared; empty where it can.
    """

    name: str
    paired: PairedAccuracy | None = None
    baseline: tuple[Rates, ...] = ()
    candidate: tuple[Rates, ...] = ()
    unit: Unit = "run"
    remark: str = ""
    problem: str = ""


def judge_part(
    part: BaselinePart, margin_points: float, margin_percent: float, fail_error: float
) -> tuple[BaselineOutcome, str]:
    """Whether the candidate is proven to be no worse within the margin, or to be worse.

    Args:
        part: What is compared.
        margin_points: The loss of Top-1 that does not matter, in percentage points, over 0.
        margin_percent: The loss of speed that does not matter, in percent, over 0.
        fail_error: The chance at most of a fail where nothing is worse.
    """
    if part.problem:
        return "cannot tell", part.problem
    if part.paired is not None:
        return _judge_accuracy(part.paired, margin_points, fail_error)
    return _judge_speed(part, margin_percent, fail_error)


def _judge_accuracy(
    paired: PairedAccuracy, margin_points: float, fail_error: float
) -> tuple[BaselineOutcome, str]:
    """By the exact McNemar test for a loss, and the interval of the difference for none."""
    low, high = paired.interval_points
    reason = (
        f"{paired.lost_count:,} lost, {paired.won_count:,} won on the same {paired.image_count:,} images: "
        f"{paired.difference_points:+.2f} points (95 %: {low:+.2f} to {high:+.2f})"
    )
    if paired.lost_count == 0:
        return "pass", f"{reason}; nothing is lost on these images"
    if low >= -margin_points:
        return "pass", f"{reason}; a loss over {margin_points:g} points is ruled out"
    if paired.lost_count > paired.won_count and paired.p_value / 2 <= fail_error:
        return "fail", f"{reason}; exact McNemar, one-sided: p = {paired.p_value / 2:.2g}"
    return "cannot tell", f"{reason}; neither a loss nor none within {margin_points:g} points is proven"


def _judge_speed(part: BaselinePart, margin_percent: float, fail_error: float) -> tuple[BaselineOutcome, str]:
    """By Student's t test of the runs, or of the loads: within the margin, or slower.

    How far one run differs from the next, though nothing changed, is measured: by the runs themselves.
    """
    sides = [[statistics.median(repeats) for repeats in runs] for runs in (part.baseline, part.candidate)]
    levels = [statistics.geometric_mean(side) for side in sides]
    reason = (
        f"{levels[1]:.2f} images/s ({_count(sides[1], part.unit)}), baseline {levels[0]:.2f} "
        f"({_count(sides[0], part.unit)}): {100 * (levels[1] / levels[0] - 1):+.1f} %"
    )
    found = estimate_ratio(*sides)
    if found is None:
        return "cannot tell", f"{reason}; {_ASK[part.unit]}"
    reason += f", where one {part.unit} differs from the next by {100 * found.deviation:.2g} %"
    reason += f" ({part.remark})" if part.remark else ""
    within = 1 - margin_percent / 100
    if (p_value := found.compute_p_above(within)) <= ERROR:
        return "pass", f"{reason}; {margin_percent:g} % slower is ruled out, t test p = {p_value:.2g}"
    if (p_value := found.compute_p_below(1)) <= fail_error:
        return "fail", f"{reason}; slower, t test p = {p_value:.2g}"
    need = _describe_need(found.deviation, within, min(map(len, sides)), part.unit)
    return "cannot tell", f"{reason}; neither slower nor within {margin_percent:g} % is proven{need}"


def _describe_need(deviation: float, within: float, count: int, unit: Unit) -> str:
    """How many runs or loads would settle it, or what at most could be proven."""
    needed = count_needed(deviation, within, ERROR)
    if count >= needed:
        return ""
    if needed <= MOST[unit]:
        return f": that takes about {needed} {unit}s on each side"
    provable = 100 * (1 - find_provable(deviation, MOST[unit], ERROR))
    return f": {unit}s that differ so much prove {provable:.2g} % at best, with {MOST[unit]} on each side"


def _count(speeds: Sequence[float], unit: Unit) -> str:
    return f"{len(speeds)} {unit}" + "s" * (len(speeds) > 1)


def compare_with_baseline(
    paired: PairedAccuracy,
    coverage: Coverage,
    baseline_rows: Sequence[ThroughputRow],
    candidate_rows: Sequence[ThroughputRow],
) -> list[BaselinePart]:
    """The parts of one run against one baseline run: the accuracy, and each speed that both have.

    Args:
        paired: The candidate against the baseline, on the images of both.
        coverage: Which images are of one of them alone.
        baseline_rows: Speeds of the baseline.
        candidate_rows: Speeds of the candidate.
    """
    other = describe_other_images(coverage, "the baseline", "the run")
    problem = f"not over the same images: {'; '.join(other)}" if other else ""
    sides = [{name_row(row): row for row in rows} for rows in (baseline_rows, candidate_rows)]
    names = choose_clocks([name for name in sides[1] if name in sides[0]])
    return [
        BaselinePart(name="accuracy", paired=paired, problem=problem),
        *(_pair_rows(name, sides[0][name], sides[1][name]) for name in names),
    ]


def _pair_rows(name: str, baseline: ThroughputRow, candidate: ThroughputRow) -> BaselinePart:
    reasons = [
        f"{which} is INVALID: {row.invalid_reasons}"
        for which, row in (("the baseline", baseline), ("the run", candidate))
        if not row.is_valid
    ]
    return BaselinePart(
        name=name,
        baseline=tuple((speed,) for speed in baseline.load_speeds),
        candidate=tuple((speed,) for speed in candidate.load_speeds),
        unit="load",
        problem="; ".join(reasons),
    )


def name_row(row: ThroughputRow) -> str:
    """What is compared of the rows of two runs."""
    return name_speed(row.batch_size, row.clock, row.caller_count)


def name_speed(batch_size: int, clock: str, caller_count: int) -> str:
    """A speed among those of one model.

    >>> name_speed(8, "call", 2)
    'speed, batch 8, 2 callers, call clock'
    """
    callers = f", {caller_count} callers" if caller_count > 1 else ""
    return f"speed, batch {batch_size}{callers}, {clock} clock"


def choose_clocks(names: Iterable[str]) -> list[str]:
    """Those of the names to compare: a speed on the call clock not where the device clock has it too.

    >>> choose_clocks(["speed, batch 1, call clock", "speed, batch 1, device clock"])
    ['speed, batch 1, device clock']
    """
    named = list(names)
    on_device = {name.replace("device clock", "call clock") for name in named if "device clock" in name}
    return [name for name in named if name not in on_device]
