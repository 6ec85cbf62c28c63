"""Turns a decoded picture into the network's input in one step: resized, cropped, normalised."""

from __future__ import annotations

import numpy as np

from assay.arrays import Images, Pixels
from assay.images.resample import FASTEST, Resampler, resample_crop_into
from assay.images.resize import plan_crop
from assay.models.pixel_values import make_table
from assay.models.record import ModelRecord


def fill_image(
    pixels: Pixels, record: ModelRecord, out: Images | Pixels, resampler: Resampler = FASTEST
) -> None:
    """Resize, crop and normalise a decoded picture into one row of a batch, in one step.

    The bits are those of `resize_and_crop` and then `normalise_pixels`; where the row is of pixels, which
    are normalised later, those of `resize_and_crop`.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        record: How to.
        out: float32 (3, crop_size, crop_size), or uint8 (crop_size, crop_size, 3); C-contiguous. Every value
            is written.
        resampler: What computes it; all give the same.
    """
    preprocessing = record.preprocessing
    height, width = pixels.shape[:2]
    table = None
    if out.dtype == np.float32:
        table = make_table(preprocessing.pixel_scale, preprocessing.mean, preprocessing.std)
    resample_crop_into(
        pixels,
        plan_crop(width, height, preprocessing),
        table,
        out,
        bgr=record.input.colour_order == "BGR",
        resampler=resampler,
    )
