"""A history to its trends: each figure over time, kept apart by what it cannot be compared over."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from assay.errors import UsageError
from assay.files import write_file
from assay.measure.accuracy.accuracy import compute_wilson_interval
from assay.measure.change_points import ChangePoint, find_level_changes, find_steps
from assay.report.differences import list_differences
from assay.report.trend import Trend, TrendChange, TrendRun, render_trend_page
from assay.runs.history_file import HistoryRun, ResultSeries, StoredAccuracy, read_history
from assay.workflows.history.baseline import (
    SpeedOfRun,
    find_other_inputs,
    group_speeds,
    name_stored_speed,
    pair_accuracies,
)

ERROR = 0.05  # the chance that any of the changes found is by chance
# every run is another day's; a benchmark has no one batch size; images are the same, whatever their path
_NOT_TOLD = {"started", "batch size", "images"}
Accuracies = list[tuple[HistoryRun, StoredAccuracy]]


def gather_trends(history: Sequence[HistoryRun]) -> tuple[Trend, ...]:
    """Every figure over time, accuracies first; changes are found at 5 % over all trends together.

    Args:
        history: By time.
    """
    accuracies, speeds = _group_accuracies(history), group_speeds(history)
    error = ERROR / max(1, len(accuracies) + len(speeds))
    return (
        *(_make_accuracy_trend(group, accuracies, error) for group in accuracies),
        *(_make_speed_trend(group, error) for group in speeds.values()),
    )


def write_trend_page(history_path: Path, page: Path) -> tuple[Trend, ...]:
    """Write the page of a history, and return what it shows.

    Raises:
        UsageError: No such history, or nothing in it.
        BadInputError: It is damaged.
    """
    trends = gather_trends(read_history(history_path))
    if not trends:
        raise UsageError(f"{history_path} holds no run", hint="assay history add RUN adds one")
    write_file(page, render_trend_page(trends, history_path.name).encode("utf-8", "backslashreplace"))
    return trends


def _group_accuracies(history: Iterable[HistoryRun]) -> list[Accuracies]:
    groups: dict[tuple[ResultSeries, str, str], Accuracies] = {}
    for run in history:
        if run.accuracy is not None:
            key = run.accuracy.series, run.accuracy.images, run.accuracy.preprocessing
            groups.setdefault(key, []).append((run, run.accuracy))
    return list(groups.values())


def _make_accuracy_trend(group: Accuracies, groups: Sequence[Accuracies], error: float) -> Trend:
    runs, accuracies = zip(*group, strict=True)
    first: StoredAccuracy = accuracies[0]
    pairs = [pair_accuracies(one, other) for one, other in itertools.pairwise(accuracies)]
    found = find_steps([paired.p_value for paired in pairs], error)
    changes = [
        _name_change(change, runs, f"{pairs[change.place - 1].difference_points:+.2f} points")
        for change in found
    ]
    others = [other[0][1] for other in groups if other is not group and other[0][1].series == first.series]
    return Trend(
        name=f"Top-1 of {first.image_count:,} images",
        unit="%",
        series=f"{first.series}",
        runs=tuple(_make_accuracy_run(runs, accuracies, place) for place in range(len(runs))),
        changes=tuple(changes),
        notes=tuple(
            dict.fromkeys(f"Apart from a trend of {find_other_inputs(first, other)}" for other in others)
        ),
    )


def _make_accuracy_run(
    runs: Sequence[HistoryRun], accuracies: Sequence[StoredAccuracy], place: int
) -> TrendRun:
    found, run = accuracies[place], runs[place]
    low, high = compute_wilson_interval(found.top1_hits, found.image_count)
    failed = f", {found.failed_count:,} failed" if found.failed_count else ""
    hits = f"{found.top1_hits:,} of {found.image_count:,}"
    return TrendRun(
        number=run.number,
        started=run.started,
        note=run.note,
        value=100 * found.top1_hits / found.image_count,
        low=100 * low,
        high=100 * high,
        detail=f"{hits}, 95 %: {100 * low:.2f} to {100 * high:.2f}{failed}",
        marks=found.notes,
        changed=_list_changed(runs, place),
        is_baseline=run.is_baseline,
    )


def _make_speed_trend(group: Sequence[SpeedOfRun], error: float) -> Trend:
    runs, speeds = [run for run, _ in group], [speed for _, speed in group]
    first = speeds[0]
    medians = [statistics.median(speed.images_per_second) for speed in speeds]
    valid = [place for place, speed in enumerate(speeds) if not speed.invalid]
    found = find_level_changes([medians[place] for place in valid], error)
    changes = [
        _name_change(
            ChangePoint(place=valid[change.place], p_value=change.p_value),
            runs,
            f"{100 * (change.ratio - 1):+.1f} %",
        )
        for change in found
    ]
    return Trend(
        name=name_stored_speed(first).capitalize(),
        unit="images/s",
        series=f"{first.series}",
        runs=tuple(
            TrendRun(
                number=runs[place].number,
                started=runs[place].started,
                note=runs[place].note,
                value=medians[place],
                low=min(speed.images_per_second),
                high=max(speed.images_per_second),
                detail=f"{len(speed.images_per_second)} repeats, {min(speed.images_per_second):.2f} to "
                f"{max(speed.images_per_second):.2f}",
                invalid=speed.invalid,
                changed=_list_changed(runs, place),
                is_baseline=runs[place].is_baseline,
            )
            for place, speed in enumerate(speeds)
        ),
        changes=tuple(changes),
    )


def _name_change(change: ChangePoint, runs: Sequence[HistoryRun], by: str) -> TrendChange:
    return TrendChange(
        run=runs[change.place].number,
        by=by,
        p_value=change.p_value,
        changed=_list_changed(runs, change.place),
    )


def _list_changed(runs: Sequence[HistoryRun], place: int) -> tuple[str, ...]:
    """What is not the same in a run as in the one before it in its trend."""
    if place == 0:
        return ()
    found = list_differences(runs[place - 1].manifest, runs[place].manifest)
    return tuple(f"{one}" for one in found if one.what not in _NOT_TOLD)
