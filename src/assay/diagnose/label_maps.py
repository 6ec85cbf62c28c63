"""The orders in which labels are counted, and which of them the network's answers fit."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.images.labels import read_class_names, read_devkit_labels, read_synsets

_LEAST_SHARE = 0.25  # of the images that a map must get right; a wrong one of 1,006 got 2 of 50 at most


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """A way to count the classes: the network's class of each label, int64 (labels,), or -1.

    `factor` and `value` say what it is: `label_offset` and a number, or `label_order` and a name.
    """

    factor: str
    value: int | str
    classes: NDArray[np.int64]


@functools.lru_cache(maxsize=8)
def list_label_maps(label_count: int, class_count: int, offset: int) -> tuple[LabelMap, ...]:
    """Every map that is tried; the first is the record's own.

    Args:
        label_count: Labels of the images, 0 to `label_count` - 1.
        class_count: Classes of the network.
        offset: The record's class of label 0.
    """
    labels = np.arange(label_count)
    shifts = [offset, *(k for k in range(-label_count + 1, class_count) if k != offset)]
    maps = [LabelMap(factor="label_offset", value=k, classes=_limit(labels + k, class_count)) for k in shifts]
    for name, order in _list_orders(label_count).items():
        maps.append(LabelMap(factor="label_order", value=name, classes=_limit(order + offset, class_count)))
    return tuple(maps)


def find_label_map(
    answers: NDArray[np.int64], labels: NDArray[np.int64], maps: tuple[LabelMap, ...], given: int = 0
) -> int:
    """The place of the map that fits the answers: the given one, unless another fits far better.

    Another one must take a quarter of the images, and a tenth of them more than the given one.

    Args:
        answers: The network's classes, (N,).
        labels: The images' labels, (N,).
        maps: As `list_label_maps`.
        given: The place of the map that is used so far.
    """
    hits = np.array([np.count_nonzero(one.classes[labels] == answers) for one in maps])  # (maps,)
    best = int(hits.argmax())
    least = max(_LEAST_SHARE * len(labels), hits[given] + 0.1 * len(labels))
    return best if hits[best] >= least else given


def _list_orders(label_count: int) -> dict[str, NDArray[np.int64]]:
    """The class of each label, by how the labels are ordered."""
    as_text = np.array(sorted(range(label_count), key=str))  # place in text order -> number
    orders = {
        "numbers sorted as text": as_text,
        "numbers sorted as text, the other way": np.argsort(as_text),
        "reversed": np.arange(label_count)[::-1].copy(),
    }
    if label_count == len(read_synsets()):
        devkit = np.array(read_devkit_labels())  # ILSVRC2012 ID - 1 -> label
        by_name = np.array(sorted(range(label_count), key=read_class_names().__getitem__))
        orders |= {
            "ILSVRC2012 IDs": devkit,
            "ILSVRC2012 IDs, the other way": np.argsort(devkit),
            "names sorted": by_name,
            "names sorted, the other way": np.argsort(by_name),
        }
    return orders


def _limit(classes: NDArray[np.int64], class_count: int) -> NDArray[np.int64]:
    """The classes, -1 where the network has none of that number."""
    return np.where((classes >= 0) & (classes < class_count), classes, -1)
