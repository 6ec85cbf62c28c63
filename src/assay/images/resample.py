"""Computes a part of a resized picture, bit for bit as Pillow does, by the fastest code there is."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from assay.arrays import Images, Pixels
from assay.defaults import MAX_PIXELS

try:
    from assay.images import _resample as _compiled
except ImportError:  # assay was installed without a C compiler
    _compiled = None  # type: ignore[assignment]

Resampler = Literal["avx2", "c", "pillow"]
"""What resamples; all give the same bits."""

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REACH = {"bilinear": 1.0, "bicubic": 2.0}
_FRACTION_BITS = 22  # of Pillow's weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """A part of a resized picture.

    Args:
        new_width: Width of the resized picture.
        new_height: Its height.
        left: Where the part begins in it.
        top: Where the part begins in it.
        size: Width and height of the part.
        resize_filter: Pillow's antialiased filter.
    """

    new_width: int
    new_height: int
    left: int
    top: int
    size: int
    resize_filter: Literal["bilinear", "bicubic"]


def list_resamplers() -> tuple[Resampler, ...]:
    """List what can resample on this machine, the fastest first."""
    if _compiled is None:
        return ("pillow",)
    return ("avx2", "c", "pillow") if _compiled.HAS_AVX2 else ("c", "pillow")


FASTEST = list_resamplers()[0]


def resample_crop(pixels: Pixels, crop: Crop, resampler: Resampler = FASTEST) -> Pixels:
    """Compute the crop of the resized picture, uint8 (size, size, 3).

    Args:
        pixels: uint8 (height, width, 3).
        crop: Which part, of what size.
        resampler: What computes it.
    """
    if resampler == "pillow":
        return _resample_by_pillow(pixels, crop)
    out = np.empty((crop.size, crop.size, 3), dtype=np.uint8)
    resample_crop_into(pixels, crop, None, out, bgr=False, resampler=resampler)
    return out


def resample_crop_into(
    pixels: Pixels,
    crop: Crop,
    table: Images | None,
    out: Images | Pixels,
    *,
    bgr: bool,
    resampler: Resampler = FASTEST,
) -> None:
    """Write the crop of the resized picture as the network takes it.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        crop: Which part, of what size.
        table: float32 (3, 256): what each value becomes, by plane of `out`; None leaves pixels as they are.
        out: float32 (3, size, size); without a table uint8 (size, size, 3), RGB; C-contiguous.
        bgr: Whether the first plane is blue.
        resampler: What computes it.
    """
    if resampler != "pillow":
        _compiled.resample_crop(
            np.ascontiguousarray(pixels),
            out,
            table,
            crop.new_width,
            crop.new_height,
            crop.left,
            crop.top,
            crop.resize_filter,
            _goes_down_first(pixels, crop),
            bgr,
            resampler == "avx2",
        )
        return
    part = _resample_by_pillow(pixels, crop)  # (size, size, 3)
    if table is None:
        out[...] = part
        return
    for plane, values, channel in zip(out, table, (2, 1, 0) if bgr else (0, 1, 2), strict=True):
        np.take(values, part[:, :, channel], out=plane, mode="clip")  # no uint8 is out of 256 values


def _resample_by_pillow(pixels: Pixels, crop: Crop) -> Pixels:
    """Compute the crop, uint8 (size, size, 3): of the whole resized picture where that is not too large."""
    if (crop.new_width, crop.new_height) == (pixels.shape[1], pixels.shape[0]):
        resized = pixels
    elif crop.new_width * crop.new_height > MAX_PIXELS:
        return _resample_thin(pixels, crop)
    else:
        picture = Image.fromarray(pixels)
        picture = picture.resize((crop.new_width, crop.new_height), _FILTERS[crop.resize_filter])
        resized = np.asarray(picture)  # (new_height, new_width, 3)
    return resized[crop.top : crop.top + crop.size, crop.left : crop.left + crop.size]  # (size, size, 3)


def _goes_down_first(pixels: Pixels, crop: Crop) -> bool:
    """Tell whether Pillow resamples the height before the width, which gives other last bits.

    Since version 13 it does so where the height loses more than twice as many pixels as the width.
    """
    height, width = pixels.shape[:2]
    lost = height - crop.new_height
    return 0 < lost > 2 * (width - crop.new_width) and _chooses_order()


@functools.cache
def _chooses_order() -> bool:
    """Tell whether the Pillow that is installed goes down first where that is less work; 12 never does."""
    tall = Image.frombytes("L", (3, 32), bytes(index * index * 2 % 256 for index in range(96)))
    bilinear = Image.Resampling.BILINEAR
    across_first = tall.resize((2, 32), bilinear).resize((2, 4), bilinear)
    return tall.resize((2, 4), bilinear).tobytes() != across_first.tobytes()


def _resample_thin(pixels: Pixels, crop: Crop) -> Pixels:
    """Compute the crop without making the resized picture, which is too large: slow, and exact."""
    if _goes_down_first(pixels, crop):
        rows = _resample_axis(pixels, crop.new_height, crop.top, crop)  # (size, width, 3)
        return _resample_axis(rows.swapaxes(0, 1), crop.new_width, crop.left, crop).swapaxes(0, 1)
    columns = _resample_axis(pixels.swapaxes(0, 1), crop.new_width, crop.left, crop)  # (size, height, 3)
    return _resample_axis(columns.swapaxes(0, 1), crop.new_height, crop.top, crop)  # (size, size, 3)


def _resample_axis(pixels: Pixels, new_length: int, first: int, crop: Crop) -> Pixels:
    """Compute `crop.size` places, from `first` on, of the first axis resized, as Pillow's Resample.c does."""
    scale = pixels.shape[0] / new_length
    stretch = max(scale, 1.0)
    reach = _REACH[crop.resize_filter] * stretch
    parts = []
    for place in range(first, first + crop.size):
        centre = (place + 0.5) * scale
        begin = max(int(centre - reach + 0.5), 0)
        end = min(int(centre + reach + 0.5), pixels.shape[0])
        distances = (np.arange(begin, end) - centre + 0.5) * (1.0 / stretch)
        weights = _weigh(np.abs(distances), crop.resize_filter)
        weights = weights / sum(weights.tolist()) * (1 << _FRACTION_BITS)  # added up in order, as there
        whole = np.trunc(weights + np.copysign(0.5, weights)).astype(np.int64)
        total = np.tensordot(whole, pixels[begin:end].astype(np.int64), axes=1)  # (other axis, 3)
        parts.append((total + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS)
    return np.clip(np.stack(parts), 0, 255).astype(np.uint8)  # (size, other axis, 3)


def _weigh(distances: npt.NDArray[np.float64], resize_filter: str) -> npt.NDArray[np.float64]:
    """Compute Pillow's filter (cubic with a = -0.5) at distances of at least 0."""
    x = distances
    if resize_filter == "bilinear":
        return np.where(x < 1.0, 1.0 - x, 0.0)
    near = (1.5 * x - 2.5) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
