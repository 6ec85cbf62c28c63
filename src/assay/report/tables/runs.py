"""Tables with a column for each run of a report."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from functools import partial

from assay.measure.accuracy.accuracy import ClassAccuracy, TopKAccuracy
from assay.report.named_run import Gallery, Guess, NamedRun, name_class
from assay.report.tables.table import Table
from assay.runs.results_file import Metrics

NONE = ""

MetricsRow = tuple[str, Callable[[Metrics], str]]
"""A row of figures: its name, and what it shows of a run."""
_CLASS_COLUMNS = ("Images", "Top-1 %", "Top-5 %", "failed")


def make_runs_table(runs: Sequence[NamedRun]) -> Table:
    """What each run is."""
    rows = [
        ("Folder", *(run.folder for run in runs)),
        ("Model", *(run.manifest.model.name if run.manifest.model else "unknown" for run in runs)),
        ("Engine", *(f"{run.manifest.engine} {run.manifest.engine_version}" for run in runs)),
        ("Device", *(run.manifest.device for run in runs)),
        ("Precision", *(run.manifest.precision for run in runs)),
        ("Processor", *(run.manifest.machine.processor for run in runs)),
        (
            "Images",
            *(f"{run.manifest.image_set.image_count:,}" if run.manifest.image_set else NONE for run in runs),
        ),
        ("Status", *(run.manifest.status for run in runs)),
        ("Started", *(run.manifest.started for run in runs)),
        ("assay", *(run.manifest.assay_version for run in runs)),
    ]
    return Table(title="Runs", header=("Run", *(run.name for run in runs)), rows=tuple(rows), is_text=True)


def _show_top5(metrics: Metrics, show: Callable[[TopKAccuracy], str]) -> str:
    return show(metrics.accuracy.top5) if metrics.accuracy.has_top5 else ""


_TOP5_ROWS: tuple[MetricsRow, ...] = (
    ("Top-5 right", lambda metrics: _show_top5(metrics, lambda topk: f"{topk.hits:,}")),
    ("Top-5 %", lambda metrics: _show_top5(metrics, lambda topk: f"{topk.percent:.2f}")),
    ("Top-5 95 % interval", lambda metrics: _show_top5(metrics, _show_interval)),
)


def make_run_accuracy_table(runs: Sequence[NamedRun]) -> Table:
    """Return counts, percentages and intervals by run, and how each agrees with the first."""
    choices: list[MetricsRow] = [
        ("Images", lambda metrics: f"{metrics.accuracy.image_count:,}"),
        ("failed, counted as wrong", lambda metrics: f"{metrics.accuracy.failed_count:,}"),
        ("Top-1 right", lambda metrics: f"{metrics.accuracy.top1.hits:,}"),
        ("Top-1 %", lambda metrics: f"{metrics.accuracy.top1.percent:.2f}"),
        ("Top-1 95 % interval", lambda metrics: _show_interval(metrics.accuracy.top1)),
        *(_TOP5_ROWS if _have_top5(runs) else ()),
        *_list_subset_rows(runs),
        ("Calibration error %", _show_calibration),
    ]
    rows = [
        (name, *(describe(run.metrics) if run.metrics else "not run" for run in runs))
        for name, describe in choices
    ]
    rows += _list_agreement(runs)
    return Table(title="Accuracy by run", header=("Accuracy", *(run.name for run in runs)), rows=tuple(rows))


def _list_subset_rows(runs: Sequence[NamedRun]) -> list[MetricsRow]:
    """A row for each figure among a set of some of the classes that any of the runs has."""
    subsets = [run.metrics.subset for run in runs if run.metrics and run.metrics.subset]
    names = dict.fromkeys(name for subset in subsets for name, _ in subset.shown)

    def show(metrics: Metrics, name: str) -> str:
        topk = dict(metrics.subset.shown).get(name) if metrics.subset else None
        return "" if topk is None else f"{topk.percent:.2f} ({_show_interval(topk)})"

    return [(f"{name} %", partial(show, name=name)) for name in names]


def _have_top5(runs: Sequence[NamedRun]) -> bool:
    """Whether Top-5 says anything of any of the runs."""
    return any(run.metrics.accuracy.has_top5 for run in runs if run.metrics)


def _show_interval(topk: TopKAccuracy) -> str:
    low, high = topk.interval_percent
    return f"{low:.2f} to {high:.2f}"


def _show_calibration(metrics: Metrics) -> str:
    found = metrics.calibration_error
    return "not computed" if found is None or found.ece is None else f"{100 * found.ece:.2f}"


def _list_agreement(runs: Sequence[NamedRun]) -> list[tuple[str, ...]]:
    first = runs[0].name
    cells = []
    for run in runs[1:]:
        if run.agreement is None:
            cells.append(("not compared",) * 8)
            continue
        paired, coverage = run.agreement.paired, run.agreement.coverage
        low, high = paired.interval_points
        cells.append(
            (
                f"{paired.image_count:,}",
                f"{coverage.failed_in_reference.count:,} / {coverage.failed_in_candidate.count:,}",
                f"{run.agreement.same_top1_count:,} of {paired.image_count - coverage.failed_count:,}",
                f"{paired.lost_count:,}",
                f"{paired.won_count:,}",
                f"{paired.difference_points:+.2f}",
                f"{low:+.2f} to {high:+.2f}",
                f"{paired.p_value:.2g}",
            )
        )
    names = (
        "images compared",
        f"failed in {first} alone / in this run alone",
        "same Top-1",
        "images lost",
        "images won",
        "difference, points",
        "95 % interval",
        "McNemar p",
    )
    return [
        (f"Against {first}: {name}", "reference", *(cell[number] for cell in cells))
        for number, name in enumerate(names)
    ]


def make_failed_images_table(run: NamedRun) -> Table | None:
    """Which images failed and why, the first hundred; None where none did."""
    if run.metrics is None or not run.metrics.accuracy.failures:
        return None
    accuracy = run.metrics.accuracy
    more = accuracy.failed_count - len(accuracy.failed_images)
    return Table(
        title="Failed images, one by one",
        header=("Image", "Reason"),
        rows=tuple((image.relative_path, image.status) for image in accuracy.failed_images),
        notes=(f"and {more:,} more",) if more > 0 else (),
        is_text=True,
    )


def make_confused_table(run: NamedRun) -> Table | None:
    """Which classes are most often taken for which; None where there is no mistake."""
    rows = tuple(
        (name_class(pair.label, run.manifest), name_class(pair.predicted, run.manifest), f"{pair.count:,}")
        for pair in run.gallery.confused
    )
    header = ("Label", "taken for", "Images")
    failed = run.metrics.accuracy.failed_count if run.metrics else 0
    notes = (f"{failed:,} failed images are taken for no class; they count as wrong.",) if failed else ()
    return (
        Table(title="Most confused pairs", header=header, rows=rows, notes=notes, is_text=True)
        if rows
        else None
    )


def make_class_table(runs: Sequence[NamedRun]) -> Table | None:
    """Return the accuracy of every class, the lowest of the first run first; None where none is known."""
    scored = [(run, run.metrics.per_class) for run in runs if run.metrics and run.metrics.per_class]
    if not scored:
        return None
    found: dict[int, list[ClassAccuracy | None]] = collections.defaultdict(lambda: [None] * len(scored))
    for place, (_, classes) in enumerate(scored):
        for one in classes:
            found[one.label][place] = one
    header = ["Class"]
    columns = [name for name in _CLASS_COLUMNS if name != "Top-5 %" or _have_top5(runs)]
    for run, _ in scored:
        start = f"{run.name}: " if run.name else ""
        header += [f"{start}{name}" for name in columns]
    rows = [
        (
            name_class(label, scored[0][0].manifest),
            *(_class_cells(one)[name] for one in places for name in columns),
        )
        for label, places in sorted(found.items(), key=lambda item: (_get_share(item[1][0]), item[0]))
    ]
    return Table(title="Accuracy by class, the lowest first", header=tuple(header), rows=tuple(rows))


def _get_share(one: ClassAccuracy | None) -> float:
    return 2.0 if one is None else one.top1_hits / one.image_count


def _class_cells(one: ClassAccuracy | None) -> dict[str, str]:
    if one is None:
        return dict(zip(_CLASS_COLUMNS, ("0", "", "", ""), strict=True))
    return {
        "Images": f"{one.image_count:,}",
        "Top-1 %": f"{100 * one.top1_hits / one.image_count:.1f}",
        "Top-5 %": f"{100 * one.top5_hits / one.image_count:.1f}",
        "failed": f"{one.failed_count:,}",
    }


def make_picture_table(gallery: Gallery, reference: str) -> Table | None:
    """Return the images of the gallery as text, with the Top-5 of both; None where there are none."""
    rows = tuple(
        (
            picture.kind,
            picture.relative_path,
            picture.label,
            _list_guesses(picture.top),
            _list_guesses(picture.reference_top),
        )
        for picture in gallery.pictures
    )
    hidden = f"and {gallery.hidden_count:,} more: assay compare --json lists all"
    notes = tuple(filter(None, (gallery.note, hidden if gallery.hidden_count else "")))
    header = ("", "Image", "Label", "This run", reference or "Reference")
    return (
        Table(title="Images to look at", header=header, rows=rows, notes=notes, is_text=True)
        if rows
        else None
    )


def _list_guesses(guesses: Sequence[Guess]) -> str:
    return "; ".join(f"{guess.name} {show_guess(guess)}" for guess in guesses)


def show_guess(guess: Guess) -> str:
    """How sure a network is of a class: its probability, else the network's output."""
    return f"{guess.logit:.3g}" if guess.share is None else f"{100 * guess.share:.1f} %"
