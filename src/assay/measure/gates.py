"""Gates: what a run must show, each with pass, fail or cannot tell, and the reason."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from assay.defaults import DEFAULT_MARGIN_POINTS, SPEED_MARGIN_PERCENT
from assay.errors import UsageError
from assay.images.labels import IMAGENET_VAL_COUNT
from assay.measure.accuracy.accuracy import Accuracy, compute_wilson_interval
from assay.measure.accuracy.answers import SameAnswers
from assay.measure.accuracy.coverage import Coverage, describe_other_images
from assay.measure.accuracy.paired import PairedAccuracy
from assay.measure.accuracy.verdict import LossOutcome, Names, is_loss_proven, judge_loss
from assay.measure.baseline import ERROR, BaselinePart, judge_part
from assay.measure.speed.bounds import judge_rate, judge_speedup
from assay.measure.speed.throughput import ThroughputRow
from assay.models.record import ModelRecord, PublishedAccuracy

GateKind = Literal[
    "published", "mlperf", "smoke", "top1", "top5", "paired", "no-worse", "throughput", "speedup", "agree"
]
GateOutcome = Literal["pass", "fail", "cannot tell"]
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_GRAMMAR: dict[GateKind, str] = {
    "published": r"published",
    "mlperf": r"mlperf-(?P<bound>99|99\.9)",
    "smoke": r"smoke",
    "top1": rf"top1>=(?P<bound>{_NUMBER})",
    "top5": rf"top5>=(?P<bound>{_NUMBER})",
    "paired": rf"paired:(?P<bound>{_NUMBER})",
    "no-worse": rf"no-worse-than:baseline(:(?P<bound>{_NUMBER}))?(:(?P<speed_bound>{_NUMBER})%)?",
    "throughput": rf"throughput>=(?P<bound>{_NUMBER})@bs(?P<batch_size>[0-9]{{1,9}})",
    "speedup": rf"speedup>=(?P<bound>{_NUMBER})",
    "agree": rf"agree>=(?P<bound>{_NUMBER})",
}
PROFILES = (
    "published",
    "mlperf-99",
    "mlperf-99.9",
    "smoke",
    "top1>=78.5",
    "paired:0.1",
    "no-worse-than:baseline",
    "throughput>=100@bs16",
    "speedup>=1.2",
    "agree>=99.5",
)
PUBLISHED_TOLERANCE = 0.01  # of percentages with two decimals
SMOKE_IMAGE_COUNT = 500
MLPERF_DIGITS = 5  # MLPerf compares accuracies at five significant digits


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a run must show; `parse_gate` makes it of a text.

    Args:
        text: As it was written, and as `str` gives it back.
        kind: Which rule judges.
        bound: mlperf: percent of the published Top-1; top1, top5: percent; paired, no-worse: points of Top-1
            that may be lost; throughput: images per second; speedup: times as fast as the reference; agree:
            percent of images. Else 0.
        batch_size: That of a throughput; 0 for the others.
        speed_bound: no-worse: percent of the baseline's speed that may be lost; 0 for the others.
        part: no-worse: what is compared, as `judge_together.py` splits it; empty before.
    """

    text: str
    kind: GateKind
    bound: float = 0.0
    batch_size: int = 0
    speed_bound: float = 0.0
    part: str = ""

    @property
    def is_test(self) -> bool:
        """Whether it decides at 95 %, and not by what was measured itself."""
        return self.kind in {"smoke", "top1", "top5", "paired", "no-worse"}

    @property
    def is_on_accuracy(self) -> bool:
        """Whether accuracy decides it, not speed nor which answers are the same."""
        return self.kind not in {"throughput", "speedup", "agree", "no-worse"}

    def __str__(self) -> str:
        return self.text


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one gate found."""

    gate: str
    outcome: GateOutcome
    reason: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a gate can be judged by; what was not measured is None or empty.

    Args:
        accuracy: Of the run.
        is_whole: Whether it is over all 50,000 images of the validation set, none of them failed.
        is_part: Whether all its images are of the validation set, though it is not whole.
        record: The model record, with what was published.
        paired: The run against its reference on the same images.
        coverage: Which images of the two are not compared.
        rows: Its speeds.
        reference_rows: The speeds of the run that it is compared with, or of the float model of an int8 run.
        answers: How far each two ways of running the model answer alike.
        not_run: Ways that were asked for and could not be run.
        baseline: The run against its baseline, a part for the accuracy and for each speed.
        fail_error: The chance at most of a fail by a gate that decides at 95 %, where it is met exactly.
    """

    accuracy: Accuracy | None = None
    is_whole: bool = False
    is_part: bool = False
    record: ModelRecord | None = None
    paired: PairedAccuracy | None = None
    coverage: Coverage = field(default_factory=Coverage)
    rows: Sequence[ThroughputRow] = ()
    reference_rows: Sequence[ThroughputRow] = ()
    answers: Sequence[SameAnswers] = ()
    not_run: Sequence[str] = ()
    baseline: Sequence[BaselinePart] = ()
    fail_error: float = ERROR


