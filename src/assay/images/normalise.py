"""Turns pixels into the network's normalised input, bit for bit as the original script does."""

from __future__ import annotations

import numpy as np

from assay.arrays import Images, Pixels
from assay.images.resize import resize_and_crop
from assay.models.record import ModelRecord


def fill_image(pixels: Pixels, record: ModelRecord, out: Images) -> None:
    """Resize, crop and normalise a decoded picture into one row of a batch.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        record: How to.
        out: float32 (3, crop_size, crop_size), C-contiguous; every value is written.
    """
    out[...] = normalise_pixels(resize_and_crop(pixels, record.preprocessing), record)


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
    image /= np.float32(preprocessing.pixel_scale)
    image -= np.array(preprocessing.mean, dtype=np.float32)[:, None, None]
    image /= np.array(preprocessing.std, dtype=np.float32)[:, None, None]
    return image
