"""Turns pixels into the network's normalised input, bit for bit as the original script does."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from assay.arrays import Images, Pixels
from assay.images.resample import FASTEST, Resampler, resample_crop_into
from assay.images.resize import plan_crop
from assay.models.record import ModelRecord


def fill_image(pixels: Pixels, record: ModelRecord, out: Images, resampler: Resampler = FASTEST) -> None:
    """Resize, crop and normalise a decoded picture into one row of a batch, in one step.

    The bits are those of `resize_and_crop` and then `normalise_pixels`.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        record: How to.
        out: float32 (3, crop_size, crop_size), C-contiguous; every value is written.
        resampler: What computes it; all give the same.
    """
    preprocessing = record.preprocessing
    height, width = pixels.shape[:2]
    resample_crop_into(
        pixels,
        plan_crop(width, height, preprocessing),
        make_table(preprocessing.pixel_scale, preprocessing.mean, preprocessing.std),
        out,
        bgr=record.input.colour_order == "BGR",
        resampler=resampler,
    )


@functools.lru_cache(maxsize=16)
def make_table(pixel_scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> Images:
    """Return what each of the 256 values becomes in each plane, float32 (3, 256), read-only."""
    values = np.tile(np.arange(256, dtype=np.float32), (3, 1))  # (3, 256)
    table = _normalise(values[:, :, None], pixel_scale, mean, std)[:, :, 0]  # (3, 256)
    table.flags.writeable = False
    return table


def normalise_pixels(pixels: Pixels, record: ModelRecord) -> Images:
    """Return (pixels / pixel_scale - mean) / std as float32 (3, height, width), C-contiguous.

    The three steps are taken one after the other in float32: fused into one multiplication and one
    addition they give other last bits.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        record: The constants, and the colour order of the network's input.
    """
    preprocessing = record.preprocessing
    if record.input.colour_order == "BGR":
        pixels = pixels[:, :, ::-1]
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)  # (3, height, width)
    return _normalise(image, preprocessing.pixel_scale, preprocessing.mean, preprocessing.std)


def _normalise(image: Images, pixel_scale: float, mean: Sequence[float], std: Sequence[float]) -> Images:
    """Return the image, changed in place: its values stand in planes (3, height, width)."""
    image /= np.float32(pixel_scale)
    image -= np.array(mean, dtype=np.float32)[:, None, None]
    image /= np.array(std, dtype=np.float32)[:, None, None]
    return image