def parse_gate(text: str) -> Gate:
    """Return the gate that is written so.

    >>> parse_gate("throughput>=100@bs16").bound, parse_gate("throughput>=100@bs16").batch_size
    (100.0, 16)

    Raises:
        UsageError: Not a gate.
    """
    for kind, pattern in _GRAMMAR.items():
        found = re.fullmatch(pattern, text)
        numbers = {name: text for name, text in found.groupdict().items() if text} if found else {}
        if found and all(float(number) for number in numbers.values()):
            is_margin = kind == "no-worse"
            return Gate(
                text=text,
                kind=kind,
                bound=float(numbers.get("bound", DEFAULT_MARGIN_POINTS if is_margin else 0)),
                batch_size=int(numbers.get("batch_size", 0)),
                speed_bound=float(numbers.get("speed_bound", SPEED_MARGIN_PERCENT if is_margin else 0)),
            )
    close = difflib.get_close_matches(text.lower(), PROFILES, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UsageError(
        f"--gate {text}: not a gate",
        hint=f"{meant}for example: {', '.join(PROFILES)}; assay help gates says what each asks for",
    )


def judge_gate(gate: Gate, evidence: Evidence) -> GateResult:
    """What a gate says of a run, alone."""
    outcome, reason = _JUDGES[gate.kind](gate, evidence)
    return GateResult(gate=str(gate), outcome=outcome, reason=reason)


def _judge_published(_: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    accuracy, record = evidence.accuracy, evidence.record
    if (missing := _find_missing(evidence)) or accuracy is None or record is None:
        return _rule_out(evidence, missing, rules_out_published)
    measured = (round(accuracy.top1.percent, 2), round(accuracy.top5.percent, 2))
    is_near = not rules_out_published(record, (measured[0], measured[0]), (measured[1], measured[1]))
    sources = ", ".join(map(_show_published, record.published_accuracy))
    reason = f"Top-1/Top-5 {measured[0]:.2f}/{measured[1]:.2f}, published {sources}"
    return ("pass" if is_near else "fail"), reason


def rules_out_published(
    record: ModelRecord, top1_percent: tuple[float, float], top5_percent: tuple[float, float]
) -> bool:
    """Whether percentages from low to high hold none of the published pairs."""
    return not any(
        _is_near(each.top1_percent, top1_percent)
        and (each.top5_percent is None or _is_near(each.top5_percent, top5_percent))
        for each in record.published_accuracy
    )


def _show_published(published: PublishedAccuracy) -> str:
    top5 = "no Top-5" if published.top5_percent is None else f"{published.top5_percent:g}"
    return f"{published.top1_percent:g}/{top5}{' (doubtful)' if published.doubt else ''}"


def _is_near(published: float, percent: tuple[float, float]) -> bool:
    limit = PUBLISHED_TOLERANCE + 1e-9
    return round(percent[0], 2) - published <= limit and published - round(percent[1], 2) <= limit


def find_mlperf_threshold(record: ModelRecord, percent: float) -> float:
    """Return so many percent of the first Top-1 that the record publishes, at five significant digits."""
    return _round_significant(record.published_accuracy[0].top1_percent * percent / 100)


def misses_mlperf(record: ModelRecord, percent: float, top1_percent: float) -> bool:
    """Whether a Top-1, at five significant digits, is below that share of the published one."""
    return _round_significant(top1_percent) < find_mlperf_threshold(record, percent)


def _judge_mlperf(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    """Top-1 at least so many percent of the first that the record publishes, at five significant digits."""
    accuracy, record = evidence.accuracy, evidence.record
    if (missing := _find_missing(evidence)) or accuracy is None or record is None:
        return _rule_out(
            evidence, missing, lambda record, top1, _: misses_mlperf(record, gate.bound, top1[1])
        )
    first = record.published_accuracy[0]
    measured, least = _round_significant(accuracy.top1.percent), find_mlperf_threshold(record, gate.bound)
    reason = (
        f"Top-1 {measured:g}, needed {least:g}: {gate.bound:g} % of {first.top1_percent:g} ({first.source})"
    )
    return ("fail" if misses_mlperf(record, gate.bound, accuracy.top1.percent) else "pass"), reason


def _rule_out(
    evidence: Evidence,
    missing: str,
    rules_out: Callable[[ModelRecord, tuple[float, float], tuple[float, float]], bool],
) -> tuple[GateOutcome, str]:
    """Return fail where a part of the whole set fails whatever the images say that it lacks, or that failed.

    A subset never passes.
    """
    accuracy, record = evidence.accuracy, evidence.record
    if accuracy is None or record is None or not record.published_accuracy or not evidence.is_part:
        return "cannot tell", missing
    lacking = IMAGENET_VAL_COUNT - accuracy.scored_count
    top1, top5 = (
        (100 * hits / IMAGENET_VAL_COUNT, 100 * (hits + lacking) / IMAGENET_VAL_COUNT)
        for hits in (accuracy.top1.hits, accuracy.top5.hits)
    )
    if not rules_out(record, top1, top5):
        return "cannot tell", missing
    return "fail", (
        f"whatever the {lacking:,} images say that are lacking or failed, Top-1 of the whole set is "
        f"{top1[0]:.2f} to {top1[1]:.2f}, Top-5 {top5[0]:.2f} to {top5[1]:.2f}"
    )


def _find_missing(evidence: Evidence) -> str:
    """Why a gate for the whole set cannot be judged; empty where it can."""
    if evidence.accuracy is None:
        return "no accuracy was measured"
    if not evidence.is_whole:
        failed = evidence.accuracy.failed_count
        return (
            f"needs all 50,000 validation images, none failed; this run has "
            f"{evidence.accuracy.image_count:,}, {failed:,} failed"
        )
    if evidence.record is None or not evidence.record.published_accuracy:
        return "the model record publishes no accuracy"
    return ""


def _judge_smoke(_: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    accuracy, record = evidence.accuracy, evidence.record
    if accuracy is None or record is None or not record.published_accuracy:
        return "cannot tell", "needs an accuracy, and a published one in the model record"
    if accuracy.image_count < SMOKE_IMAGE_COUNT:
        return "cannot tell", f"needs {SMOKE_IMAGE_COUNT} images; this run has {accuracy.image_count:,}"
    top1 = accuracy.top1
    low, high = top1.interval_percent
    published = [each.top1_percent for each in record.published_accuracy]
    reason = f"Top-1 {low:.2f} to {high:.2f} (95 %), published {', '.join(f'{p:g}' for p in published)}"
    if any(low <= percent <= high for percent in published):
        return "pass", reason
    wide = compute_wilson_interval(top1.hits, accuracy.image_count, 1 - evidence.fail_error)
    is_held = evidence.fail_error < ERROR and any(wide[0] <= one / 100 <= wide[1] for one in published)
    return ("cannot tell" if is_held else "fail"), reason


def _judge_paired(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    """No more lost than so many points, at 95 %."""
    if evidence.paired is None:
        return "cannot tell", "needs a reference on the same images, such as --compare-with-torch"
    if other := describe_other_images(evidence.coverage, "the reference", "the run"):
        return "cannot tell", f"not over the same images: {'; '.join(other)}"
    verdict = judge_loss(evidence.paired, gate.bound, Names(reference="the reference", candidate="the run"))
    outcomes: dict[LossOutcome, GateOutcome] = {
        "within": "pass",
        "not within": "fail",
        "cannot tell": "cannot tell",
    }
    outcome = outcomes[verdict.outcome]
    if outcome == "fail" and not is_loss_proven(evidence.paired, gate.bound, evidence.fail_error):
        outcome = "cannot tell"
    return outcome, verdict.sentence.removesuffix(".")


def _judge_rate(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    return judge_rate(evidence.rows, gate.batch_size, gate.bound)


def _judge_speedup(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    return judge_speedup(evidence.rows, evidence.reference_rows, gate.bound)


def _judge_no_worse(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    """One part of the comparison with a baseline; `judge_gates` makes a gate of each."""
    part = next((part for part in evidence.baseline if part.name == gate.part), None)
    if part is None:
        return "cannot tell", "needs a baseline: assay history add RUN --gate …, or assay compare A B"
    return judge_part(part, gate.bound, gate.speed_bound, evidence.fail_error)


def _judge_at_least(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    """So many percent of Top-1: over all validation images by the count itself, else at 95 %."""
    accuracy = evidence.accuracy
    if accuracy is None:
        return "cannot tell", "no accuracy was measured"
    found = accuracy.top5 if gate.kind == "top5" else accuracy.top1
    low, high = found.interval_percent
    reason = (
        f"{found.hits:,} of {accuracy.image_count:,} ({found.percent:.2f} %; 95 %: {low:.2f} to {high:.2f})"
    )
    if gate.kind == "top5" and not accuracy.has_top5:
        return "cannot tell", f"{reason}: among {accuracy.class_count} classes Top-5 says nothing"
    if evidence.is_whole:
        return ("pass" if found.percent >= gate.bound else "fail"), f"{reason}, all validation images"
    if low >= gate.bound:
        return "pass", reason
    highest = 100 * compute_wilson_interval(found.hits, accuracy.image_count, 1 - evidence.fail_error)[1]
    if highest < gate.bound:
        return "fail", reason
    return "cannot tell", f"{reason}: these images do not settle it"


def _judge_agreement(gate: Gate, evidence: Evidence) -> tuple[GateOutcome, str]:
    """So many percent of these very images with the same Top-1, in each two ways of running the model."""
    if not evidence.answers:
        return (
            "cannot tell",
            "needs several ways of running the model: assay agree, or run --accuracy-batch 1,best",
        )
    least = min(evidence.answers, key=lambda same: same.percent)
    low, high = least.interval_percent
    reason = (
        f"same Top-1 on {least.same_top1_count:,} of {least.image_count:,} images ({least.percent:.2f} %; "
        f"exact 95 %: {low:.2f} to {high:.2f}), the least of {len(evidence.answers)} pairs"
    )
    if least.percent < gate.bound:
        return "fail", reason
    if evidence.not_run:
        return "cannot tell", f"{reason}; not run: {', '.join(evidence.not_run)}"
    return "pass", reason


def _round_significant(value: float) -> float:
    """Return the value at five significant digits.

    >>> _round_significant(78.269400001)
    78.269
    """
    if value == 0:
        return 0.0
    return round(value, MLPERF_DIGITS - 1 - math.floor(math.log10(abs(value))))


_JUDGES: dict[GateKind, Callable[[Gate, Evidence], tuple[GateOutcome, str]]] = {
    "published": _judge_published,
    "mlperf": _judge_mlperf,
    "smoke": _judge_smoke,
    "top1": _judge_at_least,
    "top5": _judge_at_least,
    "paired": _judge_paired,
    "no-worse": _judge_no_worse,
    "throughput": _judge_rate,
    "speedup": _judge_speedup,
    "agree": _judge_agreement,
}
