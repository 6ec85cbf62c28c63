"""A history as a page and for a terminal: each figure over time, and where it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assay.report.charts.chart import Chart
from assay.report.charts.trend_chart import TrendPoint, draw_trend
from assay.report.contents import Contents
from assay.report.html import PageParts, fill_page
from assay.report.tables.table import Table

DATE_LENGTH = len("2026-01-31")


class TrendRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run's figure in a trend.

    `low` and `high` are the 95 % interval of an accuracy, the slowest and the fastest repeat of a speed.
    `marks` says what must be known of the figure; `changed` what is not the same as in the run before.
    """

    number: int
    started: str
    note: str
    value: float
    low: float
    high: float
    detail: str
    invalid: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    is_baseline: bool = False


class TrendChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is not by chance: from the run of that number on, by so much, at that p-value."""

    run: int
    by: str
    p_value: float
    changed: tuple[str, ...] = ()


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over time; all of its runs can be compared with one another."""

    name: str
    unit: str
    series: str
    runs: tuple[TrendRun, ...]
    changes: tuple[TrendChange, ...]
    notes: tuple[str, ...] = ()


def describe_trends(trends: Sequence[Trend]) -> Iterator[str]:
    """Yield a sentence on all, and one for each change."""
    changes = [(trend, change) for trend in trends for change in trend.changes]
    runs = {run.number for trend in trends for run in trend.runs}
    yield (
        f"{len(changes) or 'No'} {'change' if len(changes) == 1 else 'changes'} in {len(trends)} "
        f"{'trend' if len(trends) == 1 else 'trends'} over {len(runs)} {'run' if len(runs) == 1 else 'runs'} "
        "(5 % over all of them together)"
    )
    for trend, change in changes:
        why = f"; with it changed {'; '.join(change.changed)}" if change.changed else ""
        yield (
            f"{trend.series}: {trend.name} {change.by} from run {change.run} on "
            f"(p = {change.p_value:.2g}){why}"
        )


def make_trend_table(trends: Sequence[Trend]) -> Table:
    """The newest figure of each trend, beside the first and the baseline's."""
    return Table(
        title="Trends",
        header=("Figure", "Of", "Runs", "First", "Baseline", "Newest", "Changes"),
        rows=tuple(
            (
                trend.name,
                trend.series,
                f"{len(trend.runs)}",
                _show(trend.runs[0]),
                next((_show(run) for run in reversed(trend.runs) if run.is_baseline), "none"),
                _show(trend.runs[-1]),
                ", ".join(f"{change.by} from run {change.run}" for change in trend.changes) or "none",
            )
            for trend in trends
        ),
        notes=tuple(dict.fromkeys(note for trend in trends for note in trend.notes)),
        is_text=True,
    )


def make_run_table(trends: Sequence[Trend]) -> Table:
    """Every run, with what changed in it."""
    runs = {run.number: run for trend in trends for run in trend.runs}
    return Table(
        title="Runs",
        header=("Run", "Started", "Note", "Not the same as in the run before"),
        rows=tuple(
            (
                f"{number}{', baseline' if run.is_baseline else ''}",
                run.started,
                run.note,
                "; ".join(dict.fromkeys((*run.changed, *run.marks))),
            )
            for number, run in sorted(runs.items(), key=lambda item: (item[1].started, item[0]))
        ),
        is_text=True,
    )


def _keep_together(text: str) -> str:
    """The text with spaces that no line breaks at, before a percent sign and around an equals sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")


def _show(run: TrendRun) -> str:
    return f"{run.value:.2f}{' INVALID' if run.invalid else ''}"


def render_trend_page(trends: Sequence[Trend], history: str) -> str:
    """The page, as HTML that needs nothing beside it.

    Args:
        trends: At least one.
        history: What the history is called.
    """
    verdict, *findings = describe_trends(trends)
    contents = Contents(
        title=f"History: {history}",
        remark="",
        differences=(),
        verdict=_keep_together(verdict),
        cards=(),
        findings=tuple(map(_keep_together, findings)),
        notes=tuple(dict.fromkeys(note for trend in trends for note in trend.notes)),
        circumstances=(
            "Bars: the 95 % interval of an accuracy, the slowest to the fastest repeat of a speed. Orange: "
            "the baseline. Dashed circles: INVALID, not searched for changes.",
        ),
        not_run=(),
        main_tables=(make_trend_table(trends), make_run_table(trends)),
        detail_tables=(),
        short_tables=(),
        runs=(),
        reference="",
    )
    first, *others = [_draw(trend) for trend in trends]
    return fill_page(contents, PageParts(figures=(), first_chart=first, charts=others))


def _draw(trend: Trend) -> Chart:
    title = f"{trend.name}: {trend.series}"
    places = {run.number: place for place, run in enumerate(trend.runs)}
    svg = draw_trend(
        title,
        trend.unit,
        [_make_point(run, trend) for run in trend.runs],
        [(places[change.run], change.by) for change in trend.changes],
    )
    return Chart(title=title, svg=svg, note="; ".join(trend.notes))


def _make_point(run: TrendRun, trend: Trend) -> TrendPoint:
    said = [f"run {run.number}, {run.started}: {run.value:.2f} {trend.unit} ({run.detail})", run.note]
    said += [f"INVALID: {reason}" for reason in run.invalid]
    said += [*run.marks, f"not the same as before: {'; '.join(run.changed)}" if run.changed else ""]
    return TrendPoint(
        date=run.started[:DATE_LENGTH],
        label="; ".join(filter(None, said)),
        value=run.value,
        low=run.low,
        high=run.high,
        is_invalid=bool(run.invalid),
        is_baseline=run.is_baseline,
    )
