"""The charts of a report of runs: the first one, and those that stand further down the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assay.measure.accuracy.accuracy import compute_wilson_interval
from assay.report.charts.chart import Chart
from assay.report.charts.class_chart import ClassPoint, draw_classes
from assay.report.charts.interval_chart import Figure, draw_intervals
from assay.report.charts.line_chart import Series, draw_chart
from assay.report.charts.reliability import draw_reliability
from assay.report.charts.trade_off_chart import draw_trade_off
from assay.report.named_run import NamedRun, name_class, name_run
from assay.report.sentences import describe_calibration
from assay.report.trade_off import list_points

LEAST_IMAGES = 2  # of a class, on average, from which its share is more than right or wrong


def choose_charts(runs: Sequence[NamedRun]) -> tuple[Chart | None, list[Chart]]:
    """The chart of the first screen, and all others in order.

    The first shows accuracy against speed. Where no model has both, it is the accuracies, or the speeds.
    """
    trade_off = _draw_trade_off(runs)
    speeds, accuracies = list(_list_speeds(runs)), list(_list_intervals(runs))
    others = [*_list_classes(runs), *speeds, *accuracies, *_list_reliability(runs)]
    first = next(iter([*trade_off, *accuracies, *speeds]), None)
    return first, [chart for chart in others if chart is not first]


def _draw_trade_off(runs: Sequence[NamedRun]) -> list[Chart]:
    points = list_points(runs)
    if not points:
        return []
    title = "Accuracy against speed"
    notes = [
        "Up is more accurate, right is faster. Bars: the 95 % interval, the lowest and highest repeat; "
        "another run may lie outside."
    ]
    if any(not point.is_valid for point in points):
        notes.append("! marks a speed that is INVALID.")
    if any(point.is_published for point in points):
        notes.append(
            "Hollow: as published, over 50,000 images and on the clock that the point names; not run here, "
            "and no ratio to them is given."
        )
    return [Chart(title=title, svg=draw_trade_off(title, points), note=" ".join(notes))]


def _list_classes(runs: Sequence[NamedRun]) -> Iterator[Chart]:
    """Yield the accuracy of every class of each run, where classes have several images."""
    for run in runs:
        classes = run.metrics.per_class if run.metrics else []
        if sum(one.image_count for one in classes) < LEAST_IMAGES * max(len(classes), 1):
            continue
        title = f"{run.name}: Classes by accuracy" if run.name else "Classes by accuracy"
        points = sorted(
            (
                ClassPoint(
                    label=f"{name_class(one.label, run.manifest)}: {one.top1_hits:,} of "
                    f"{one.image_count:,} right",
                    share=one.top1_hits / one.image_count,
                )
                for one in classes
            ),
            key=lambda point: point.share,
        )
        yield Chart(title=title, svg=draw_classes(title, points), note=_count_weak(points))


def _count_weak(points: Sequence[ClassPoint]) -> str:
    none = sum(point.share == 0 for point in points)
    half = sum(point.share < 0.5 for point in points)
    return (
        f"{half:,} of {len(points):,} classes have less than half of their images right, {none:,} of them "
        "none. "
        "Point, touch or use the arrow keys to read a class; the table below has all."
    )


def _list_speeds(runs: Sequence[NamedRun]) -> Iterator[Chart]:
    rates, medians, tails = (dict[str, list[tuple[int, float, float, float]]]() for _ in range(3))
    invalid: dict[str, set[int]] = {}
    for run in runs:
        start = f"{run.name}: " if run.name else ""
        for row in run.benchmark.rows if run.benchmark else ():
            name = f"{start}{row.engine} {row.precision}, {row.clock} clock"
            values, latency = row.images_per_second.values, row.latency_ms
            rates.setdefault(name, []).append(
                (row.batch_size, row.images_per_second.median, min(values), max(values))
            )
            for kept, mark, value in ((medians, "p50", latency.p50), (tails, "p99", latency.p99)):
                kept.setdefault(f"{mark}, {name}", []).append((row.batch_size, value, value, value))
            if not row.is_valid:
                for line in (name, f"p50, {name}", f"p99, {name}"):
                    invalid.setdefault(line, set()).add(row.batch_size)
    if not rates:
        return
    published = next((run.manifest.model.published_throughput for run in runs if run.manifest.model), ())
    for column in published:
        rates[f"{column.device}, published, {column.clock} clock"] = [
            (size, rate, rate, rate) for size, rate in sorted(column.images_per_second.items())
        ]
    for title, unit, lines in (
        ("Throughput by batch size", "images/s", rates),
        ("Latency of a call by batch size", "ms", medians | tails),
    ):
        series = [
            Series(name=name, points=sorted(points), invalid=frozenset(invalid.get(name, ())))
            for name, points in lines.items()
        ]
        note = "Dashed circles are INVALID: the notes of Throughput say why." if invalid else ""
        yield Chart(title=title, svg=draw_chart(title, unit, series), note=note)


def _list_intervals(runs: Sequence[NamedRun]) -> Iterator[Chart]:
    figures = [figure for run in runs for figure in _list_figures(run)]
    if not figures:
        return
    record = next((run.manifest.model for run in runs if run.manifest.model), None)
    figures += [
        Figure(
            name=f"published: {one.setting or one.source}",
            percent=one.top1_percent,
            interval=None,
            is_published=True,
        )
        for one in (record.published_accuracy if record else ())
    ]
    title = "Top-1 with its 95 % interval"
    note = "Published figures are over the 50,000 validation images." if figures[-1].is_published else ""
    yield Chart(title=title, svg=draw_intervals(title, figures), note=note)


def _list_figures(run: NamedRun) -> Iterator[Figure]:
    if run.metrics is None:
        return
    top1, own = run.metrics.accuracy.top1, run.metrics.agreement
    yield Figure(name=name_run(run), percent=top1.percent, interval=top1.interval_percent)
    if own is not None:
        right = own.paired.both_count + own.paired.lost_count
        low, high = compute_wilson_interval(right, own.paired.image_count)
        yield Figure(
            name=f"reference: {own.reference}",
            percent=100 * right / own.paired.image_count,
            interval=(100 * low, 100 * high),
        )


def _list_reliability(runs: Sequence[NamedRun]) -> Iterator[Chart]:
    for run in runs:
        if run.metrics is None:
            continue
        title = f"{run.name}: Reliability diagram" if run.name else "Reliability diagram"
        found = run.metrics.calibration_error
        if found is None or found.ece is None:
            yield Chart(title=title, svg="", note=describe_calibration(found))
        else:
            yield Chart(title=title, svg=draw_reliability(found, title))
