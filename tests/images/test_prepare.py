from __future__ import annotations

import hashlib
import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.errors import SourceError
from assay.images import prepare
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage
from assay.images.prepare import prepare_into, preprocess_image, preprocess_into, stack_images
from assay.images.preprocessed_image import OK
from assay.images.read import NO_PATIENCE
from assay.images.resample import Resampler, list_resamplers
from assay.images.resize import resize_and_crop
from assay.images.sources import index_images
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord
from conftest import give_colour_order


def encode(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 30), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def make_source(encoded: bytes) -> LabelledImage:
    return LabelledImage(relative_path="a", label=0, size_bytes=0, read_bytes=lambda: encoded)


def test_a_sound_image_is_preprocessed_without_a_word(se_resnext50: ModelRecord) -> None:
    source = make_source(encode("red"))
    preprocessed = preprocess_image(source, se_resnext50)
    assert preprocessed.image is not None
    assert preprocessed.image.shape == (3, 224, 224)
    assert (preprocessed.status, preprocessed.note) == (OK, "")
    assert preprocessed.source is source


@pytest.mark.parametrize(
    ("encoded", "status"),
    [
        (b"", "not decodable: empty file"),
        (b"<html>", "not decodable: not an image: begins with b'<html>'"),
    ],
)
def test_a_bad_image_has_its_reason_and_no_pixels(
    encoded: bytes, status: str, se_resnext50: ModelRecord
) -> None:
    preprocessed = preprocess_image(make_source(encoded), se_resnext50)
    assert preprocessed.image is None
    assert preprocessed.status == status


def test_an_image_whose_source_fails_has_no_status_at_all(se_resnext50: ModelRecord) -> None:
    def read_bytes() -> bytes:
        raise OSError("stale")

    source = LabelledImage(relative_path="a", label=0, size_bytes=0, read_bytes=read_bytes)
    with pytest.raises(SourceError, match="stale"):
        preprocess_image(source, se_resnext50, patience=NO_PATIENCE)


def test_a_thin_image_is_preprocessed_as_any_other(se_resnext50: ModelRecord) -> None:
    buffer = io.BytesIO()
    Image.new("L", (3, 5000)).save(buffer, "JPEG")
    preprocessed = preprocess_image(make_source(buffer.getvalue()), se_resnext50)
    assert preprocessed.status == OK


def test_an_image_is_made_in_the_callers_row_of_a_batch(se_resnext50: ModelRecord) -> None:
    batch = np.full((3, 3, 224, 224), np.nan, dtype=np.float32)
    source = make_source(encode("green"))
    made = preprocess_into(source, se_resnext50, DEFAULT_READ_OPTIONS, batch[1])
    assert made.image is not None
    assert np.shares_memory(made.image, batch[1])
    assert made.source is source
    assert np.isnan(batch[[0, 2]]).all()
    by_itself = preprocess_image(source, se_resnext50).image
    assert by_itself is not None
    np.testing.assert_array_equal(batch[1], by_itself)


def test_an_image_that_fails_has_no_row(se_resnext50: ModelRecord) -> None:
    row = np.zeros((3, 224, 224), dtype=np.float32)
    made = preprocess_into(make_source(b"no image"), se_resnext50, DEFAULT_READ_OPTIONS, row)
    assert made.image is None
    assert made.status.startswith("not decodable: ")


def test_an_odd_image_is_ok_with_a_note(se_resnext50: ModelRecord) -> None:
    encoded = bytearray(encode("red"))
    encoded[-2:-2] = b"\0" * 30  # bytes between the scan and the end marker
    preprocessed = preprocess_image(make_source(bytes(encoded)), se_resnext50)
    assert preprocessed.status == OK
    assert "orrupt" in preprocessed.note


def test_a_bad_image_does_not_change_its_neighbours(se_resnext50: ModelRecord) -> None:
    good = [preprocess_image(make_source(encode(colour)), se_resnext50) for colour in ("red", "blue")]
    bad = preprocess_image(make_source(b"no image"), se_resnext50)
    np.testing.assert_array_equal(stack_images([good[0], bad, good[1]]), stack_images(good))


@pytest.mark.parametrize("resampler", list_resamplers())
@pytest.mark.parametrize("colour_order", ["RGB", "BGR"])
def test_the_combined_step_gives_the_bits_of_the_single_steps(
    colour_order: str, resampler: Resampler, se_resnext50: ModelRecord
) -> None:
    record = give_colour_order(se_resnext50, colour_order)
    pixels = np.random.default_rng(5).integers(0, 256, (300, 410, 3), dtype=np.uint8)
    row = np.empty((3, 224, 224), dtype=np.float32)
    prepare_into(pixels, record, row, resampler)
    cropped = resize_and_crop(pixels, record.preprocessing, "pillow")
    assert row.tobytes() == normalise_pixels(cropped, record).tobytes()
    row_of_pixels = np.empty((224, 224, 3), dtype=np.uint8)
    prepare_into(pixels, record, row_of_pixels, resampler)
    np.testing.assert_array_equal(row_of_pixels, cropped)  # RGB: who normalises puts blue first


@pytest.mark.parametrize("resampler", list_resamplers())
def test_real_photographs_become_the_original_scripts_files(
    golden: Path, se_resnext50: ModelRecord, resampler: Resampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "prepare_into", partial(prepare_into, resampler=resampler))
    lines = (golden / "prep_bin.sha256").read_text(encoding="ascii").splitlines()
    expected = {name.removesuffix(".bin"): sha256 for sha256, name in map(str.split, lines)}
    found = {}
    for source in index_images(
        golden / "images", IMAGENET_CLASSES, LabelOptions(path=golden / "labels.txt")
    ).images:
        preprocessed = preprocess_image(source, se_resnext50)
        assert preprocessed.status == OK
        assert preprocessed.image is not None
        found[source.name.removesuffix(".JPEG")] = hashlib.sha256(preprocessed.image.tobytes()).hexdigest()
    assert len(expected) == 100
    assert found == expected
