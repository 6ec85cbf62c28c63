"""Which images a model is calibrated on, and what becomes of those that cannot be decoded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from assay.errors import BadImagesError, SourceError
from assay.images.calibration import (
    CalibrationOptions,
    CalibrationSample,
    choose_images,
    count_calibrated,
    load_calibration_sample,
)
from assay.images.classes import IMAGENET_CLASSES
from assay.images.listing import DEFAULT_READ_OPTIONS
from assay.images.prepare import preprocess_image
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex, index_images
from assay.models.calibration import CalibrationRecord
from assay.models.record import ModelRecord


def damage(folder: Path, *numbers: int) -> None:
    for number in numbers:
        path = folder / f"ILSVRC2012_val_{number:08d}.JPEG"
        path.write_bytes(path.read_bytes()[:100])


def load(folder: Path, record: ModelRecord, count: int) -> CalibrationSample:
    index = index_images(folder, IMAGENET_CLASSES)
    return load_calibration_sample(index, record, CalibrationOptions(image_count=count), lambda _: None)


def test_sound_images_are_calibrated_on_as_they_were_chosen(
    photographs: Path, se_resnext50: ModelRecord
) -> None:
    images = index_images(photographs, IMAGENET_CLASSES).images
    chosen = choose_images(images, CalibrationOptions(image_count=5))
    sample = load(photographs, se_resnext50, 5)
    assert [image.relative_path for image in sample.described] == [image.relative_path for image in chosen]
    for image, row in zip(chosen, sample.images, strict=True):
        expected = preprocess_image(image, se_resnext50).image
        assert expected is not None
        np.testing.assert_array_equal(row, expected[np.newaxis])
    assert not sample.failed


def test_for_an_image_that_cannot_be_decoded_another_is_taken(
    photographs: Path, se_resnext50: ModelRecord
) -> None:
    before = {image.relative_path for image in load(photographs, se_resnext50, 5).described}
    lost = sorted(before)[2]
    damage(photographs, int(lost[-13:-5]))
    sample = load(photographs, se_resnext50, 5)
    after = {image.relative_path: image.sha256 for image in sample.described}
    assert len(after) == len(sample.images) == 5
    assert before - after.keys() == {lost}
    assert [image.source.relative_path for image in sample.failed] == [lost]
    assert sample.failed[0].status.startswith("not decodable: broken JPEG: ")
    for name, sha256 in after.items():
        assert hashlib.sha256((photographs / name).read_bytes()).hexdigest() == sha256
    again = {image.relative_path: image.sha256 for image in load(photographs, se_resnext50, 5).described}
    assert again == after


def test_where_too_few_are_left_these_are_all(photographs: Path, se_resnext50: ModelRecord) -> None:
    damage(photographs, *range(1, 11))
    sample = load(photographs, se_resnext50, 5)
    assert len(sample.images) == 2
    assert len(sample.failed) == 10


def test_where_none_is_left_that_is_an_error_with_the_reasons(
    photographs: Path, se_resnext50: ModelRecord
) -> None:
    damage(photographs, *range(1, 13))
    with pytest.raises(BadImagesError, match=r"no image to calibrate on can be decoded: .*JPEG.* and 9"):
        load(photographs, se_resnext50, 5)


def test_a_source_that_fails_is_not_passed_over(
    photographs: Path, se_resnext50: ModelRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())
    index = index_images(photographs, IMAGENET_CLASSES)
    for path in photographs.iterdir():
        path.unlink()
    with pytest.raises(SourceError, match="No such file or directory"):
        load_calibration_sample(index, se_resnext50, CalibrationOptions(), lambda _: None)
    with pytest.raises(SourceError, match="No such file or directory"):
        load_sample_images(se_resnext50, index, 4, announce=print)
    calibration = CalibrationRecord(
        source_sha256="", sha256="", tool="", preset="", seed=0, float_layers=(), images=()
    )
    unknown_sizes = [image for image in index.images if image.size_bytes == 0]
    assert count_calibrated(unknown_sizes, calibration, DEFAULT_READ_OPTIONS) == 0


def load_samples(index: ImageIndex, record: ModelRecord, count: int) -> tuple[int, list[str]]:
    said: list[str] = []
    return len(load_sample_images(record, index, count, said.append)), said


def test_samples_pass_over_what_cannot_be_decoded_and_say_so(
    photographs: Path, se_resnext50: ModelRecord
) -> None:
    assert load_samples(index_images(photographs, IMAGENET_CLASSES), se_resnext50, 4) == (4, [])
    damage(photographs, 2)
    count, said = load_samples(index_images(photographs, IMAGENET_CLASSES), se_resnext50, 4)
    assert count == 4
    (line,) = said
    assert line.startswith("Note: no sample is made of 1 image: ILSVRC2012_val_00000002.JPEG (not dec")
    damage(photographs, 1, *range(3, 13))
    with pytest.raises(BadImagesError, match="not one of 12 images can be decoded: "):
        load_samples(index_images(photographs, IMAGENET_CLASSES), se_resnext50, 4)
