"""Runs against the baseline that a history holds: the parts that a gate judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from assay.measure.accuracy.paired import PairedAccuracy, measure_paired_accuracy
from assay.measure.baseline import BASELINE_RUNS, BaselinePart, choose_clocks, name_speed
from assay.runs.history_file import HistoryRun, ResultSeries, StoredAccuracy, StoredSpeed

SpeedKey = tuple[ResultSeries, int, str, int, str]
SpeedOfRun = tuple[HistoryRun, StoredSpeed]


def list_parts(history: Sequence[HistoryRun], candidates: Sequence[HistoryRun]) -> list[BaselinePart]:
    """The accuracy and every speed of the candidates against the baseline of the history.

    What is compared is of the same model, engine, device, precision and machine; accuracies are of the same
    images, labels and preprocessing too. A figure without such a baseline, or an INVALID one, is a part with
    its problem.

    Args:
        history: By time.
        candidates: The runs that are judged, at least one; none of them is its own baseline.
    """
    known = {run.sha256 for run in candidates}
    baseline = [run for run in history if run.is_baseline and run.sha256 not in known]
    accuracies = [_compare_accuracy(run, baseline, candidates) for run in candidates if run.accuracy]
    return [*accuracies, *_compare_speeds(baseline, candidates)]


def list_unmeasured(history: Sequence[HistoryRun], candidates: Sequence[HistoryRun]) -> list[str]:
    """What the baseline of the same model has and the candidates did not measure, a line each."""
    known = {run.sha256 for run in candidates}
    baseline = [run for run in history if run.is_baseline and run.sha256 not in known]
    series = {speed.series for run in candidates for speed in run.speeds}
    series |= {run.accuracy.series for run in candidates if run.accuracy}
    accuracies = {run.accuracy.series for run in baseline if run.accuracy} & series
    accuracies -= {run.accuracy.series for run in candidates if run.accuracy}
    measured = {key_speed(speed) for run in candidates for speed in run.speeds}
    lacking = {
        key_speed(speed): name_stored_speed(speed)
        for run in baseline
        for speed in run.speeds
        if speed.series in series and key_speed(speed) not in measured
    }
    names = [*(f"the accuracy of {one}" for one in sorted(accuracies, key=str)), *lacking.values()]
    return [f"Not judged: {name}, which was not measured" for name in names]


def _compare_accuracy(
    candidate: HistoryRun, baseline: Sequence[HistoryRun], candidates: Sequence[HistoryRun]
) -> BaselinePart:
    accuracy = candidate.accuracy
    assert accuracy is not None  # the caller's condition
    several = sum(run.accuracy is not None for run in candidates) > 1
    name = f"accuracy of {candidate.folder}" if several else "accuracy"
    of_series = [run.accuracy for run in baseline if run.accuracy and run.accuracy.series == accuracy.series]
    if not of_series:
        return BaselinePart(name=name, problem=_miss(accuracy.series))
    same = [one for one in of_series if find_other_inputs(one, accuracy) == ""]
    if not same:
        other = find_other_inputs(of_series[-1], accuracy)
        return BaselinePart(name=name, problem=f"the baseline is of {other}: assay compare says which differ")
    return BaselinePart(name=name, paired=pair_accuracies(same[-1], accuracy))


def _miss(series: ResultSeries) -> str:
    return f"no baseline of {series}: assay history add RUN --baseline adds one"


def find_other_inputs(one: StoredAccuracy, other: StoredAccuracy) -> str:
    """What two accuracies are not of in common, in words; empty where they can be paired."""
    parts = [
        "other images, labels or classes" * (one.images != other.images),
        "another preprocessing" * (one.preprocessing != other.preprocessing),
    ]
    return " and of ".join(filter(None, parts))


def pair_accuracies(reference: StoredAccuracy, candidate: StoredAccuracy) -> PairedAccuracy:
    """How two runs compare over the same images, image by image."""
    one, other = unpack_hits(reference), unpack_hits(candidate)
    return measure_paired_accuracy(
        both=int((one & other).sum()),
        lost=int((one & ~other).sum()),
        won=int((~one & other).sum()),
        neither=int((~one & ~other).sum()),
    )


def unpack_hits(accuracy: StoredAccuracy) -> npt.NDArray[np.bool_]:
    """Whether each image is right, (images,)."""
    packed = np.frombuffer(accuracy.is_right, dtype=np.uint8)
    return np.unpackbits(packed, count=accuracy.image_count).astype(bool)  # (images,)


def key_speed(speed: StoredSpeed) -> SpeedKey:
    """What speeds of several runs have in common where they can be compared."""
    return speed.series, speed.batch_size, speed.clock, speed.caller_count, speed.setting


def name_stored_speed(speed: StoredSpeed) -> str:
    """A speed among those of a run."""
    return f"{name_speed(speed.batch_size, speed.clock, speed.caller_count)}{speed.setting}"


def group_speeds(runs: Sequence[HistoryRun]) -> dict[SpeedKey, list[SpeedOfRun]]:
    """The speeds of several runs by what they can be compared by, in the order of the runs."""
    grouped: dict[SpeedKey, list[SpeedOfRun]] = {}
    for run in runs:
        for speed in run.speeds:
            grouped.setdefault(key_speed(speed), []).append((run, speed))
    return grouped


def _compare_speeds(
    baseline: Sequence[HistoryRun], candidates: Sequence[HistoryRun]
) -> Iterator[BaselinePart]:
    own, before = group_speeds(candidates), group_speeds(baseline)
    by_series: dict[ResultSeries, list[SpeedKey]] = {}
    for key in own:
        by_series.setdefault(key[0], []).append(key)
    for series, keys in by_series.items():
        named = {name_stored_speed(own[key][0][1]): key for key in keys}
        which = f" of {series.engine} {series.precision}" if len(by_series) > 1 else ""
        for name in choose_clocks(named):
            key = named[name]
            problem = "" if key in before else _miss(series)
            part = BaselinePart(name="", problem=problem) if problem else _pair_speeds(before[key], own[key])
            yield dataclasses.replace(part, name=f"{name}{which}")


def _pair_speeds(before: Sequence[SpeedOfRun], own: Sequence[SpeedOfRun]) -> BaselinePart:
    """The VALID speeds of the newest runs of the baseline, and those of the runs that are judged."""
    valid = [[(run, speed) for run, speed in side if not speed.invalid] for side in (before, own)]
    for which, side, kept in zip(("the baseline", "the run"), (before, own), valid, strict=True):
        if not kept:
            return BaselinePart(name="", problem=f"{which} is INVALID: {'; '.join(side[-1][1].invalid)}")
    newest = valid[0][-BASELINE_RUNS:]
    return BaselinePart(
        name="",
        baseline=tuple(speed.images_per_second for _, speed in newest),
        candidate=tuple(speed.images_per_second for _, speed in valid[1]),
        remark=_describe_days(*([run.started[:10] for run, _ in side] for side in (newest, valid[1]))),
    )


def _describe_days(before: Sequence[str], own: Sequence[str]) -> str:
    """That the baseline does not show how far days differ, where it does not; empty where it does."""
    if len(before) < 2 or len(set(before)) > 1 or before[0] in own:
        return ""
    return f"the baseline is of {before[0]} alone and does not show how far days differ"
