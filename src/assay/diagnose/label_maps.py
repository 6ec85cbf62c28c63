"""The orders in which labels are counted, and which of them the network's answers fit."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.images.labels import read_class_names, read_devkit_labels, read_synsets
from assay.measure.accuracy.paired import compute_mcnemar_p
from assay.models.record import OutputTensor

Classes = NDArray[np.int64]
_LEAST_SHARE = 0.25  # of the images that a map must get right; a wrong one of 1,006 got 2 of 50 at most
_LEAST_RISE = 0.1  # of the images, more than the map that is used so far
_SIGNIFICANT = 0.05
_FEW_CLASSES, _STRICT = 20, 0.005  # among so few classes many maps fit well by accident
_LARGEST_SHIFT, _CLASSES_PER_SHIFT = 10, 50  # what an alignment may shift, and classes that it needs for each
_BREAK_COST = 3  # hits that a break must bring
_IMAGES_PER_CLASS = 4  # of which an order of a few classes is read
_ORDER_CLASSES = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """A way to count the classes: the network's class of each label, int64 (labels,), or -1.

    `factor` and `value` say what it is: `label_offset` and a number, or `label_order` and a name.
    """

    factor: str
    value: int | str
    classes: Classes


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMaps:
    """The maps that answers are tried on: every shift, known orders, and what the answers themselves say.

    Args:
        given: The record's own.
        orders: The known orders, with the labels counted from 0 and from 1.
        label_count: Labels that images may have.
        class_count: Classes of the network.
    """

    given: LabelMap
    orders: tuple[LabelMap, ...]
    label_count: int
    class_count: int

    def find(self, answers: Classes, labels: Classes, given: LabelMap) -> LabelMap:
        """The map that fits the answers: the given one, unless another fits far better.

        Another one must take a quarter of the images, a tenth of them more than the given one, and more than
        answers that have nothing to do with the labels would give the best of so many maps.

        Args:
            answers: The network's classes, (N,); below 0 where there is none.
            labels: The images' labels, (N,).
            given: The map that is used so far.
        """
        candidates = [given, self._find_shift(answers, labels), *self.orders]
        best = max(candidates, key=lambda one: int((one.classes[labels] == answers).sum()))
        tried = self.label_count + self.class_count + len(self.orders)
        for found in (_align(answers, labels, best, self), best):
            if found is not None and _fits(answers, labels, found, given, self.class_count, tried):
                best = found
                break
        else:
            best = given
        return _read_order(answers, labels, best, self.class_count) or best

    def shift(self, offset: int) -> LabelMap:
        """The map that adds a number to each label."""
        classes = _limit(np.arange(self.label_count) + offset, self.class_count)
        return LabelMap(factor="label_offset", value=offset, classes=classes)

    def _find_shift(self, answers: Classes, labels: Classes) -> LabelMap:
        """The shift that gets the most images right."""
        is_class = answers >= 0
        if not is_class.any():
            return self.given
        return self.shift(_find_commonest((answers - labels)[is_class]))


@functools.lru_cache(maxsize=8)
def list_label_maps(label_count: int, output: OutputTensor) -> LabelMaps:
    """Every map that is tried.

    Args:
        label_count: Labels that images may have, 0 to `label_count` - 1: as many as the record has at least,
            and more where the images' labels do not fit it.
        output: The network's classes, their names, and the class of label 0 as recorded.
    """
    labels, orders = np.arange(label_count), []
    for name, order in _list_orders(output).items():
        for first in (0, 1):
            places = labels[first : first + len(order)]
            classes = np.full(label_count, -1)
            classes[places] = order[places - first] + _find_first_class(output)
            value = f"{name}, counted from 1" if first else name
            classes = _limit(classes, output.class_count)
            orders.append(LabelMap(factor="label_order", value=value, classes=classes))
    given = _limit(labels + output.label_offset, output.class_count)
    return LabelMaps(
        given=LabelMap(factor="label_offset", value=output.label_offset, classes=given),
        orders=tuple(orders),
        label_count=label_count,
        class_count=output.class_count,
    )


def _fits(
    answers: Classes, labels: Classes, one: LabelMap, given: LabelMap, class_count: int, tried: int
) -> bool:
    is_right, was_right = one.classes[labels] == answers, given.classes[labels] == answers
    hits, count = int(is_right.sum()), len(labels)
    if hits < max(_LEAST_SHARE * count, was_right.sum() + _LEAST_RISE * count):
        return False
    won, lost = int((is_right & ~was_right).sum()), int((was_right & ~is_right).sum())
    by_chance = _compute_agreement(answers, one.classes[labels])
    level = _STRICT if class_count < _FEW_CLASSES else _SIGNIFICANT
    return compute_mcnemar_p(lost, won) <= level and _tail(hits, count, by_chance) * tried <= _SIGNIFICANT


def _align(answers: Classes, labels: Classes, best: LabelMap, maps: LabelMaps) -> LabelMap | None:
    """Labels that are shifted by more from some class on, as where one is missing; None without a break.

    The path of shifts along the labels that gets the most images right, a break costing three (Viterbi). The
    labels between two images where a break may lie mean no class.
    """
    reach = min(_LARGEST_SHIFT, maps.class_count // _CLASSES_PER_SHIFT)
    if reach == 0:
        return None
    shifts = np.arange(-reach, reach + 1)
    known, places = np.unique(labels, return_inverse=True)
    hits = np.zeros((len(known), len(shifts)))
    np.add.at(hits, places, ((answers - labels)[:, None] == shifts) & (answers[:, None] >= 0))
    path = _find_path(hits)
    if (path == path[0]).all() or _count_aligned(hits, path) <= (best.classes[labels] == answers).sum():
        return None
    starts = np.flatnonzero(np.diff(path, prepend=-1))
    classes, words = np.full(maps.label_count, -1), []
    for start, stop in zip(starts, [*starts[1:], len(path)], strict=True):
        first = 0 if start == 0 else int(known[start])
        last = maps.label_count - 1 if stop == len(path) else int(known[stop - 1])
        classes[first : last + 1] = np.arange(first, last + 1) + shifts[path[start]]
        words.append(f"{shifts[path[start]]:+d} for labels {first} to {last}")
    classes = _limit(classes, maps.class_count)
    return LabelMap(factor="label_offset", value=", ".join(words), classes=classes)


def _find_path(hits: NDArray[np.float64]) -> Classes:
    """The column of each row that gets the most in all, a change of column costing three."""
    total, before = hits[0], np.zeros(hits.shape, dtype=np.int64)
    for row in range(1, len(hits)):
        best = int(total.argmax())
        stays = total >= total[best] - _BREAK_COST
        before[row] = np.where(stays, np.arange(hits.shape[1]), best)
        total = np.maximum(total, total[best] - _BREAK_COST) + hits[row]
    path = [int(total.argmax())]
    for row in range(len(hits) - 1, 0, -1):
        path.append(int(before[row, path[-1]]))
    return np.array(path[::-1])


def _count_aligned(hits: NDArray[np.float64], path: Classes) -> float:
    """The images that a path gets right, less what its breaks cost."""
    breaks = np.count_nonzero(np.diff(path))
    return float(hits[np.arange(len(path)), path].sum()) - _BREAK_COST * breaks


def _read_order(answers: Classes, labels: Classes, given: LabelMap, class_count: int) -> LabelMap | None:
    """The order of a few classes as half of the images have it, where the other half confirms it."""
    known, counts = np.unique(labels, return_counts=True)
    if len(known) > _ORDER_CLASSES or len(known) < 2 or counts.min() < _IMAGES_PER_CLASS:
        return None
    is_first = _halve(labels)
    order = {int(one): _find_commonest(answers[is_first & (labels == one)]) for one in known}
    if len(set(order.values())) < len(order) or min(order.values()) < 0:
        return None
    classes = given.classes.copy()
    classes[list(order)] = list(order.values())
    words = ", ".join(f"{label} is {found}" for label, found in order.items())
    read = LabelMap(factor="label_order", value=f"as answered: {words}", classes=classes)
    rest = ~is_first
    return read if _fits(answers[rest], labels[rest], read, given, class_count, 1) else None


def _halve(labels: Classes) -> NDArray[np.bool_]:
    """Every other image of each label."""
    seen: dict[int, int] = {}
    halves = []
    for label in labels.tolist():
        seen[label] = seen.get(label, 0) + 1
        halves.append(seen[label] % 2 == 1)
    return np.array(halves)


def _find_commonest(answers: Classes) -> int:
    found, counts = np.unique(answers, return_counts=True)
    return int(found[counts.argmax()])


def _list_orders(output: OutputTensor) -> dict[str, Classes]:
    """The label of each place, by how the labels are ordered; the label count is the order's length."""
    imagenet_count = len(read_synsets())
    is_imagenet = output.class_count in (imagenet_count, imagenet_count + 1)
    count = imagenet_count if is_imagenet else output.class_count - output.label_offset
    orders = dict(_list_both_ways("numbers sorted as text", np.array(sorted(range(count), key=str))))
    orders["reversed"] = np.arange(count)[::-1].copy()
    names = output.class_names or (read_class_names() if is_imagenet else ())
    if len(names) == count:
        orders |= _list_both_ways("names sorted", np.array(sorted(range(count), key=names.__getitem__)))
    if is_imagenet:  # devkit: ILSVRC2012 ID - 1 -> label
        orders |= _list_both_ways("ILSVRC2012 IDs", np.array(read_devkit_labels()))
    return orders


