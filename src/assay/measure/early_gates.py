"""Gates on accuracy that are certain before all images are run: by a bound, or by a random sample."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from assay.images.preprocessed_image import OK
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import compute_wilson_interval, count_topk_hits
from assay.measure.accuracy.sequential import rules_out_at_least, rules_out_at_most
from assay.measure.gates import PUBLISHED_TOLERANCE, SMOKE_IMAGE_COUNT, Gate, GateResult, misses_mlperf
from assay.models.record import ModelRecord

_LIMIT = PUBLISHED_TOLERANCE + 1e-9


class EarlyStop(msgspec.Struct, frozen=True, kw_only=True):
    """A run that ended before all images were run, since its gates were certain.

    `shards` in `folder` hold the predictions of the images that were run; `error` is the chance at most that
    a gate which the whole run passes was failed, 0 where the images that lack could not have changed it.
    """

    image_count: Annotated[int, Meta(ge=1)]
    of_count: int
    by: Literal["sample", "bound"]
    error: float
    gates: list[GateResult]
    folder: str
    shards: list[str] = msgspec.field(name="parts")  # the name in the files of version 0.1.0

    @property
    def sentence(self) -> str:
        """What a reader must know."""
        how = (
            "drawn at random"
            if self.by == "sample"
            else "in whole shards: no random sample, so their interval says nothing about the others"
        )
        why = (
            f"a gate that the whole run passes is failed so with a chance of at most {self.error:g}"
            if self.error
            else "whatever the other images say"
        )
        return (
            f"cut by --stop-when-certain after {self.image_count:,} of {self.of_count:,} images, {how}; "
            f"every gate on accuracy is certain, {why}"
        )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Counts over the images that were run; failed ones are no hits."""

    image_count: int = 0
    top1: int = 0
    top5: int = 0
    failed: int = 0

    def add(self, predictions: Iterable[Prediction], label_offset: int) -> Seen:
        """Return the counts with more predictions."""
        rows = list(predictions)
        hits = count_topk_hits(rows, label_offset)
        return Seen(
            image_count=self.image_count + len(rows),
            top1=self.top1 + hits[0],
            top5=self.top5 + hits[-1],
            failed=self.failed + sum(row.status != OK for row in rows),
        )


@dataclass(frozen=True, kw_only=True)
class PassRange:
    """Counts of hits over the whole run, lowest and highest, with which a gate passes.

    Args:
        count: Images of the whole run.
        top1: Top-1 hits.
        top5: Top-5 hits.
        needs_all: Whether it passes only when every image was scored; a failed one might have been right.
    """

    count: int
    top1: tuple[int, int]
    top5: tuple[int, int]
    needs_all: bool

    def is_out_of_reach(self, seen: Seen) -> bool:
        """Whether no answers to the other images can lead into it."""
        open_count = self.count - seen.image_count + (seen.failed if self.needs_all else 0)
        top1 = max(self.top1[0], seen.top1)  # the least, so that it asks least of Top-5
        top5 = min(self.top5[1], seen.top5 + open_count)
        is_reached = (
            top1 <= min(self.top1[1], seen.top1 + open_count)
            and top5 >= max(self.top5[0], seen.top5)
            and top1 - seen.top1 <= top5 - seen.top5  # an image right in Top-1 is right in Top-5
        )
        return not is_reached

    def is_reached(self, seen: Seen) -> bool:
        """Whether all answers to the other images lead into it; one of them might fail."""
        open_count = self.count - seen.image_count
        return not (self.needs_all and (open_count or seen.failed)) and all(
            low <= hits and hits + open_count <= high
            for hits, (low, high) in ((seen.top1, self.top1), (seen.top5, self.top5))
        )

    def is_ruled_out(self, seen: Seen, error: float) -> bool:
        """Whether a random sample rules it out, at an error over all looks together."""
        failed = seen.failed if self.needs_all else 0
        pairs = ((seen.top1, self.top1), (seen.top5, self.top5))
        ends = sum((low > 0) + (high < self.count) for _, (low, high) in pairs)
        drawn, share = seen.image_count, error / max(ends, 1)
        return any(
            rules_out_at_least(hits + failed, drawn, low, self.count, share)
            or rules_out_at_most(hits, drawn, high, self.count, share)
            for hits, (low, high) in pairs
        )


def find_pass_ranges(gate: Gate, record: ModelRecord, count: int, *, is_val: bool) -> list[PassRange]:
    """Return with which counts a gate on the accuracy of a run passes; none where it cannot pass.

    Args:
        gate: The gate; one on other things than published accuracies has none.
        record: The model record.
        count: Images of the run.
        is_val: Whether they are the whole validation set.
    """
    published = record.published_accuracy
    any_count = (0, count)
    if gate.kind == "smoke" and count >= SMOKE_IMAGE_COUNT:
        ranges = [_hold_in_interval(each.top1_percent, count) for each in published]
        return [PassRange(count=count, top1=hits, top5=any_count, needs_all=False) for hits in ranges]
    if not is_val or not published:
        return []
    if gate.kind == "published":
        return [
            PassRange(
                count=count,
                top1=_round_to(each.top1_percent, count),
                top5=any_count if each.top5_percent is None else _round_to(each.top5_percent, count),
                needs_all=True,
            )
            for each in published
        ]
    if gate.kind == "mlperf":
        least = bisect_left(
            range(count + 1), True, key=lambda hits: not misses_mlperf(record, gate.bound, 100 * hits / count)
        )
        return [PassRange(count=count, top1=(least, count), top5=any_count, needs_all=True)]
    return []


def _round_to(percent: float, count: int) -> tuple[int, int]:
    """Return the least and most hits whose percentage, to two decimals, is the published one's."""

    def measure(hits: int) -> float:
        return round(100 * hits / count, 2)

    low = bisect_left(range(count + 1), True, key=lambda hits: percent - measure(hits) <= _LIMIT)
    high = bisect_left(range(count + 1), True, key=lambda hits: measure(hits) - percent > _LIMIT) - 1
    return low, high


def _hold_in_interval(percent: float, count: int) -> tuple[int, int]:
    """Return the least and most hits whose 95 % interval holds the percentage."""
    low = bisect_left(
        range(count + 1), True, key=lambda hits: 100 * compute_wilson_interval(hits, count)[1] >= percent
    )
    high = bisect_left(
        range(count + 1), True, key=lambda hits: 100 * compute_wilson_interval(hits, count)[0] > percent
    )
    return low, high - 1
