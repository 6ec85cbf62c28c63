"""Accuracy and throughput in the layout of the original's result: a column per chip or run, ratios, best."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.models.record import ModelRecord, SpeedTarget
from assay.report.named_run import NamedRun, name_run
from assay.report.sentences import describe_doubts
from assay.report.tables.batches import list_accuracies
from assay.report.tables.comparison import show_published_top5
from assay.report.tables.table import Table
from assay.report.tables.throughput import explain_marks, mark, show_rate
from assay.runs.results_file import Metrics


@dataclass(frozen=True, kw_only=True)
class _Column:
    """Images per second by batch size, of a chip or run; `digits` as shown, those of `invalid` marked."""

    name: str
    clock: str
    rates: Mapping[int, float]
    digits: Mapping[int, str]
    invalid: frozenset[int] = frozenset()

    @property
    def best(self) -> tuple[int, float]:
        """The best VALID batch size, and its images per second; the best of all where none is VALID."""
        return max(self.rates.items(), key=lambda item: (item[0] not in self.invalid, item[1]))


def _drop_column(row: tuple[str, ...], place: int) -> tuple[str, ...]:
    return (*row[:place], *row[place + 1 :])


def make_layout_accuracy_table(runs: Sequence[NamedRun], record: ModelRecord) -> Table:
    """Return Top-1 and Top-5 of every engine or chip, at each batch size that they were measured at."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        if run.metrics is None:
            continue
        rows += [
            (name_run(run), size, *topk, "measured") for size, topk in _list_accuracies(run, run.metrics)
        ]
    for published in record.published_accuracy:
        chip, batch = _split_setting(published.setting)
        topk = (f"{published.top1_percent:g}", show_published_top5(published))
        rows.append((chip or "as published", batch, *topk, published.source))
    batches = [batch for run in runs if run.metrics for batch in run.metrics.batches]
    notes = (
        *(
            []
            if batches
            else ["Each run is scored at one batch size; --accuracy-batch 1,best scores at several."]
        ),
        *([] if all(batch.is_proven for batch in batches) else ["! no row of the benchmark was VALID."]),
        *describe_doubts(record.published_accuracy),
    )
    header: tuple[str, ...] = ("Engine or chip", "Batch", "Top-1 %", "Top-5 %", "Source")
    if rows and not any(row[3] for row in rows):
        header, rows = _drop_column(header, 3), [_drop_column(row, 3) for row in rows]
    return Table(title="Accuracy by engine or chip", header=header, rows=tuple(rows), notes=notes)


