"""What `assay compare` says: lines and tables on two runs, or on a run and what was published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from assay.measure.accuracy.accuracy import SubsetAccuracy, TopKAccuracy
from assay.measure.accuracy.comparison import Comparison, Flip
from assay.measure.speed.between_loads import LOAD_FACTOR
from assay.measure.speed.comparison import SpeedComparison
from assay.models.record import PublishedAccuracy
from assay.report.sentences import describe_doubts
from assay.report.tables.table import Table
from assay.report.tables.throughput import format_rate, mark

LISTED_FLIPS = 20


def describe_comparison(comparison: Comparison) -> list[str]:
    """Return lines on the images that changed, what the tests say, and the logits."""
    paired = comparison.paired
    low, high = paired.interval_points
    count, failed = comparison.image_count, comparison.coverage.failed_count
    answered = f"{count - failed:,} that both answered" if failed else f"{count:,}"
    return [
        f"Top-1: A {paired.both_count + paired.lost_count:,}, B {paired.both_count + paired.won_count:,} "
        f"right of {count:,} images that both have",
        f"Same Top-1 on {comparison.same_top1_count:,} of {answered}; {paired.lost_count:,} "
        f"lost, {paired.won_count:,} won, {len(comparison.changed):,} wrong in another way",
        f"Top-1 difference, B less A: {paired.difference_points:+.2f} points (95 %: {low:+.2f} to "
        f"{high:+.2f}, Newcombe 1998)",
        f"Exact McNemar p = {paired.p_value:.2g}; logit difference: largest "
        f"{comparison.max_logit_difference:.3g}, mean {comparison.mean_logit_difference:.3g}",
    ]


def describe_subsets(subsets: Sequence[SubsetAccuracy | None]) -> list[str]:
    """A line for each figure that A, B or both have among a set of some classes."""
    found = [dict(subset.shown) if subset else {} for subset in subsets]
    names = dict.fromkeys(name for figures in found for name in figures)
    cells = {
        name: [f"{figures[name].percent:.2f} %" if name in figures else "not measured" for figures in found]
        for name in names
    }
    return [f"{name}: A {one}, B {other}" for name, (one, other) in cells.items()]


def make_flip_table(
    comparison: Comparison, class_names: Mapping[int, str], label_offset: int = 0
) -> Table | None:
    """The images whose likeliest class changed, the lost ones first; None where there is none.

    Args:
        comparison: Of two runs.
        class_names: What the classes are called, by label.
        label_offset: The class of label 0.
    """
    rows = list(_list_flips(comparison, class_names, label_offset))
    if not rows:
        return None
    more = len(rows) - LISTED_FLIPS
    return Table(
        title="Changed images",
        header=("Image", "", "label", "A", "B", "logit A", "logit B"),
        rows=tuple(rows[:LISTED_FLIPS]),
        notes=(f"and {more:,} more: --json lists all",) if more > 0 else (),
    )


def _list_flips(
    comparison: Comparison, class_names: Mapping[int, str], label_offset: int
) -> Iterator[tuple[str, ...]]:
    kinds: list[tuple[str, Sequence[Flip]]] = [("lost", comparison.lost), ("won", comparison.won)]
    for kind, flips in [*kinds, ("wrong", comparison.changed)]:
        for flip in flips:
            classes = (
                "failed" if number is None else class_names.get(number - label_offset, f"{number}")
                for number in (flip.reference_class, flip.candidate_class)
            )
            logits = ("" if logit is None else f"{logit:.2f}" for logit in flip.logits)
            yield (flip.relative_path, kind, class_names.get(flip.label, f"{flip.label}"), *classes, *logits)


def make_speed_table(speeds: Sequence[SpeedComparison]) -> Table | None:
    """Return the speeds side by side, each pair on one clock; None where the runs have none in common."""
    if not speeds:
        return None
    rows = tuple(
        (
            f"{speed.batch_size}",
            speed.clock,
            f"{format_rate(speed.reference)}{mark(is_valid=speed.reference_is_valid)}",
            f"{format_rate(speed.candidate)}{mark(is_valid=speed.candidate_is_valid)}",
            f"{speed.ratio:.2f}{mark(is_valid=not speed.reason)}",
            "" if speed.interval is None else "{:.2f} to {:.2f}".format(*speed.interval),
            speed.outcome,
        )
        for speed in speeds
    )
    return Table(
        title="Speed",
        header=("Batch", "clock", "A images/s", "B images/s", "B / A", "95 %", "B is"),
        rows=rows,
        notes=(
            "Medians of the repeats.",
            *_note_loads(speeds),
            *_note_invalid(speeds),
        ),
    )


def _note_loads(speeds: Sequence[SpeedComparison]) -> Iterator[str]:
    """Yield what the intervals cover, and what is called faster or slower without one."""
    if any(speed.interval for speed in speeds):
        yield (
            "B / A and its 95 % interval: of the loads of the model, each in a process of its own; what "
            "differs from one time of measuring to another is not in it."
        )
    if any(not speed.interval for speed in speeds):
        yield (
            "Without an interval each side is one load of the model, and two loads of one model may differ "
            f"by {100 * (LOAD_FACTOR - 1):.0f} %: less is neither faster nor slower. --fresh-processes "
            "measures how far they do."
        )


def _note_invalid(speeds: Sequence[SpeedComparison]) -> Iterator[str]:
    """Yield each reason once, with the batch sizes that it holds for."""
    sizes: dict[tuple[str, str], list[str]] = {}
    for speed in speeds:
        if speed.reason:
            sizes.setdefault((speed.clock, speed.reason), []).append(f"{speed.batch_size}")
    for (clock, reason), batches in sizes.items():
        yield f"Batch {', '.join(batches)}, {clock} clock: {reason}."


def show_published_top5(published: PublishedAccuracy) -> str:
    """The published Top-5 in percent, or that there is none."""
    return "not published" if published.top5_percent is None else f"{published.top5_percent:g}"


def make_published_table(
    rows: Sequence[tuple[PublishedAccuracy, bool]], top1: TopKAccuracy, top5: TopKAccuracy
) -> Table:
    """Return the published accuracies and whether they lie within the measured intervals."""
    return Table(
        title="Published",
        header=("Source", "Top-1", "Top-5", "within"),
        rows=tuple(
            (
                f"{published.source} {published.setting}".strip(),
                f"{published.top1_percent:g}",
                show_published_top5(published),
                "yes" if is_within else "no",
            )
            for published, is_within in rows
        ),
        notes=(
            f"Measured: Top-1 {top1.percent:.2f} ({top1.interval_percent[0]:.2f} to "
            f"{top1.interval_percent[1]:.2f}), Top-5 {top5.percent:.2f} ({top5.interval_percent[0]:.2f} to "
            f"{top5.interval_percent[1]:.2f}).",
            *describe_doubts(published for published, _ in rows),
        ),
    )
