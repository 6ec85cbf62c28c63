"""Writes `report.html`: one page that needs no network and nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from assay.measure.accuracy.accuracy import compute_wilson_interval
from assay.report.charts.interval_chart import Figure, draw_intervals
from assay.report.charts.line_chart import Series, draw_chart
from assay.report.charts.reliability import draw_reliability
from assay.report.contents import Contents
from assay.report.named_run import NamedRun, Picture, name_run
from assay.report.sentences import describe_calibration
from assay.report.tables.runs import show_guess
from assay.report.tables.table import Table


def render_page(contents: Contents) -> str:
    """Return the page as HTML."""
    charts = [
        *_list_charts(contents.runs),
        *_list_intervals(contents.runs),
        *_list_reliability(contents.runs),
    ]
    return fill_page(contents, charts)


def fill_page(
    contents: Contents,
    charts: Sequence[dict[str, str]],
    *,
    pictures: Sequence[tuple[str, Picture]] = (),
    candidate: str = "This run",
) -> str:
    """The page of some contents.

    Args:
        contents: All but the charts.
        charts: Each with `title`, `svg` and `note`.
        pictures: Images to look at, each with the name of its run; those of the contents' runs if none.
        candidate: What says the first of an image's answers, where its run has no name.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("assay.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["show_guess"] = show_guess
    pictures = pictures or contents.pictures
    tables = [_give_id(table, number) for number, table in enumerate(contents.tables)]
    kinds = dict.fromkeys(("lost", "won", "changed", "mistake"), 0)
    for _, picture in pictures:
        kinds[picture.kind] += 1
    return environment.get_template("report.html.j2").render(
        contents=contents,
        charts=charts,
        main_tables=tables[: len(contents.main_tables)],
        detail_tables=tables[len(contents.main_tables) :],
        pictures=pictures,
        candidate=candidate,
        kinds=[(kind, count) for kind, count in kinds.items() if count],
        gallery_notes=[
            f"{run.name}: {run.gallery.note}" if run.name else run.gallery.note
            for run in contents.runs
            if run.gallery.note
        ],
        hidden_count=sum(run.gallery.hidden_count for run in contents.runs),
    )


def _list_charts(runs: Sequence[NamedRun]) -> Iterator[dict[str, str]]:
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
        yield {"title": title, "svg": draw_chart(title, unit, series), "note": note}


def _list_intervals(runs: Sequence[NamedRun]) -> Iterator[dict[str, str]]:
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
    yield {"title": title, "svg": draw_intervals(title, figures), "note": note}


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


def _list_reliability(runs: Sequence[NamedRun]) -> Iterator[dict[str, str]]:
    for run in runs:
        if run.metrics is None:
            continue
        title = f"{run.name}: Reliability diagram" if run.name else "Reliability diagram"
        found = run.metrics.calibration_error
        if found is None or found.ece is None:
            yield {"title": title, "svg": "", "note": describe_calibration(found)}
        else:
            yield {"title": title, "svg": draw_reliability(found, title), "note": ""}


def _give_id(table: Table, number: int) -> dict[str, Any]:
    return {
        "id": f"table{number}",
        "title": table.title,
        "header": table.header,
        "rows": table.rows,
        "notes": table.notes,
        "is_text": table.is_text,
    }
