"""Logits that are not an image's own are told before any layer is blamed."""

from __future__ import annotations

import numpy as np

from assay.arrays import Images, Logits
from assay.workflows.diagnose.stability import describe_instability

IMAGES = np.random.default_rng(1).normal(size=(8, 3, 4, 4)).astype(np.float32)


def predict(images: Images) -> Logits:
    """Three logits of each image."""
    logits: Logits = images.mean(axis=(2, 3))
    return logits


def test_a_network_whose_logits_are_each_images_own_is_said_nothing_of() -> None:
    assert describe_instability(predict, IMAGES) == []


def test_a_network_that_looks_at_the_whole_batch_is_named() -> None:
    (line,) = describe_instability(lambda images: predict(images) - predict(images).mean(axis=0), IMAGES)
    assert "depend on the batch" in line


def test_a_network_that_answers_otherwise_every_time_is_named() -> None:
    rng = np.random.default_rng(2)
    (line,) = describe_instability(
        lambda images: predict(images) + rng.normal(size=(len(images), 3)).astype(np.float32), IMAGES
    )
    assert "from call to call" in line


def test_a_network_that_treats_the_first_place_otherwise_is_named() -> None:
    def favour(images: Images) -> Logits:
        return predict(images) + (len(images) > 1) * np.eye(len(images), 3, dtype=np.float32)

    (line,) = describe_instability(favour, IMAGES)
    assert "batch" in line
