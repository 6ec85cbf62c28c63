"""Whether a figure of speed can be relied on, and if not, why."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import msgspec

from assay.measure.speed.machine_use import MachineUse

MIN_WARM_UP_S = 0.2  # as trtexec's default
MIN_MEASURED_S = 3.0  # over all repeats; trtexec's default, too
MAX_VARIATION_PERCENT = 2.5  # over which trtexec warns, too
MAX_OTHERS_PERCENT = 5.0
MAX_FREQUENCY_CHANGE_PERCENT = 10.0


class Validity(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a row keeps the rules, and the figures that this was judged by.

    `variation_percent` is the coefficient of variation of the repeats: their standard deviation over their
    mean.
    """

    is_valid: bool
    reasons: tuple[str, ...]
    warm_up_s: float
    measured_s: float
    variation_percent: float
    machine: MachineUse


def judge_validity(
    images_per_second: Sequence[float], warm_up_s: float, measured_s: float, machine: MachineUse
) -> Validity:
    """Whether a row is VALID, and every reason why it is not.

    Args:
        images_per_second: One of each repeat, at least two.
        warm_up_s: Time of the calls before the first repeat; of the shortest, where each has its own.
        measured_s: Time of all repeats.
        machine: What happened to the machine meanwhile.
    """
    mean = statistics.fmean(images_per_second)
    variation = 100 * statistics.stdev(images_per_second) / mean if mean > 0 else 0.0
    reasons = []
    if warm_up_s < MIN_WARM_UP_S:
        reasons.append(f"warmed up for less than {MIN_WARM_UP_S:g} s")
    if measured_s < MIN_MEASURED_S:
        reasons.append(f"measured for less than {MIN_MEASURED_S:g} s")
    if variation > MAX_VARIATION_PERCENT:
        reasons.append(f"the repeats vary by more than {MAX_VARIATION_PERCENT:g} %")
    reasons += _judge_machine(machine)
    return Validity(
        is_valid=not reasons,
        reasons=tuple(reasons),
        warm_up_s=warm_up_s,
        measured_s=measured_s,
        variation_percent=variation,
        machine=machine,
    )


def _judge_machine(machine: MachineUse) -> Iterator[str]:
    quota, others, change = (
        machine.processor_quota,
        machine.others_percent,
        machine.frequency_change_percent,
    )
    if others is not None and others > MAX_OTHERS_PERCENT:
        yield f"others took more than {MAX_OTHERS_PERCENT:g} % of the processors"
    if quota is not None and quota < machine.processors:
        yield "a control group allows less time than the processors have"
    if change is not None and change > MAX_FREQUENCY_CHANGE_PERCENT:
        yield f"the clock's frequency changed by more than {MAX_FREQUENCY_CHANGE_PERCENT:g} %"
    if machine.throttle_count:
        yield "the processor was throttled for its heat"
