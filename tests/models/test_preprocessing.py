"""What a record's preprocessing may say: sizes that it makes, and what contradicts itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from assay.models.preprocessing import Preprocessing

RESNET = {
    "resize_side": 256,
    "resize_filter": "bilinear",
    "crop_size": 224,
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
}
SQUASH = RESNET | {"resize": "squash", "resize_side": None, "resize_size": (240, 320)}
LETTERBOX = SQUASH | {"resize": "letterbox", "pad_colour": (0, 0, 0)}
NONE = RESNET | {"resize": "none", "resize_side": None, "resize_filter": None, "pad_colour": (0, 0, 0)}


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (RESNET, (224, 224)),
        (RESNET | {"crop_size": None}, None),
        (RESNET | {"crop_size": None, "crop_shape": (192, 256)}, (192, 256)),
        (SQUASH, (224, 224)),
        (SQUASH | {"crop_size": None}, (240, 320)),
        (LETTERBOX, (224, 224)),
        (LETTERBOX | {"crop_size": None}, None),
        (NONE, (224, 224)),
    ],
)
def test_the_size_of_every_picture_is_known_or_depends_on_the_picture(
    settings: dict[str, Any], shape: tuple[int, int] | None
) -> None:
    assert msgspec.convert(settings, Preprocessing).find_output_shape() == shape


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (RESNET | {"resize_side": None}, "resize_side is missing"),
        (SQUASH | {"resize_side": 256}, "resize_side has no meaning where resize = 'squash'"),
        (SQUASH | {"resize_size": None}, "resize_size is missing where resize = 'squash'"),
        (RESNET | {"resize_size": (256, 256)}, "resize_size has no meaning where resize = 'short side'"),
        (RESNET | {"resize_filter": None}, "resize_filter is missing"),
        (NONE | {"resize_filter": "bilinear"}, "resize_filter has no meaning where resize = 'none'"),
        (NONE | {"sampling": "opencv"}, "sampling = 'opencv' has no meaning where resize = 'none'"),
        (RESNET | {"resize_filter": "area"}, "'area' is OpenCV's: set sampling = 'opencv'"),
        (RESNET | {"resize_filter": "area", "sampling": "tensorflow"}, "'area' is OpenCV's"),
        (RESNET | {"resize_filter": "lanczos", "sampling": "opencv"}, "'lanczos' is Pillow's alone"),
        (RESNET | {"crop_shape": (224, 224)}, "both crop_size, of a square, and crop_shape"),
        (RESNET | {"crop_size": 288}, "larger than the resized picture: set pad_colour"),
        (SQUASH | {"crop_size": 256}, "larger than the resized picture"),
        (LETTERBOX | {"pad_colour": None}, "larger than the resized picture"),
        (NONE | {"pad_colour": None}, "larger than the resized picture"),
        (RESNET | {"mean": (0.5,)}, "1 means and 3 stds"),
        (RESNET | {"std": (0.04,) * 3, "std_twice": True}, "images would span 625"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(settings, Preprocessing)


@pytest.mark.parametrize(
    ("sampling", "resize_filter", "makes_pixels"),
    [
        ("pillow", "bicubic", True),
        ("opencv", "area", True),
        ("tensorflow", "bilinear", False),
        ("tensorflow 1", "bicubic", False),
        ("tensorflow", "nearest", True),
    ],
)
def test_tensorflows_sampling_makes_fractions_but_of_the_nearest_pixels(
    sampling: str, resize_filter: str, makes_pixels: bool
) -> None:
    settings = RESNET | {"sampling": sampling, "resize_filter": resize_filter}
    assert msgspec.convert(settings, Preprocessing).makes_pixels == makes_pixels