def _list_both_ways(name: str, order: Classes) -> Iterator[tuple[str, Classes]]:
    yield name, order
    yield f"{name}, the other way", np.argsort(order)


def _find_first_class(output: OutputTensor) -> int:
    """The class of label 0: as recorded, and 1 of 1,001 of which the record says nothing."""
    return output.class_count - len(read_synsets()) if output.class_count == 1001 else output.label_offset


def _limit(classes: Classes, class_count: int) -> Classes:
    """The classes, -1 where the network has none of that number."""
    return np.where((classes >= 0) & (classes < class_count), classes, -1)


def _compute_agreement(answers: Classes, classes: Classes) -> float:
    """The share of images that would be right if answers and classes had nothing to do with each other."""
    found, counts = np.unique(answers, return_counts=True)
    meant = np.array([np.count_nonzero(classes == one) for one in found])
    return float((counts * meant).sum()) / len(answers) ** 2


def _tail(hits: int, count: int, share: float) -> float:
    """The probability of so many hits or more of a binomial distribution."""
    if not 0 < share < 1:
        return float(share >= 1 or hits == 0)
    logs = (
        math.lgamma(count + 1)
        - math.lgamma(k + 1)
        - math.lgamma(count - k + 1)
        + k * math.log(share)
        + (count - k) * math.log1p(-share)
        for k in range(hits, count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))
