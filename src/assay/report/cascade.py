"""What a report says of a cascade, in sentences and a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from assay.engines.cascade.record import CascadeCount, CascadeRecord
from assay.inference.predictions import AnsweredBy
from assay.measure.accuracy.cascade import CascadePart
from assay.report.tables.table import Table


def describe_cascade(cascade: CascadeRecord) -> list[str]:
    """How the threshold was chosen, and what it leaves, a sentence each."""
    ratio = math.exp(min(cascade.threshold, 700))
    chosen, stated = cascade.chosen_on, cascade.stated
    return [
        f"Cascade: {cascade.fast} answers; {cascade.exact} answers where the two largest logits lie no more "
        f"than {cascade.threshold:.3f} apart (one class less than {ratio:.3g} times as likely as the next)",
        f"Threshold chosen on {chosen.image_count:,} images: {_describe_count(chosen)}",
        f"What it leaves of {stated.image_count:,} others: {_describe_count(stated)}",
        *_describe_proof(cascade),
        *_describe_gain(cascade.stated),
    ]


def _describe_count(count: CascadeCount) -> str:
    share = 100 * count.handed_on_count / count.image_count
    failed = f" ({count.failed_count:,} failed)" if count.failed_count else ""
    return (
        f"{count.different_count:,} other answers than the exact model's{failed}, "
        f"{count.fast_different_count:,} by the fast model alone; {count.handed_on_count:,} handed on "
        f"({share:.1f} %)"
    )


def _describe_proof(cascade: CascadeRecord) -> Iterator[str]:
    stated, asked, seen = cascade.stated, cascade.max_different_percent, cascade.stated_calibrated_count
    if stated.upper_percent is None:
        return
    if seen:
        yield (
            f"That proves nothing of other images: the fast model was calibrated on {seen:,} of those, whose "
            "answers change less; give images that it was not calibrated on"
        )
        return
    met = f", as was asked for ({asked:g} %)" if cascade.is_proven else ""
    yield f"At most {stated.upper_percent:.3g} % of images have other answers (one-sided 95 %, exact){met}"
    if not cascade.is_proven:
        yield (
            f"To prove {asked:g} % takes {cascade.needed_count:,} images in that half with no other answer "
            f"among them, so {2 * cascade.needed_count:,} in all"
        )


def _describe_gain(stated: CascadeCount) -> Iterator[str]:
    """Yield that a cascade hands on too much to be worth it, where it does."""
    if stated.handed_on_count > stated.image_count / 2:
        yield (
            "More than half of the images are handed on: on images like these the cascade is hardly faster "
            "than the exact model alone, or slower"
        )


def describe_answers(answered_by: Mapping[AnsweredBy, int]) -> str:
    """One line: which model answered how many images of a run."""
    fast, exact = answered_by.get("fast", 0), answered_by.get("exact", 0)
    share = 100 * exact / max(fast + exact, 1)
    return f"Answered by the fast model: {fast:,}; by the exact one: {exact:,} ({share:.1f} % handed on)"


def make_cascade_table(parts: list[CascadePart]) -> Table:
    """How accurate both models are alone, and the cascade, on the same images."""
    rows = tuple(
        (
            f"{part.role}: {part.name}" if part.name else part.role,
            f"{part.top1.hits:,}",
            f"{part.top1.percent:.2f}",
            f"{part.top5.percent:.2f}",
            f"{part.same_top1_count:,} of {part.image_count:,}",
        )
        for part in parts
    )
    header = ("Cascade", "Top-1 right", "Top-1 %", "Top-5 %", "Top-1 as exact")
    return Table(title="Cascade and its models", header=header, rows=rows, notes=("On the same images.",))
