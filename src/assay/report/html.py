"""Writes `report.html`: one page that needs no network and nothing beside it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.report.charts.chart import Chart
from assay.report.contents import Card, Contents
from assay.report.differences import make_difference_table
from assay.report.first_screen import make_overview, pick_figures
from assay.report.named_run import Picture
from assay.report.run_charts import choose_charts
from assay.report.tables.runs import show_guess
from assay.report.tables.table import Table

if TYPE_CHECKING:
    from jinja2 import Template

LONGEST_OPEN = 12  # rows of a table that stands open
MOST_PRINTED = 9  # pictures on paper


@dataclass(frozen=True, kw_only=True)
class PageParts:
    """What a page shows besides the contents' own sentences and tables.

    Args:
        figures: At most three, on the first screen.
        first_chart: Beside them; None where nothing can be drawn.
        charts: Those further down.
        differences: What differs between several runs, in place of the figures.
        overview: What each of them found.
        pictures: Images to look at, each with the name of its run.
        candidate: What says the first of an image's answers, where its run has no name.
    """

    figures: Sequence[Card]
    first_chart: Chart | None = None
    charts: Sequence[Chart] = ()
    differences: Table | None = None
    overview: Table | None = None
    pictures: Sequence[tuple[str, Picture]] = ()
    candidate: str = "This run"


@dataclass(frozen=True, kw_only=True)
class _ShownTable:
    """A table with its place in the page, and whether it stands open."""

    id: str
    table: Table
    is_open: bool


def render_page(contents: Contents) -> str:
    """The page of a report of runs, as HTML."""
    first_chart, charts = choose_charts(contents.runs)
    are_several = len(contents.runs) > 1
    parts = PageParts(
        figures=pick_figures(contents.runs),
        first_chart=first_chart,
        charts=charts,
        differences=make_difference_table(contents.runs) if are_several else None,
        overview=make_overview(contents.runs) if are_several else None,
        pictures=contents.pictures,
    )
    return fill_page(contents, parts)


def fill_page(contents: Contents, parts: PageParts) -> str:
    """The page of some contents, as HTML that needs nothing beside it."""
    tables = list(_place_tables(contents))
    kinds = dict.fromkeys(("lost", "won", "changed", "mistake"), 0)
    for _, picture in parts.pictures:
        kinds[picture.kind] += 1
    return _load_template().render(
        contents=contents,
        parts=parts,
        main_tables=tables[: len(contents.main_tables)],
        detail_tables=tables[len(contents.main_tables) :],
        kinds=[(kind, count) for kind, count in kinds.items() if count],
        printed_count=MOST_PRINTED,
        gallery_notes=[
            f"{run.name}: {run.gallery.note}" if run.name else run.gallery.note
            for run in contents.runs
            if run.gallery.note
        ],
        hidden_count=sum(run.gallery.hidden_count for run in contents.runs),
    )


@functools.cache
def _load_template() -> Template:
    """The page's template, compiled once for all pages of a process."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("assay.report")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["show_guess"] = show_guess
    return environment.get_template("report.html.j2")


def _place_tables(contents: Contents) -> Iterator[_ShownTable]:
    """Yield all tables; the long ones, and those of the details that no terminal shows, are folded."""
    short = contents.short_tables if len(contents.runs) == 1 else ()
    opened = {table.title for table in (*contents.main_tables, *short)}
    for number, table in enumerate(contents.tables):
        is_open = table.title in opened and len(table.rows) <= LONGEST_OPEN
        yield _ShownTable(id=f"table{number}", table=table, is_open=is_open)
