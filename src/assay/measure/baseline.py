"""A run against its baseline: no worse in accuracy within some points, in speed within some percent."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from assay.measure.accuracy.coverage import Coverage, describe_other_images
from assay.measure.accuracy.paired import PairedAccuracy
from assay.measure.speed.comparison import compute_faster_p
from assay.measure.speed.throughput import ThroughputRow

ERROR = 0.05  # the chance that a test takes to be wrong, one-sided
BaselineOutcome = Literal["pass", "fail", "cannot tell"]
Rates = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BaselinePart:
    """One comparison with the baseline: of the accuracy, or of one speed.

    Args:
        name: What is compared; unique among the parts.
        paired: The candidate's Top-1 against the baseline's on the same images; None for a speed.
        baseline: Images per second of each repeat, a tuple for each run of the baseline; empty for accuracy.
        candidate: Likewise, of the candidate's runs.
        problem: Why it cannot be compared; empty where it can.
    """

    name: str
    paired: PairedAccuracy | None = None
    baseline: tuple[Rates, ...] = ()
    candidate: tuple[Rates, ...] = ()
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
    """By the exact rank-sum test over the repeats: within the margin of all, or slower than each run.

    What differs between one run and the next, though nothing changed, is seen only where the baseline has
    several runs: to fail, the candidate is slower than every one of them.
    """
    baseline, candidate = ([rate for run in runs for rate in run] for runs in (part.baseline, part.candidate))
    medians = statistics.median(candidate), statistics.median(baseline)
    reason = (
        f"{medians[0]:.2f} images/s ({_count(part.candidate)}), baseline {medians[1]:.2f} "
        f"({_count(part.baseline)}): {100 * (medians[0] / medians[1] - 1):+.1f} %"
    )
    allowed = [rate * (1 - margin_percent / 100) for rate in baseline]
    if (p_value := compute_faster_p(allowed, candidate)) <= ERROR:
        return "pass", f"{reason}; {margin_percent:g} % slower is ruled out, exact rank-sum p = {p_value:.2g}"
    p_value = max(compute_faster_p(candidate, run) for run in part.baseline)
    if p_value <= fail_error:
        which = "it" if len(part.baseline) == 1 else f"each of its {len(part.baseline)} runs"
        return "fail", f"{reason}; slower than {which}, exact rank-sum p = {p_value:.2g}"
    least = max(1 / math.comb(len(candidate) + len(run), len(run)) for run in part.baseline)
    if least > fail_error:
        return "cannot tell", f"{reason}; so few repeats cannot fail, measure with more --repeats"
    return "cannot tell", f"{reason}; neither slower nor within {margin_percent:g} % is proven"


def _count(runs: Sequence[Rates]) -> str:
    repeats = sum(map(len, runs))
    return f"{repeats} repeats" if len(runs) == 1 else f"{repeats} repeats of {len(runs)} runs"


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
        baseline=(baseline.images_per_second.values,),
        candidate=(candidate.images_per_second.values,),
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
