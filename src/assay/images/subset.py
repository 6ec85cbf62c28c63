"""A subset of a data set, drawn by the images' names: the same images wherever and however it is held."""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import os
from collections.abc import Iterable

import numpy as np

from assay.errors import UsageError
from assay.images.listing import LabelledImage
from assay.images.sources import ImageIndex
from assay.images.table import make_table


def draw_order(images: Iterable[LabelledImage], count: int | None = None) -> list[LabelledImage]:
    """The first `count` images, or all, in a random order that is always the same.

    It is that of the sha256 of their file names, which has nothing to do with the classes, also where the
    images lie in class folders; an image's rank to another does not depend on which others there are. Equal
    names rank by relative path.
    """
    return sorted(images, key=_hash_name) if count is None else heapq.nsmallest(count, images, key=_hash_name)


def limit_images(index: ImageIndex, count: int | None) -> ImageIndex:
    """Cut the index to so many images, the first in the drawn order; all of them for None.

    They stay in the order of the index. The images of a smaller limit are among those of a larger one.

    Raises:
        UsageError: A limit below 1.
    """
    if count is None or count >= len(index.images):
        return index
    if count < 1:
        raise UsageError(f"--limit is {count}; expected 1 or more")
    keys = ((_hash_name(image), number) for number, image in enumerate(index.images))
    chosen = sorted(number for _, number in heapq.nsmallest(count, keys))
    return dataclasses.replace(
        index,
        images=make_table(index.images).pick(np.array(chosen)),
        limited_from=len(index.images),
    )


def _hash_name(image: LabelledImage) -> tuple[bytes, bytes]:
    return hashlib.sha256(os.fsencode(image.name)).digest(), os.fsencode(image.relative_path)