def _list_accuracies(run: NamedRun, metrics: Metrics) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each batch size that a run was scored at, with Top-1 and Top-5."""
    size = run.manifest.evaluated_batch_size
    measured = [(name, batch.accuracy) for name, batch in list_accuracies(metrics.batches)]
    for name, accuracy in measured or [("not kept" if size is None else f"{size}", metrics.accuracy)]:
        top5 = f"{accuracy.top5.percent:.2f}" if accuracy.has_top5 else ""
        yield name, (f"{accuracy.top1.percent:.2f}", top5)


def _split_setting(setting: str) -> tuple[str, str]:
    """The chip or framework, and the batch size, of where an accuracy was measured."""
    found = re.fullmatch(r"(.*), (?:batch ([0-9]+)|(best batch))", setting)
    return (found[1], found[2] or found[3]) if found else (setting, "")


def make_layout_throughput_table(runs: Sequence[NamedRun], record: ModelRecord) -> Table | None:
    """Return images per second: a row per batch size and one for the best, a column per run or chip, ratios.

    Ratios stand between published devices that a speed target names, and between a run and the first one on
    the same clock; never between a published and a measured figure. None where no run was measured.
    """
    measured = [column for run in runs for column in _list_measured(run)]
    if not measured:
        return None
    published = [
        _Column(
            name=column.device,
            clock=column.clock,
            rates=column.images_per_second,
            digits={size: f"{rate}" for size, rate in column.images_per_second.items()},
        )
        for column in record.published_throughput
    ]
    ratios = [*_pair_runs(measured, is_own_first=_is_compared_alone(runs)), *_pair_targets(published, record)]
    columns = [*measured, *published]
    sizes = sorted({size for column in columns for size in column.rates})
    rows = [
        (
            f"{size}",
            *(column.digits.get(size, "") for column in columns),
            *(_divide(one, size, other, size) for one, other in ratios),
        )
        for size in sizes
    ]
    best = (
        "best",
        *(f"{column.digits[column.best[0]]} ({column.best[0]})" for column in columns),
        *(_divide(one, one.best[0], other, other.best[0]) for one, other in ratios),
    )
    return Table(
        title="Throughput by engine or chip",
        header=("Batch", *(column.name for column in columns), *(f"{a.name} / {b.name}" for a, b in ratios)),
        rows=(*rows, best),
        notes=(
            "Images per second; best: the best VALID batch, in brackets.",
            *explain_marks(digits for column in columns for digits in column.digits.values()),
            *_note_clocks(columns),
            *describe_doubts(record.published_throughput),
            *_judge_targets(published, record),
        ),
    )


def _list_measured(run: NamedRun) -> Iterator[_Column]:
    by_model: dict[tuple[str, str, str, str], list[ThroughputRow]] = {}
    for row in run.benchmark.rows if run.benchmark else ():
        by_model.setdefault((row.engine, row.device, row.precision, row.clock), []).append(row)
    for (engine, device, precision, clock), rows in by_model.items():
        what = f"{engine} {device} {precision}" + ("" if clock == "call" else f", {clock} clock")
        by_size: dict[int, list[ThroughputRow]] = {}
        for row in rows:  # one for each number of callers
            by_size.setdefault(row.batch_size, []).append(row)
        best = {size: find_best_row(sized) for size, sized in by_size.items()}
        yield _Column(
            name=f"{run.name}: {what}" if run.name else what,
            clock=clock,
            rates={size: row.images_per_second.median for size, row in best.items()},
            digits={size: show_rate(row) for size, row in best.items()},
            invalid=frozenset(size for size, row in best.items() if not row.is_valid),
        )


def _is_compared_alone(runs: Sequence[NamedRun]) -> bool:
    """Whether there is one run, whose own model stands first and its reference behind it."""
    return len(runs) == 1 and runs[0].metrics is not None and runs[0].metrics.agreement is not None


def _pair_runs(measured: Sequence[_Column], *, is_own_first: bool) -> list[tuple[_Column, _Column]]:
    """Candidate over reference: the other runs over the first, a run's own model over those beside it."""
    first = measured[0]
    others = [column for column in measured[1:] if column.clock == first.clock]
    return [(first, column) if is_own_first else (column, first) for column in others]


def _pair_targets(published: Sequence[_Column], record: ModelRecord) -> list[tuple[_Column, _Column]]:
    return [(one, other) for _, one, other in _find_targets(published, record) if one.clock == other.clock]


def _find_targets(
    published: Sequence[_Column], record: ModelRecord
) -> list[tuple[SpeedTarget, _Column, _Column]]:
    by_name = {column.name: column for column in published}
    return [(target, by_name[target.device], by_name[target.over]) for target in record.speed_target]


def _divide(one: _Column, one_size: int, other: _Column, other_size: int) -> str:
    """Return the ratio of two figures, marked where one of them is; empty where one is not there."""
    if one_size not in one.rates or other_size not in other.rates:
        return ""
    is_valid = one_size not in one.invalid and other_size not in other.invalid
    return f"{one.rates[one_size] / other.rates[other_size]:.2f}{mark(is_valid=is_valid)}"


def _note_clocks(columns: Sequence[_Column]) -> Iterator[str]:
    clocks: dict[str, list[str]] = {}
    for column in columns:
        clocks.setdefault(column.clock, []).append(column.name)
    for clock, names in clocks.items():
        yield f"On the {clock} clock: {'; '.join(names)}."


def _judge_targets(published: Sequence[_Column], record: ModelRecord) -> Iterator[str]:
    """Yield the acceptance sentences of the original's result, on the published figures."""
    for target, one, other in _find_targets(published, record):
        ratio = one.best[1] / other.best[1]
        verdict = "accepted" if ratio >= target.ratio else "not accepted"
        yield (
            f"Acceptance: {one.name} at its best batch over {other.name} at its best is "
            f"{one.digits[one.best[0]]} / {other.digits[other.best[0]]} = {ratio:.2f}; at least "
            f"{target.ratio:g} was asked: {verdict}, as published; not run here. Source: {target.source}."
        )
