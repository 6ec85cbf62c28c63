"""Accuracy: counts first, then percentages over all images, each with its interval."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from statistics import NormalDist

import msgspec

from assay.images.preprocessed_image import OK
from assay.images.real_labels import RealLabels
from assay.inference.predictions import NO_LABEL, TOP_K, Prediction

LISTED_FAILURES = 100
FindRank = Callable[[Prediction, int], "int | None"]


class TopKAccuracy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How often the label was among the k likeliest classes.

    `percent` and its 95 % Wilson interval are over all images, failed ones counted as wrong;
    `percent_of_scored` leaves them out and is there only where it differs.
    """

    hits: int
    percent: float
    interval_percent: tuple[float, float]
    percent_of_scored: float | None = None


class FailedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that could not be scored, and why."""

    relative_path: str
    status: str


class Accuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Top-1 to Top-5 over a set of images; `failures` counts the failed images by reason.

    `class_count` is how many classes an image can be taken for; None where an older assay wrote it.
    """

    image_count: int
    scored_count: int
    failed_count: int
    top1: TopKAccuracy
    top2: TopKAccuracy
    top3: TopKAccuracy
    top4: TopKAccuracy
    top5: TopKAccuracy
    noted_count: int
    failures: dict[str, int]
    failed_images: tuple[FailedImage, ...]
    class_count: int | None = None

    @property
    def shown(self) -> list[tuple[str, TopKAccuracy]]:
        """What is shown, by name: Top-1, and Top-5 where there are more than five classes."""
        return [("Top-1", self.top1), *([("Top-5", self.top5)] if self.has_top5 else [])]

    @property
    def has_top5(self) -> bool:
        """Whether Top-5 says anything: among five classes or fewer, every label is."""
        return self.class_count is None or self.class_count > TOP_K

    def __str__(self) -> str:
        return "\n".join(describe_topk(name, topk, self) for name, topk in self.shown)


class RealAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy by ReaL labels; `excluded_count` images have none and are left out.

    `labels_sha256` is of the file of the labels; empty where an older assay wrote it.
    """

    accuracy: Accuracy
    excluded_count: int
    labels_sha256: str = ""


class SubsetAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Top-1 and Top-5 among some of the classes: the likeliest of these alone. `name` says whose they are."""

    name: str
    class_count: int
    top1: TopKAccuracy
    top5: TopKAccuracy

    @property
    def shown(self) -> list[tuple[str, TopKAccuracy]]:
        """What is shown, by name: Top-1, and Top-5 where there are more than five classes."""
        of = f"of the {self.class_count:,} classes of {self.name}"
        found = [("Top-1", self.top1), ("Top-5", self.top5)]
        return [(f"{name} {of}", topk) for name, topk in (found if self.class_count > TOP_K else found[:1])]


class ClassAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """Top-1 and Top-5 hits over the images of one class; `name` is empty where it has none."""

    label: int
    name: str = ""
    image_count: int
    failed_count: int
    top1_hits: int
    top5_hits: int


