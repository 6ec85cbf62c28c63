"""What a record's preprocessing makes of pixels, bit for bit as the original script does, and back."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from assay.arrays import Batch, Images, Pixels
from assay.models.record import ModelRecord


def normalise_pixels(pixels: Pixels, record: ModelRecord) -> Images:
    """Return (pixels / pixel_scale - mean) / std as float32 (…, 3, height, width), C-contiguous.

    The three steps are taken one after the other in float32: fused into one multiplication and one
    addition they give other last bits.

    Args:
        pixels: uint8 (…, height, width, 3), RGB: one picture or a batch.
        record: The constants, and the colour order of the network's input.
    """
    preprocessing = record.preprocessing
    if record.input.colour_order == "BGR":
        pixels = pixels[..., ::-1]
    image = np.ascontiguousarray(np.moveaxis(pixels, -1, -3), dtype=np.float32)  # (…, 3, height, width)
    return _normalise(image, preprocessing.pixel_scale, preprocessing.mean, preprocessing.std)


@functools.lru_cache(maxsize=16)
def make_table(pixel_scale: float, mean: tuple[float, ...], std: tuple[float, ...]) -> Images:
    """What each of the 256 values becomes in each plane, float32 (3, 256), read-only."""
    values = np.tile(np.arange(256, dtype=np.float32), (3, 1))  # (3, 256)
    table = _normalise(values[:, :, None], pixel_scale, mean, std)[:, :, 0]  # (3, 256)
    table.flags.writeable = False
    return table


def recover_pixels(images: Batch, record: ModelRecord) -> Pixels:
    """Return the pixels, uint8 (N, height, width, 3), RGB, C-contiguous, that normalise to these images.

    Normalisation is one-to-one on the 256 values, so rounding gives them back exactly.

    Args:
        images: float32 (N, 3, height, width), made of uint8 pixels by the record's preprocessing; pixels are
            returned as they are.
        record: Its mean, std and scale, and the colour order of the network's input.
    """
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    preprocessing = record.preprocessing
    mean = np.array(preprocessing.mean, dtype=np.float32)[:, None, None]  # (3, 1, 1)
    std = np.array(preprocessing.std, dtype=np.float32)[:, None, None]  # (3, 1, 1)
    values = np.rint((images * std + mean) * np.float32(preprocessing.pixel_scale))  # (N, 3, H, W)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    if record.input.colour_order == "BGR":
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # (N, H, W, 3)


def _normalise(image: Images, pixel_scale: float, mean: Sequence[float], std: Sequence[float]) -> Images:
    """Return the image, changed in place: its values stand in planes (…, 3, height, width)."""
    image /= np.float32(pixel_scale)
    image -= np.array(mean, dtype=np.float32)[:, None, None]
    image /= np.array(std, dtype=np.float32)[:, None, None]
    return image
