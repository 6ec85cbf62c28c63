"""What a record's preprocessing makes of pixels, bit for bit as the library or the script does, and back."""

from __future__ import annotations

import functools

import numpy as np

from assay.arrays import Batch, Images, Picture, Pixels
from assay.models.preprocessing import Preprocessing
from assay.models.record import ModelRecord


def normalise_pixels(pixels: Picture, record: ModelRecord) -> Images:
    """Return (pixels / pixel_scale - mean) / std as float32 (…, channels, height, width), C-contiguous.

    The steps are those of the record's `arithmetic`, one after the other in float32: in another order they
    give other last bits.

    Args:
        pixels: uint8, or float32 where they are fractions, (…, height, width, channels), RGB or grey: one
            picture or a batch.
        record: The constants, and the colour order of the network's input.
    """
    if record.input.colour_order == "BGR":
        pixels = pixels[..., ::-1]
    image = np.ascontiguousarray(
        np.moveaxis(pixels, -1, -3), dtype=np.float32
    )  # (…, channels, height, width)
    return _normalise(image, record.preprocessing)


@functools.lru_cache(maxsize=16)
def make_table(preprocessing: Preprocessing) -> Images:
    """What each of the 256 values becomes in each plane, float32 (channels, 256), read-only."""
    values = np.tile(np.arange(256, dtype=np.float32), (len(preprocessing.mean), 1))  # (channels, 256)
    table = _normalise(values[:, :, None], preprocessing)[:, :, 0]  # (channels, 256)
    table.flags.writeable = False
    return table


def recover_pixels(images: Batch, record: ModelRecord) -> Pixels:
    """Return the pixels that normalise to these images, uint8 (N, height, width, channels), C-contiguous.

    Normalisation is one-to-one on the 256 values, so rounding gives them back exactly.

    Args:
        images: float32 (N, channels, height, width), made of uint8 pixels by the record's preprocessing;
            pixels are returned as they are.
        record: Its mean, std and scale, and the colour order of the network's input.

    Raises:
        ValueError: The record's sampling makes fractions of pixels.
    """
    if images.dtype == np.uint8:
        return images.astype(np.uint8, copy=False)
    preprocessing = record.preprocessing
    if not preprocessing.makes_pixels:
        raise ValueError(f"{preprocessing.sampling}'s sampling makes fractions of pixels")
    values = images * _as_planes(preprocessing.std)
    if preprocessing.std_twice:
        values *= _as_planes(preprocessing.std)
    values += _as_planes(preprocessing.mean)
    values *= np.float32(preprocessing.pixel_scale)  # (N, channels, H, W)
    pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if record.input.colour_order == "BGR":
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # (N, H, W, channels)


def _normalise(image: Images, preprocessing: Preprocessing) -> Images:
    """Return the image, changed in place: its values stand in planes (…, channels, height, width)."""
    scale = np.float32(preprocessing.pixel_scale)
    mean, std = _as_planes(preprocessing.mean), _as_planes(preprocessing.std)
    last_std = std
    if (
        preprocessing.arithmetic == "fused"
    ):  # constants in float32, as the torchvision backend of transformers
        mean, std = mean * scale, std * scale
    elif preprocessing.arithmetic == "multiply":
        image *= np.float32(1 / preprocessing.pixel_scale)
    else:
        image /= scale
    image -= mean
    image /= std
    if preprocessing.std_twice:
        image /= last_std
    return image


def _as_planes(channels: tuple[float, ...]) -> Images:
    """A number for each channel, float32 (channels, 1, 1)."""
    return np.array(channels, dtype=np.float32)[:, None, None]