def compute_wilson_interval(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of hits / count, as two fractions between 0 and 1.

    Wilson, J. Am. Stat. Assoc. 22 (1927) 209, without continuity correction.

    >>> low, high = compute_wilson_interval(39_530, 50_000)
    >>> round(100 * low, 2), round(100 * high, 2)
    (78.7, 79.41)

    Args:
        hits: Successes, 0 to `count`.
        count: Trials, at least 1.
        confidence: Between 0 and 1.

    Raises:
        ValueError: `count` below 1, or `hits` outside 0 to `count`.
    """
    if not 0 <= hits <= count or count < 1:
        raise ValueError(f"expected 0 <= hits <= count and count >= 1, found {hits} and {count}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = hits / count
    centre = share + z * z / (2 * count)
    half_width = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    # at 0 and at all hits the interval ends at 0 and at 1, but for rounding
    low = 0.0 if hits == 0 else (centre - half_width) / scale
    high = 1.0 if hits == count else (centre + half_width) / scale
    return low, high


def count_topk_hits(predictions: Iterable[Prediction], label_offset: int) -> list[int]:
    """How many labels are the likeliest class, among the two likeliest, … the five likeliest.

    Failed images are no hits.

    Args:
        predictions: One for each image.
        label_offset: The class of label 0.
    """
    ranks = collections.Counter(find_label_rank(prediction, label_offset) for prediction in predictions)
    return _sum_ranks(ranks)


def _sum_ranks(ranks: Mapping[int | None, int]) -> list[int]:
    return [sum(ranks.get(rank, 0) for rank in range(k + 1)) for k in range(TOP_K)]


def find_label_rank(prediction: Prediction, label_offset: int) -> int | None:
    """Where the label stands among the likeliest classes, 0 to 4, or None where it does not."""
    if prediction.status != OK or prediction.label is None:
        return None
    label = prediction.label + label_offset
    return prediction.top_classes.index(label) if label in prediction.top_classes else None


def find_accepted_rank(prediction: Prediction, accepted: Collection[int], label_offset: int) -> int | None:
    """Where the first of several right classes stands among the likeliest, 0 to 4, or None."""
    ranks = [rank for rank, label in enumerate(prediction.top_classes) if label - label_offset in accepted]
    return min(ranks, default=None)


def measure_real_accuracy(
    predictions: Iterable[Prediction], real_labels: RealLabels, label_offset: int = 0
) -> RealAccuracy | None:
    """The accuracy by ReaL labels, or None where not one of the images has any.

    An image is right where its likeliest class is among its ReaL labels; one that has none is left out.
    So does timm (`real_labels.py`).
    """
    excluded = [0]

    def leave_out() -> Iterator[Prediction]:
        for prediction in predictions:
            if not real_labels.find(prediction.name):
                excluded[0] += 1
            elif prediction.status == NO_LABEL:  # of the other kind: it is scored by this one
                yield dataclasses.replace(prediction, status=OK)
            else:
                yield prediction

    def find_rank(prediction: Prediction, label_offset: int) -> int | None:
        return find_accepted_rank(prediction, real_labels.find(prediction.name), label_offset)

    try:
        accuracy = measure_accuracy(leave_out(), label_offset, find_rank)
    except ValueError:  # no image is left
        return None
    return RealAccuracy(accuracy=accuracy, excluded_count=excluded[0], labels_sha256=real_labels.sha256)


class AccuracyCount:
    """Counts ranks and failures, one prediction after the other.

    Args:
        label_offset: The class of label 0.
        find_rank: Returns where the right class stands among the likeliest, or None.
    """

    def __init__(self, label_offset: int = 0, find_rank: FindRank = find_label_rank) -> None:
        self._label_offset = label_offset
        self._find_rank = find_rank
        self._ranks: collections.Counter[int | None] = collections.Counter()
        self._reasons: collections.Counter[str] = collections.Counter()
        self._listed: list[FailedImage] = []
        self._noted_count = 0

    def add(self, prediction: Prediction) -> None:
        """Count an image."""
        self._noted_count += bool(prediction.note)
        self._ranks[self._find_rank(prediction, self._label_offset)] += 1
        if prediction.status != OK:
            self._reasons[prediction.status] += 1
            if len(self._listed) < LISTED_FAILURES:
                path, status = prediction.relative_path, prediction.status
                self._listed.append(FailedImage(relative_path=path, status=status))

    def to_accuracy(self, class_count: int | None = None) -> Accuracy:
        """The accuracy over all images that were counted.

        Args:
            class_count: How many classes an image can be taken for, where that is known.

        Raises:
            ValueError: There was none.
        """
        image_count, failed_count = self._ranks.total(), self._reasons.total()
        scored_count = image_count - failed_count
        top = [make_topk(hits, image_count, scored_count) for hits in _sum_ranks(self._ranks)]
        return Accuracy(
            image_count=image_count,
            scored_count=scored_count,
            failed_count=failed_count,
            top1=top[0],
            top2=top[1],
            top3=top[2],
            top4=top[3],
            top5=top[4],
            noted_count=self._noted_count,
            failures=dict(self._reasons.most_common()),
            failed_images=tuple(self._listed),
            class_count=class_count,
        )


def measure_accuracy(
    predictions: Iterable[Prediction],
    label_offset: int = 0,
    find_rank: FindRank = find_label_rank,
    class_count: int | None = None,
) -> Accuracy:
    """Return Top-1 to Top-5 over all predictions, which are gone through once.

    Args:
        predictions: One for each image, at least one.
        label_offset: The class of label 0.
        find_rank: Returns where the right class stands among the likeliest, or None.
        class_count: How many classes an image can be taken for, where that is known.

    Raises:
        ValueError: No predictions.
    """
    count = AccuracyCount(label_offset, find_rank)
    for prediction in predictions:
        count.add(prediction)
    return count.to_accuracy(class_count)


def make_topk(hits: int, image_count: int, scored_count: int) -> TopKAccuracy:
    """So many hits among so many images, of which so many were scored, with the interval."""
    low, high = compute_wilson_interval(hits, image_count)
    differs = scored_count not in (0, image_count)
    return TopKAccuracy(
        hits=hits,
        percent=100 * hits / image_count,
        interval_percent=(100 * low, 100 * high),
        percent_of_scored=100 * hits / scored_count if differs else None,
    )


def measure_subset_accuracy(
    predictions: Iterable[Prediction], label_offset: int, name: str, class_count: int
) -> SubsetAccuracy:
    """The accuracy where images can be taken for the classes of a subset only.

    Args:
        predictions: One for each image, ranked among the subset too.
        label_offset: The class of label 0.
        name: Whose classes they are.
        class_count: How many they are.
    """

    def find_rank(prediction: Prediction, label_offset: int) -> int | None:
        ranked = dataclasses.replace(prediction, top_classes=prediction.subset_classes)
        return find_label_rank(ranked, label_offset)

    found = measure_accuracy(predictions, label_offset, find_rank)
    return SubsetAccuracy(name=name, class_count=class_count, top1=found.top1, top5=found.top5)


class ClassCounts:
    """Counts the ranks and failures of every class, one prediction after the other."""

    def __init__(self, label_offset: int = 0) -> None:
        self._label_offset = label_offset
        self._ranks: dict[int, collections.Counter[int | None]] = collections.defaultdict(collections.Counter)
        self._failed: collections.Counter[int] = collections.Counter()

    def add(self, prediction: Prediction) -> None:
        """Count an image; one without a label is passed over."""
        if prediction.label is not None:
            self._ranks[prediction.label][find_label_rank(prediction, self._label_offset)] += 1
            if prediction.status != OK:
                self._failed[prediction.label] += 1

    def to_list(self, names: Sequence[str] = ()) -> list[ClassAccuracy]:
        """The hits of every class that has images, by label.

        Args:
            names: What the classes are called, by label; may be empty.
        """
        return [
            ClassAccuracy(
                label=label,
                name=names[label] if names else "",
                image_count=counted.total(),
                failed_count=self._failed[label],
                top1_hits=counted[0],
                top5_hits=_sum_ranks(counted)[-1],
            )
            for label, counted in sorted(self._ranks.items())
        ]


def measure_class_accuracy(
    predictions: Iterable[Prediction], label_offset: int = 0, names: Sequence[str] = ()
) -> list[ClassAccuracy]:
    """The hits of every class that has images, by label; the predictions are gone through once.

    Args:
        predictions: One for each image.
        label_offset: The class of label 0.
        names: What the classes are called, by label; may be empty.
    """
    counts = ClassCounts(label_offset)
    for prediction in predictions:
        counts.add(prediction)
    return counts.to_list(names)


def describe_topk(name: str, topk: TopKAccuracy, accuracy: Accuracy) -> str:
    """One line: counts first, then the percentage, then its 95 % interval.

    Where images failed, the percentage of the scored ones follows.
    """
    low, high = topk.interval_percent
    line = (
        f"{name}  {topk.hits:,} of {accuracy.image_count:,}  {topk.percent:.2f} %  "
        f"(95 %: {low:.2f} to {high:.2f})"
    )
    if topk.percent_of_scored is not None:
        line += f"; of scored: {topk.percent_of_scored:.2f} %"
    return line
