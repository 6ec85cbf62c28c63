"""Resizes the short side and keeps the centre square, bit for bit as the original script does."""

from __future__ import annotations

from assay.arrays import Pixels
from assay.images.resample import FASTEST, Crop, Resampler, resample_crop
from assay.models.preprocessing import Preprocessing


def compute_resized_size(width: int, height: int, resize_side: int) -> tuple[int, int]:
    """Compute (width, height) with the short side at `resize_side`; the long side is cut, not rounded.

    >>> compute_resized_size(500, 375, 256)
    (341, 256)
    """
    if width <= height:
        return resize_side, int(resize_side * height / width)
    return int(resize_side * width / height), resize_side


def compute_crop_start(length: int, crop_size: int, crop_rounding: str) -> int:
    """Compute where the centre crop begins: cut (`modelzoo`) or rounded half to even (`torchvision`).

    >>> compute_crop_start(383, 224, "modelzoo"), compute_crop_start(383, 224, "torchvision")
    (79, 80)
    """
    margin = (length - crop_size) / 2
    return int(margin) if crop_rounding == "modelzoo" else round(margin)


def plan_crop(width: int, height: int, preprocessing: Preprocessing) -> Crop:
    """Plan the centre square of a picture of this size: how it is resized, and what of it is kept."""
    size, rounding = preprocessing.crop_size, preprocessing.crop_rounding
    if preprocessing.resize_side is None or size is None or preprocessing.resize_filter is None:
        raise NotImplementedError("only short side and square crop, so far")
    new_width, new_height = compute_resized_size(width, height, preprocessing.resize_side)
    return Crop(
        new_width=new_width,
        new_height=new_height,
        left=compute_crop_start(new_width, size, rounding),
        top=compute_crop_start(new_height, size, rounding),
        size=size,
        resize_filter=preprocessing.resize_filter,  # type: ignore[arg-type]
    )


def resize_and_crop(pixels: Pixels, preprocessing: Preprocessing, resampler: Resampler = FASTEST) -> Pixels:
    """Compute the centre square of the resized picture, uint8 (crop_size, crop_size, 3).

    The filter is Pillow's antialiased one. A picture whose size is right already is not resampled.

    Args:
        pixels: uint8 (height, width, 3).
        preprocessing: Resize side and filter, crop size and rounding.
        resampler: What computes it; all give the same.
    """
    height, width = pixels.shape[:2]
    return resample_crop(pixels, plan_crop(width, height, preprocessing), resampler)
