"""Computes a part of a resized picture, bit for bit as Pillow does, by the fastest code there is."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
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

_FRACTION_BITS = 22  # of Pillow's weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """A part of a resized picture; it lies inside.

    Args:
        new_width: Width of the resized picture.
        new_height: Its height.
        left: Where the part begins in it.
        top: Where the part begins in it.
        width: Width of the part.
        height: Its height.
        resize_filter: One of Pillow's; nothing where the size stays.
    """

    new_width: int
    new_height: int
    left: int
    top: int
    width: int
    height: int
    resize_filter: str


def list_resamplers() -> tuple[Resampler, ...]:
    """List what can resample on this machine, the fastest first."""
    if _compiled is None:
        return ("pillow",)
    return ("avx2", "c", "pillow") if _compiled.HAS_AVX2 else ("c", "pillow")


FASTEST = list_resamplers()[0]


def resample_crop(pixels: Pixels, crop: Crop, resampler: Resampler = FASTEST) -> Pixels:
    """Compute the crop of the resized picture, uint8 (height, width, 3).

    Args:
        pixels: uint8 (height, width, 3).
        crop: Which part, of what size.
        resampler: What computes it.
    """
    if resampler == "pillow" or crop.resize_filter == "nearest":
        return _resample_by_pillow(pixels, crop)
    out = np.empty((crop.height, crop.width, 3), dtype=np.uint8)
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
        out: float32 (3, height, width); without a table uint8 (height, width, 3), RGB; C-contiguous.
        bgr: Whether the first plane is blue.
        resampler: What computes it.
    """
    if resampler != "pillow" and crop.resize_filter != "nearest":
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
    part = _resample_by_pillow(pixels, crop)  # (height, width, 3)
    if table is None:
        out[...] = part
        return
    for plane, values, channel in zip(out, table, (2, 1, 0) if bgr else (0, 1, 2), strict=True):
        np.take(values, part[:, :, channel], out=plane, mode="clip")  # no uint8 is out of 256 values


def _resample_by_pillow(pixels: Pixels, crop: Crop) -> Pixels:
    """Compute the crop, uint8 (height, width, 3), of the whole resized picture if it is not too large."""
    if (crop.new_width, crop.new_height) == (pixels.shape[1], pixels.shape[0]):
        resized = pixels
    elif crop.resize_filter == "nearest":
        return _pick_nearest(pixels, crop)
    elif crop.new_width * crop.new_height > MAX_PIXELS:
        return _resample_thin(pixels, crop)
    else:
        size = (crop.new_width, crop.new_height)
        picture = Image.fromarray(pixels).resize(size, Image.Resampling[crop.resize_filter.upper()])
        resized = np.asarray(picture)  # (new_height, new_width, 3)
    return resized[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]


def _pick_nearest(pixels: Pixels, crop: Crop) -> Pixels:
    """Compute the crop as Pillow's Geometry.c does, which adds up the places: uint8 (height, width, 3)."""
    rows = _place_nearest(pixels.shape[0], crop.new_height, crop.top, crop.height)
    columns = _place_nearest(pixels.shape[1], crop.new_width, crop.left, crop.width)
    return pixels[rows[:, np.newaxis], columns]


def _place_nearest(length: int, new_length: int, first: int, count: int) -> npt.NDArray[np.int64]:
    """Compute which places of an axis become the `count` from `first` on, (count,)."""
    steps = np.full(first + count, length / new_length)
    steps[0] /= 2
    places = np.add.accumulate(steps)[first:].astype(np.int64)  # one after the other, as there
    return np.minimum(places, length - 1)


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

    def go_down(pixels: Pixels) -> Pixels:
        return _resample_axis(pixels, crop.new_height, crop.top, crop.height, crop.resize_filter)

    def go_across(pixels: Pixels) -> Pixels:
        turned = pixels.swapaxes(0, 1)
        return _resample_axis(turned, crop.new_width, crop.left, crop.width, crop.resize_filter).swapaxes(
            0, 1
        )

    return go_across(go_down(pixels)) if _goes_down_first(pixels, crop) else go_down(go_across(pixels))


def _resample_axis(pixels: Pixels, new_length: int, first: int, count: int, resize_filter: str) -> Pixels:
    """Compute `count` places, from `first` on, of the first axis resized, as Pillow's Resample.c does."""
    if new_length == pixels.shape[0]:
        return pixels[first : first + count]
    weigh, widest = _FILTERS[resize_filter]
    scale = pixels.shape[0] / new_length
    stretch = max(scale, 1.0)
    reach = widest * stretch
    parts = []
    for place in range(first, first + count):
        centre = (place + 0.5) * scale
        begin = max(int(centre - reach + 0.5), 0)
        end = min(int(centre + reach + 0.5), pixels.shape[0])
        distances = [(index - centre + 0.5) * (1.0 / stretch) for index in range(begin, end)]
        raw = [weigh(distance) for distance in distances]
        weights = np.array(raw) / sum(raw) * (1 << _FRACTION_BITS)  # added up in order, as there
        whole = np.trunc(weights + np.copysign(0.5, weights)).astype(np.int64)
        total = np.tensordot(whole, pixels[begin:end].astype(np.int64), axes=1)  # (other axis, 3)
        parts.append((total + (1 << (_FRACTION_BITS - 1))) >> _FRACTION_BITS)
    return np.clip(np.stack(parts), 0, 255).astype(np.uint8)  # (count, other axis, 3)


def _weigh_bilinear(x: float) -> float:
    return max(1.0 - abs(x), 0.0)


def _weigh_bicubic(x: float) -> float:
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2.0 else 0.0


def _weigh_box(x: float) -> float:
    return float(-0.5 < x <= 0.5)


def _weigh_hamming(x: float) -> float:
    x = abs(x)
    if x in (0.0, 1.0) or x > 1.0:
        return float(x == 0.0)
    base, swing = float(np.float32(0.54)), float(np.float32(0.46))  # constants of C's float, as there
    return _sinc(x) * (base + swing * math.cos(x * math.pi))


def _weigh_lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


# The filter, and how far it reaches where the picture is not made smaller.
_FILTERS: dict[str, tuple[Callable[[float], float], float]] = {
    "bilinear": (_weigh_bilinear, 1.0),
    "bicubic": (_weigh_bicubic, 2.0),
    "box": (_weigh_box, 0.5),
    "hamming": (_weigh_hamming, 1.0),
    "lanczos": (_weigh_lanczos, 3.0),
}
