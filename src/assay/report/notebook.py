"""What Jupyter shows of a run: its verdict with two charts, and its worst images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

from assay.report.named_run import Guess, NamedRun, Picture
from assay.report.run_charts import choose_charts
from assay.report.tables.runs import show_guess
from assay.report.verdicts import write_run_verdict

MOST_CHARTS = 2


def render_run(run: NamedRun) -> str:
    """The verdict, and at most two charts, as a piece of HTML that needs nothing beside it."""
    first, others = choose_charts([run])
    charts = [chart for chart in (first, *others) if chart is not None and chart.svg][:MOST_CHARTS]
    figures = (
        f"<figure><figcaption>{escape(chart.title)}</figcaption>{chart.svg}"
        f"<p>{escape(chart.note)}</p></figure>"
        for chart in charts
    )
    remark = f"<p><b>{escape(run.manifest.remark)}</b></p>" if run.manifest.remark else ""
    verdict = f'<p class="verdict">{escape(write_run_verdict(run))}</p>'
    return _frame(f'{remark}{verdict}<div class="row">{"".join(figures)}</div>')


def _frame(content: str) -> str:
    style = (resources.files("assay.report") / "templates" / "notebook.css").read_text("utf-8")
    return f'<style>{style}</style><div class="assay">{content}</div>'


@dataclass(frozen=True, kw_only=True)
class WorstImages:
    """The most confident mistakes of a run, the most confident first; Jupyter shows them as pictures.

    Args:
        pictures: Each with its label, what it was taken for, and a thumbnail where the image is still there.
        note: Why there are no thumbnails or no percentages; mostly empty.
    """

    pictures: Sequence[Picture]
    note: str = ""

    def __len__(self) -> int:
        return len(self.pictures)

    def __iter__(self) -> Iterator[Picture]:
        return iter(self.pictures)

    def _repr_html_(self) -> str:
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        figures = "".join(map(_draw_picture, self.pictures)) or "<p>No image is wrong.</p>"
        return _frame(f'{note}<div class="row">{figures}</div>')


def _draw_picture(picture: Picture) -> str:
    image = f'<img src="{escape(picture.thumbnail)}" alt="">' if picture.thumbnail else ""
    taken = _show(picture.top[0]) if picture.top else "failed"
    return (
        f'<figure class="small">{image}<figcaption>{escape(picture.label)}<br>taken for {escape(taken)}<br>'
        f"{escape(picture.relative_path)}</figcaption></figure>"
    )


def _show(guess: Guess) -> str:
    return f"{guess.name} ({show_guess(guess)})"
