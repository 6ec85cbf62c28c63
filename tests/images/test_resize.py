from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.arrays import Pixels
from assay.images.resample import Resampler, list_resamplers
from assay.images.resize import compute_crop_start, compute_resized_size, resize_and_crop
from assay.models.preprocessing import Preprocessing

BILINEAR = Preprocessing(
    resize_side=256, resize_filter="bilinear", crop_size=224, mean=(0, 0, 0), std=(1, 1, 1)
)
BICUBIC = msgspec.structs.replace(BILINEAR, resize_filter="bicubic")


def draw_pixels(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def crop_with_pillow(
    pixels: Pixels, side: int, crop: int, resample: Image.Resampling, torchvision: bool
) -> Pixels:
    """Return the crop as torchvision or the original script make it, in whole numbers where they can be."""
    picture = Image.fromarray(pixels)
    short, long = sorted(picture.size)
    new_long = side * long // short
    size = (side, new_long) if picture.width <= picture.height else (new_long, side)
    picture = picture.resize(size, resample)
    starts = []
    for length in size:
        start, odd = divmod(length - crop, 2)
        starts.append(start + (odd and torchvision and start % 2))  # a half goes to the even number
    left, top = starts
    return np.asarray(picture.crop((left, top, left + crop, top + crop)))


@settings(max_examples=60)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    side=st.integers(8, 48),
    margin=st.integers(0, 9),
    bicubic=st.booleans(),
    torchvision=st.booleans(),
)
def test_the_crop_is_the_one_that_pillow_gives(
    width: int, height: int, side: int, margin: int, bicubic: bool, torchvision: bool
) -> None:
    crop = max(1, side - margin)
    preprocessing = msgspec.structs.replace(
        BICUBIC if bicubic else BILINEAR,
        resize_side=side,
        crop_size=crop,
        crop_rounding="torchvision" if torchvision else "modelzoo",
    )
    pixels = draw_pixels(width, height)
    resample = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    expected = crop_with_pillow(pixels, side, crop, resample, torchvision)
    for resampler in list_resamplers():
        np.testing.assert_array_equal(resize_and_crop(pixels, preprocessing, resampler), expected)


# From the original script's description in shared/facts: 500x375 becomes 341x256 and so on.
@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((500, 375), (341, 256)),
        ((375, 500), (256, 341)),
        ((500, 333), (384, 256)),
        ((500, 334), (383, 256)),
        ((500, 416), (307, 256)),
        ((500, 308), (415, 256)),
        ((1, 1), (256, 256)),
    ],
)
def test_the_long_side_is_cut_to_a_whole_number(size: tuple[int, int], resized: tuple[int, int]) -> None:
    assert compute_resized_size(*size, BILINEAR) == resized


@given(width=st.integers(1, 70_000), height=st.integers(1, 70_000), side=st.integers(1, 1000))
def test_the_long_side_is_the_floor_of_the_exact_quotient(width: int, height: int, side: int) -> None:
    short, long = sorted((width, height))
    preprocessing = msgspec.structs.replace(BILINEAR, resize_side=side, crop_size=1)
    assert sorted(compute_resized_size(width, height, preprocessing)) == sorted((side, side * long // short))


@given(long_side=st.integers(256, 100_000))
def test_torchvision_crops_one_pixel_later_iff_the_long_side_is_3_mod_4(long_side: int) -> None:
    modelzoo = compute_crop_start(long_side, 224, "modelzoo")
    torchvision = compute_crop_start(long_side, 224, "torchvision")
    assert torchvision - modelzoo == (1 if long_side % 4 == 3 else 0)


@given(length=st.integers(1, 10_000), crop=st.integers(1, 10_000), rounding=st.booleans())
def test_a_crop_lies_inside_the_picture(length: int, crop: int, rounding: bool) -> None:
    assume(crop <= length)
    start = compute_crop_start(length, crop, "torchvision" if rounding else "modelzoo")
    assert 0 <= start <= length - crop


@pytest.mark.parametrize("resampler", list_resamplers())
@pytest.mark.parametrize("preprocessing", [BILINEAR, BICUBIC])
@pytest.mark.parametrize(("width", "height"), [(256, 300), (301, 256), (256, 256)])
def test_a_short_side_that_is_right_already_is_not_resampled(
    width: int, height: int, preprocessing: Preprocessing, resampler: Resampler
) -> None:
    pixels = draw_pixels(width, height)
    top, left = (height - 224) // 2, (width - 224) // 2
    np.testing.assert_array_equal(
        resize_and_crop(pixels, preprocessing, resampler), pixels[top : top + 224, left : left + 224]
    )


def test_a_small_picture_is_enlarged_not_padded() -> None:
    crop = resize_and_crop(np.full((5, 9, 3), 77, dtype=np.uint8), BILINEAR)
    np.testing.assert_array_equal(crop, np.full((224, 224, 3), 77))


def test_the_picture_that_was_given_is_left_as_it_was() -> None:
    pixels = draw_pixels(40, 30)
    kept = pixels.copy()
    resize_and_crop(pixels, BILINEAR)
    np.testing.assert_array_equal(pixels, kept)


@pytest.mark.parametrize("resampler", list_resamplers())
@pytest.mark.parametrize("preprocessing", [BILINEAR, BICUBIC])
def test_a_picture_too_long_and_thin_for_pillow_is_cropped_all_the_same(
    preprocessing: Preprocessing, resampler: Resampler
) -> None:
    column = draw_pixels(1, 65_500)
    column[30_000:35_000] //= 8  # something to see in the middle
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    # All of a row has one colour, whatever its length: Pillow can enlarge the height alone.
    tall = Image.fromarray(column).resize((1, 65_500 * 256), resample[preprocessing.resize_filter])  # type: ignore[index]
    middle = (65_500 * 256 - 224) // 2
    expected = np.asarray(tall.crop((0, middle, 1, middle + 224))).repeat(224, axis=1)
    np.testing.assert_array_equal(resize_and_crop(column, preprocessing, resampler), expected)
    turned = resize_and_crop(np.ascontiguousarray(column.swapaxes(0, 1)), preprocessing, resampler)
    np.testing.assert_array_equal(turned, expected.swapaxes(0, 1))
