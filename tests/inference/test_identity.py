from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import pytest

from assay.images.listing import LabelledImage
from assay.inference.identity import RunIdentity, compute_fingerprint, identify_run, name_changes

MODEL = ("openvino", "CPU", "fp32", ("model.xml", "abc"))
PREPROCESSING = ("bilinear", 256, 224)


def identify(images: list[LabelledImage], **changed: object) -> RunIdentity:
    options = {"model": MODEL, "preprocessing": PREPROCESSING, "data_set": "", "shard_size": 1024}
    return identify_run(images=images, **{"keep_logits": False, **options, **changed})  # type: ignore[arg-type]


@pytest.fixture
def images(make_source: Callable[..., LabelledImage]) -> list[LabelledImage]:
    return [make_source("a", 0, label=1), make_source("b", 0, label=2), make_source("c", 0, label=None)]


def test_the_same_run_has_the_same_fingerprint(images: list[LabelledImage]) -> None:
    fingerprint = compute_fingerprint(identify(images))
    assert compute_fingerprint(identify(list(images))) == fingerprint
    assert len(fingerprint) == 64


def test_the_order_of_keys_does_not_change_the_fingerprint() -> None:
    assert identify([], model={"a": 1, "b": 2}) == identify([], model={"b": 2, "a": 1})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"label": 3}, ["the labels"]),
        ({"label": None}, ["the labels"]),
        ({"size_bytes": 99}, ["the images"]),
        ({"relative_path": "n01440764/a"}, ["the images"]),
        ({"relative_path": os.fsdecode(b"\xff")}, ["the images"]),
    ],
    ids=["label", "no label", "size", "path", "no UTF-8"],
)
def test_a_change_of_an_image_is_named(
    images: list[LabelledImage], change: dict[str, int | str | None], named: list[str]
) -> None:
    before = identify(images)
    images[0] = dataclasses.replace(images[0], **change)  # type: ignore[arg-type]
    assert name_changes(before, identify(images)) == named
    assert compute_fingerprint(before) != compute_fingerprint(identify(images))


def test_the_order_and_number_of_the_images_change_the_fingerprint(images: list[LabelledImage]) -> None:
    found = {identify(other) for other in (images, images[::-1], images[:-1], [*images, images[-1]])}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": ("openvino", "CPU", "fp32", ("model.xml", "abd"))}, "the compiled model"),
        ({"preprocessing": ("bilinear", 256, 225)}, "the preprocessing"),
        ({"data_set": "another"}, "the images"),
        ({"shard_size": 512}, "the shard size (1024 before, 512 now)"),
        ({"keep_logits": True}, "the keep logits (False before, True now)"),
    ],
)
def test_a_change_of_anything_else_is_named(
    images: list[LabelledImage], change: dict[str, object], named: str
) -> None:
    assert name_changes(identify(images), identify(images, **change)) == [named]
