"""Resizes the short side and keeps the centre square, bit for bit as the original script does."""

from __future__ import annotations

import numpy as np
from PIL import Image

from assay.arrays import Pixels
from assay.errors import UndecodableImageError
from assay.images.decode import MAX_PIXELS
from assay.models.record import Preprocessing

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def compute_resized_size(width: int, height: int, resize_side: int) -> tuple[int, int]:
    """Return (width, height) with the short side at `resize_side`; the long side is cut, not rounded.

    >>> compute_resized_size(500, 375, 256)
    (341, 256)
    """
    if width <= height:
        return resize_side, int(resize_side * height / width)
    return int(resize_side * width / height), resize_side


def compute_crop_start(length: int, crop_size: int, crop_rounding: str) -> int:
    """Return where the centre crop begins: cut (`modelzoo`) or rounded half to even (`torchvision`).

    >>> compute_crop_start(383, 224, "modelzoo"), compute_crop_start(383, 224, "torchvision")
    (79, 80)
    """
    margin = (length - crop_size) / 2
    return int(margin) if crop_rounding == "modelzoo" else round(margin)


def resize_and_crop(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Return the centre square of the resized picture, uint8 (crop_size, crop_size, 3).

    The filter is Pillow's antialiased one. A picture whose size is right already is not resampled.

    Args:
        pixels: uint8 (height, width, 3).
        preprocessing: Resize side and filter, crop size and rounding.

    Raises:
        UndecodableImageError: So long and thin that the resized picture would be over 100 million pixels.
    """
    height, width = pixels.shape[:2]
    new_width, new_height = compute_resized_size(width, height, preprocessing.resize_side)
    if new_width * new_height > MAX_PIXELS:
        raise UndecodableImageError(
            f"too long and thin: {width}x{height} would be resized to {new_width}x{new_height}"
        )
    if (new_width, new_height) != (width, height):
        picture = Image.fromarray(pixels).resize(
            (new_width, new_height), _FILTERS[preprocessing.resize_filter]
        )
        pixels = np.asarray(picture)  # (new_height, new_width, 3)
    crop, rounding = preprocessing.crop_size, preprocessing.crop_rounding
    top = compute_crop_start(new_height, crop, rounding)
    left = compute_crop_start(new_width, crop, rounding)
    return pixels[top : top + crop, left : left + crop]  # (crop, crop, 3)
