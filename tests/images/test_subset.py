"""A subset of a data set: the same images every time, wherever they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import UsageError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.listing import LabelledImage
from assay.images.sources import ImageIndex
from assay.images.subset import draw_order, limit_images


def make_index(paths: list[str]) -> ImageIndex:
    images = tuple(
        LabelledImage(relative_path=path, label=0, size_bytes=1, read_bytes=bytes) for path in paths
    )
    return ImageIndex(
        path=Path("images"),
        form="f",
        label_source="l",
        label_kind="file",
        classes=IMAGENET_CLASSES,
        images=images,
    )


NAMES = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 501)]


def test_the_part_is_told_by_the_names_hashes_alone() -> None:
    expected = sorted(NAMES, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:50]
    flat = limit_images(make_index(NAMES), 50)
    foldered = limit_images(make_index([f"n{number % 7}/{name}" for number, name in enumerate(NAMES)]), 50)
    assert [image.name for image in flat.images] == sorted(expected)
    assert sorted(image.name for image in foldered.images) == sorted(expected)
    assert flat.limited_from == 500
    assert [image.name for image in draw_order(flat.images)] == expected


def test_a_part_of_images_sorted_by_class_holds_all_classes() -> None:
    index = make_index([f"{number // 50}/{name}" for number, name in enumerate(NAMES)])
    folders = [image.relative_path[0] for image in limit_images(index, 100).images]
    assert len(set(folders)) == 10
    assert max(map(folders.count, set(folders))) < 30


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_smaller_part_is_in_the_larger(one: int, other: int) -> None:
    small, large = (set(limit_images(make_index(NAMES[:20]), n).images) for n in sorted((one, other)))
    assert {image.name for image in small} <= {image.name for image in large}


@pytest.mark.parametrize("count", [None, 500, 501])
def test_no_limit_and_one_that_cuts_nothing_leave_the_index_as_it_is(count: int | None) -> None:
    index = make_index(NAMES)
    assert limit_images(index, count) is index


@pytest.mark.parametrize("count", [0, -1])
def test_a_limit_below_one_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match="--limit"):
        limit_images(make_index(NAMES), count)
