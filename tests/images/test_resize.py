from __future__ import annotations

import functools

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from assay.arrays import Pixels
from assay.errors import UndecodableImageError
from assay.images.resample import Resampler, list_resamplers
from assay.images.resize import compute_resized_size, resize_and_crop
from assay.models.preprocessing import Preprocessing, compute_crop_start

BILINEAR = Preprocessing(
    resize_side=256, resize_filter="bilinear", crop_size=224, mean=(0, 0, 0), std=(1, 1, 1)
)
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
BICUBIC = msgspec.structs.replace(BILINEAR, resize_filter="bicubic")


def draw_pixels(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def start_exactly(length: int, crop: int, crop_rounding: str) -> int:
    """Where each library's crop begins, in whole numbers."""
    start, odd = divmod(length - crop, 2)
    up = {"modelzoo": 0, "torchvision": start % 2, "ceil": 1, "halves": 1 - length % 2 if odd else 0}
    return start + (up[crop_rounding] if odd else 0)


def crop_with_pillow(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """The picture as its libraries make it: resized, padded, cropped by Pillow."""
    picture = Image.fromarray(pixels)
    width, height = picture.size
    crop_height, crop_width = preprocessing.crop or (0, 0)
    if preprocessing.resize_side is not None:
        short, long = sorted(picture.size)
        size = [preprocessing.resize_side, preprocessing.resize_side * long // short]
        size = size if width <= height else size[::-1]
    else:
        new_height, new_width = preprocessing.resize_size or (height, width)
        size = [new_width, new_height]
    resample = Image.Resampling[(preprocessing.resize_filter or "nearest").upper()]
    picture = picture.resize((size[0], size[1]), resample)
    lost = [max(0, crop - length) for crop, length in zip((crop_width, crop_height), size, strict=True)]
    extra = 1 if preprocessing.pad_rounding == "ceil" else 0
    before = [(each + extra) // 2 for each in lost]
    after = [each - first for each, first in zip(lost, before, strict=True)]
    colour = preprocessing.pad_colour or (0, 0, 0)
    picture = ImageOps.expand(picture, (before[0], before[1], after[0], after[1]), colour)
    rounding = preprocessing.crop_rounding
    left = start_exactly(picture.width, crop_width, rounding)
    top = start_exactly(picture.height, crop_height, rounding)
    return np.asarray(picture.crop((left, top, left + crop_width, top + crop_height)))


@st.composite
def draw_preprocessing(draw: st.DrawFn) -> Preprocessing:
    sides = st.integers(1, 48)
    resize = draw(st.sampled_from(["short side", "squash", "none"]))
    is_resized = resize != "none"
    return Preprocessing(
        resize=resize,  # type: ignore[arg-type]
        resize_side=draw(sides) if resize == "short side" else None,
        resize_size=(draw(sides), draw(sides)) if resize == "squash" else None,
        resize_filter=draw(st.sampled_from(FILTERS)) if is_resized else None,
        crop_shape=(draw(sides), draw(sides)),
        crop_rounding=draw(st.sampled_from(["modelzoo", "torchvision", "ceil", "halves"])),
        pad_colour=(1, 2, 250),
        pad_rounding=draw(st.sampled_from(["floor", "ceil"])),
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )


@settings(max_examples=150)
@given(width=st.integers(1, 90), height=st.integers(1, 90), preprocessing=draw_preprocessing())
def test_the_crop_is_the_one_that_pillow_gives(width: int, height: int, preprocessing: Preprocessing) -> None:
    pixels = draw_pixels(width, height)
    expected = crop_with_pillow(pixels, preprocessing)
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


@functools.cache
def enlarge_column(resize_filter: str) -> tuple[Pixels, Pixels]:
    """A column of 65,500 pixels, and the middle of it enlarged by Pillow, (224, 224, 3).

    All of a row has one colour, whatever its length: Pillow can enlarge the height alone.
    """
    column = draw_pixels(1, 65_500)
    column[30_000:35_000] //= 8  # something to see in the middle
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    tall = Image.fromarray(column).resize((1, 65_500 * 256), resample[resize_filter])
    middle = (65_500 * 256 - 224) // 2
    return column, np.asarray(tall.crop((0, middle, 1, middle + 224))).repeat(224, axis=1)


@pytest.mark.parametrize("resampler", list_resamplers())
@pytest.mark.parametrize("preprocessing", [BILINEAR, BICUBIC])
def test_a_picture_too_long_and_thin_for_pillow_is_cropped_all_the_same(
    preprocessing: Preprocessing, resampler: Resampler
) -> None:
    column, expected = enlarge_column(str(preprocessing.resize_filter))
    np.testing.assert_array_equal(resize_and_crop(column, preprocessing, resampler), expected)
    turned = resize_and_crop(np.ascontiguousarray(column.swapaxes(0, 1)), preprocessing, resampler)
    np.testing.assert_array_equal(turned, expected.swapaxes(0, 1))


# timm's ResizeKeepRatio by hand: 500x333 to cover 224x320 is divided by min(333/224, 500/320) = 1.48661.
@pytest.mark.parametrize(
    ("resize", "size", "resized"),
    [
        ("cover", (500, 333), (336, 224)),
        ("letterbox", (500, 333), (320, 213)),
        ("cover", (333, 500), (320, 480)),
        ("letterbox", (333, 500), (149, 224)),
        ("letterbox", (5, 500), (2, 224)),
    ],
)
def test_both_sides_are_divided_by_one_ratio(
    resize: str, size: tuple[int, int], resized: tuple[int, int]
) -> None:
    preprocessing = msgspec.structs.replace(
        BILINEAR,
        resize=resize,
        resize_side=None,
        resize_size=(224, 320),
        crop_shape=(224, 320),
        crop_size=None,
        pad_colour=(0, 0, 0),
    )
    assert compute_resized_size(*size, preprocessing) == resized


def test_a_picture_too_thin_for_a_letterbox_is_refused() -> None:
    preprocessing = msgspec.structs.replace(
        BILINEAR, resize="letterbox", resize_side=None, resize_size=(224, 224), pad_colour=(0, 0, 0)
    )
    with pytest.raises(UndecodableImageError, match=r"too thin: 1x5000 would be resized to 0x224"):
        resize_and_crop(draw_pixels(1, 5000), preprocessing)


def test_the_long_side_is_rounded_half_to_even_where_the_record_says_so() -> None:
    preprocessing = msgspec.structs.replace(BILINEAR, resize_side=2, crop_size=2)
    rounded = msgspec.structs.replace(preprocessing, long_side_rounding="half to even")
    assert [compute_resized_size(4, height, preprocessing)[1] for height in (5, 7, 9)] == [2, 3, 4]
    assert [compute_resized_size(4, height, rounded)[1] for height in (5, 7, 9)] == [2, 4, 4]


def test_the_central_fraction_and_the_square_are_kept_before_the_picture_is_resized() -> None:
    pixels = draw_pixels(101, 60)
    whole = msgspec.structs.replace(
        BILINEAR, resize="squash", resize_side=None, resize_size=(20, 30), crop_size=None
    )
    # TensorFlow's central_crop takes (60 - 52.5) / 2 = 3.75 rows off either end, (101 - 88.375) / 2 columns
    slim = msgspec.structs.replace(whole, central_fraction=0.875)
    kept = np.ascontiguousarray(pixels[3:57, 6:95])
    np.testing.assert_array_equal(resize_and_crop(pixels, slim), resize_and_crop(kept, whole))
    square = msgspec.structs.replace(whole, square_first=True)
    kept = np.ascontiguousarray(pixels[:, 20:80])
    np.testing.assert_array_equal(resize_and_crop(pixels, square), resize_and_crop(kept, whole))


def test_one_channel_is_pillows_grey_before_it_is_resized() -> None:
    pixels = draw_pixels(50, 40)
    grey = msgspec.structs.replace(
        BICUBIC, resize_side=30, crop_size=34, pad_colour=(200, 100, 50), mean=(0,), std=(1,)
    )
    picture = Image.fromarray(pixels).convert("L").resize((37, 30), Image.Resampling.BICUBIC)
    colour = Image.new("RGB", (1, 1), (200, 100, 50)).convert("L").getpixel((0, 0))
    picture = ImageOps.expand(picture, (0, 2), colour).crop((1, 0, 35, 34))  # type: ignore[arg-type]
    np.testing.assert_array_equal(resize_and_crop(pixels, grey), np.asarray(picture)[:, :, np.newaxis])
