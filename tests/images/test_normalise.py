from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from assay.images import prepare as batches
from assay.images.label_files import LabelOptions
from assay.images.normalise import fill_image
from assay.images.prepare import OK, preprocess_image
from assay.images.resample import Resampler, list_resamplers
from assay.images.resize import resize_and_crop
from assay.images.sources import index_images
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord
from conftest import give_colour_order


@pytest.mark.parametrize("resampler", list_resamplers())
@pytest.mark.parametrize("colour_order", ["RGB", "BGR"])
def test_the_one_step_gives_the_bits_of_the_plain_ones(
    colour_order: str, resampler: Resampler, se_resnext50: ModelRecord
) -> None:
    record = give_colour_order(se_resnext50, colour_order)
    pixels = np.random.default_rng(5).integers(0, 256, (300, 410, 3), dtype=np.uint8)
    row = np.empty((3, 224, 224), dtype=np.float32)
    fill_image(pixels, record, row, resampler)
    cropped = resize_and_crop(pixels, record.preprocessing, "pillow")
    assert row.tobytes() == normalise_pixels(cropped, record).tobytes()
    row_of_pixels = np.empty((224, 224, 3), dtype=np.uint8)
    fill_image(pixels, record, row_of_pixels, resampler)
    np.testing.assert_array_equal(row_of_pixels, cropped)  # RGB: who normalises puts blue first


@pytest.mark.parametrize("resampler", list_resamplers())
def test_real_photographs_become_the_original_scripts_files(
    golden: Path, se_resnext50: ModelRecord, resampler: Resampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "fill_image", partial(fill_image, resampler=resampler))
    lines = (golden / "prep_bin.sha256").read_text(encoding="ascii").splitlines()
    expected = {name.removesuffix(".bin"): sha256 for sha256, name in map(str.split, lines)}
    found = {}
    for source in index_images(golden / "images", 1000, LabelOptions(path=golden / "labels.txt")).images:
        preprocessed = preprocess_image(source, se_resnext50)
        assert preprocessed.status == OK
        assert preprocessed.image is not None
        found[source.name.removesuffix(".JPEG")] = hashlib.sha256(preprocessed.image.tobytes()).hexdigest()
    assert len(expected) == 100
    assert found == expected
