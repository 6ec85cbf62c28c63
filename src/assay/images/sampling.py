"""Computes a part of a resized picture without antialiasing, in the arithmetic of OpenCV or TensorFlow.

OpenCV: modules/imgproc/src/resize.cpp, of uint8 with weights of 11 bits; bicubic is its portable code, from
which Intel's library in OpenCV's own packages differs by 1 in some values. TensorFlow: resize_bilinear_op.cc,
resize_bicubic_op.cc and resize_nearest_neighbor_op.cc in core/kernels/image; its values are float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.arrays import Picture, Pixels
from assay.images.resample import Crop

_ONE = np.float32(1)
_WEIGHT_BITS = 11  # of OpenCV's weights
_TABLE_SIZE = 1024  # of TensorFlow's bicubic weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One axis of the resized picture, and which places of it are kept.

    Args:
        length: Of the picture.
        new_length: Of the resized picture.
        first: The first place that is kept.
        count: How many are kept.
    """

    length: int
    new_length: int
    first: int
    count: int

    @property
    def scale(self) -> float:
        """What is taken for each place, in pixels, as OpenCV computes it."""
        return 1.0 / (self.new_length / self.length)

    @property
    def places(self) -> npt.NDArray[np.int64]:
        """The places that are kept, (count,)."""
        return np.arange(self.first, self.first + self.count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Taps:
    """What the places of an axis are made of: both (taps, count); the indices lie inside the picture."""

    indices: npt.NDArray[np.int64]
    weights: npt.NDArray[Any]


def sample_crop(pixels: Pixels, crop: Crop, sampling: str) -> Picture:
    """Compute the crop of the resized picture, (height, width, channels).

    It is uint8, but float32 where TensorFlow's bilinear or bicubic sampling makes fractions.

    Args:
        pixels: uint8 (height, width, channels).
        crop: Which part, of what size.
        sampling: "opencv", "tensorflow" (half-pixel centres, since version 2) or "tensorflow 1" (without).
    """
    height, width = pixels.shape[:2]
    down = Axis(length=height, new_length=crop.new_height, first=crop.top, count=crop.height)
    across = Axis(length=width, new_length=crop.new_width, first=crop.left, count=crop.width)
    if sampling == "opencv":
        return _sample_as_opencv(pixels, down, across, crop.resize_filter)
    return _sample_as_tensorflow(pixels, down, across, crop.resize_filter, half=sampling == "tensorflow")


def _sample_as_opencv(pixels: Pixels, down: Axis, across: Axis, resize_filter: str) -> Pixels:
    scales = (down.scale, across.scale)
    if resize_filter == "nearest":
        return _pick(pixels, *(np.floor(axis.places * axis.scale) for axis in (down, across)))
    is_halved = resize_filter == "bilinear" and scales == (2.0, 2.0)
    if is_halved or (resize_filter == "area" and all(map(float.is_integer, scales))):
        return _average_blocks(pixels, down, across)
    if resize_filter == "bicubic":
        rows = _weigh_across(pixels, _place_cubic(across))
        sums = _weigh_down(rows, _place_cubic(down))
        return _to_bytes((sums + (1 << (2 * _WEIGHT_BITS - 1))) >> (2 * _WEIGHT_BITS))
    if resize_filter == "area" and min(scales) >= 1:
        rows = _weigh_across(pixels, _place_area(across))
        return _to_bytes(np.rint(_weigh_down(rows, _place_area(down))))
    return _sample_linear(pixels, down, across, enlarges_areas=resize_filter == "area")


def _sample_linear(pixels: Pixels, down: Axis, across: Axis, *, enlarges_areas: bool) -> Pixels:
    rows = _weigh_across(pixels, _place_linear(across, enlarges_areas, holds_ends=True)) >> 4
    taps = _place_linear(down, enlarges_areas, holds_ends=False)
    weights = taps.weights[:, :, np.newaxis, np.newaxis]
    upper, lower = ((weight * rows[index]) >> 16 for weight, index in zip(weights, taps.indices, strict=True))
    return _to_bytes((upper + lower + 2) >> 2)


def _place_linear(axis: Axis, enlarges_areas: bool, *, holds_ends: bool) -> Taps:
    """Compute two taps with weights of 11 bits. Columns beyond the ends weigh once, rows twice, as there."""
    places = axis.places
    if enlarges_areas:
        whole = np.floor(places * axis.scale).astype(np.int64)
        shares = ((places + 1) - (whole + 1) * (axis.new_length / axis.length)).astype(np.float32)
        shares = np.where(shares <= 0, np.float32(0), shares - np.floor(shares))
    else:
        whole, shares = _split((places + 0.5) * axis.scale - 0.5)
    if holds_ends:
        shares = np.where((whole < 0) | (whole >= axis.length - 1), np.float32(0), shares)
    indices = np.stack([whole, np.maximum(whole, 0) + 1 if holds_ends else whole + 1])
    return Taps(indices=np.clip(indices, 0, axis.length - 1), weights=_round_weights([_ONE - shares, shares]))


def _place_cubic(axis: Axis) -> Taps:
    """Compute four taps with weights of 11 bits, of the cubic with a = -0.75."""
    whole, shares = _split((axis.places + 0.5) * axis.scale - 0.5)
    a, rest, far = np.float32(-0.75), _ONE - shares, shares + _ONE
    first = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
    second, third = (((a + 2) * x - (a + 3)) * x * x + _ONE for x in (shares, rest))
    indices = whole + np.arange(-1, 3)[:, np.newaxis]
    weights = _round_weights([first, second, third, _ONE - first - second - third])
    return Taps(indices=np.clip(indices, 0, axis.length - 1), weights=weights)


def _place_area(axis: Axis) -> Taps:
    """Compute how much of each pixel lies in each place, of an axis that is made shorter, in float32."""
    shares: list[dict[int, float]] = []
    for place in axis.places.tolist():
        begin = place * axis.scale
        end, cell = begin + axis.scale, min(axis.scale, axis.length - begin)
        last = min(math.floor(end), axis.length - 1)
        first = min(math.ceil(begin), last)
        share = dict.fromkeys(range(first, last), 1.0 / cell)
        if first - begin > 1e-3:
            share = {first - 1: (first - begin) / cell, **share}
        if end - last > 1e-3:
            share[last] = min(end - last, 1.0, cell) / cell
        shares.append(share)
    widest = max(map(len, shares))
    indices = [[*share] + [0] * (widest - len(share)) for share in shares]
    weights = [[*share.values()] + [0.0] * (widest - len(share)) for share in shares]
    return Taps(indices=np.array(indices).T, weights=np.array(weights, dtype=np.float32).T)


def _average_blocks(pixels: Pixels, down: Axis, across: Axis) -> Pixels:
    """Compute the means of blocks of equal size."""
    high, wide = (axis.length // axis.new_length for axis in (down, across))
    rows = slice(down.first * high, (down.first + down.count) * high)
    columns = slice(across.first * wide, (across.first + across.count) * wide)
    blocks = pixels[rows, columns].reshape(down.count, high, across.count, wide, -1)
    sums = blocks.sum(axis=(1, 3), dtype=np.int64)  # (height, width, channels)
    if high == wide == 2:
        return _to_bytes((sums + 2) >> 2)
    return _to_bytes(np.rint(sums.astype(np.float32) * np.float32(1 / (high * wide))))


def _sample_as_tensorflow(
    pixels: Pixels, down: Axis, across: Axis, resize_filter: str, *, half: bool
) -> Picture:
    if resize_filter == "nearest":
        return _pick(pixels, *(np.floor(_find_sources(axis, half, shift=0)) for axis in (down, across)))
    if resize_filter == "bicubic":
        columns = _weigh_down(pixels, _place_from_table(down, half))
        return _weigh_across(columns, _place_from_table(across, half))
    columns = _blend_down(pixels.swapaxes(0, 1), across, half).swapaxes(0, 1)
    return _blend_down(columns, down, half)


def _blend_down(values: Picture, axis: Axis, half: bool) -> npt.NDArray[np.float32]:
    """Compute rows between two each, (count, width, channels)."""
    sources = _find_sources(axis, half, shift=0.5)
    whole, shares = _split(sources)
    begin = values[np.maximum(whole, 0)].astype(np.float32)
    end = values[np.minimum(np.ceil(sources).astype(np.int64), axis.length - 1)]
    return begin + (end - begin) * shares[:, np.newaxis, np.newaxis]


def _find_sources(axis: Axis, half: bool, *, shift: float) -> npt.NDArray[np.float32]:
    """Compute where in the picture each place lies, in float32, (count,)."""
    places, scale = axis.places.astype(np.float32), np.float32(axis.length) / np.float32(axis.new_length)
    return (places + np.float32(0.5)) * scale - np.float32(shift) if half else places * scale


def _place_from_table(axis: Axis, half: bool) -> Taps:
    """Compute four taps of the cubic: with a = -0.5 and nothing beyond the ends, or, not half, a = -0.75."""
    whole, shares = _split(_find_sources(axis, half, shift=0.5))
    near, far = _make_table(-0.5 if half else -0.75)
    at = np.rint(shares * _TABLE_SIZE).astype(np.int64)
    weights = np.stack([far[at], near[at], near[_TABLE_SIZE - at], far[_TABLE_SIZE - at]])  # (4, count)
    indices = whole + np.arange(-1, 3)[:, np.newaxis]
    inside = np.clip(indices, 0, axis.length - 1)
    if half:
        weights = np.where(inside == indices, weights, np.float32(0))
        weights = weights * (_ONE / (weights[0] + weights[1] + weights[2] + weights[3]))
    return Taps(indices=inside, weights=weights)


def _make_table(a: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Compute the cubic at distances of 0 to 1, and of 1 to 2, each float32 (1025,)."""
    x = np.arange(_TABLE_SIZE + 1) / _TABLE_SIZE
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    x = x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return near.astype(np.float32), far.astype(np.float32)


def _split(sources: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Split places into whole pixels and shares of the next, in float32."""
    rounded = sources.astype(np.float32)
    whole = np.floor(rounded)
    return whole.astype(np.int64), rounded - whole


def _round_weights(weights: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.int64]:
    rounded: npt.NDArray[np.float32] = np.rint(np.stack(weights) * np.float32(1 << _WEIGHT_BITS))
    return rounded.astype(np.int64)


def _pick(pixels: Pixels, rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> Pixels:
    """Pick rows and columns, of which a place at the end may be rounded beyond it."""
    rows = np.minimum(rows.astype(np.int64), pixels.shape[0] - 1)
    columns = np.minimum(columns.astype(np.int64), pixels.shape[1] - 1)
    picked: Pixels = pixels[rows[:, np.newaxis], columns]
    return picked


def _weigh_across(values: npt.NDArray[Any], taps: Taps) -> npt.NDArray[Any]:
    return _weigh_down(values.swapaxes(0, 1), taps).swapaxes(0, 1)


def _weigh_down(values: npt.NDArray[Any], taps: Taps) -> npt.NDArray[Any]:
    """Compute the weighted sums of rows, (count, width, channels): one tap after the other, as there."""
    sums = np.zeros((taps.indices.shape[1], *values.shape[1:]), dtype=taps.weights.dtype)
    for indices, weights in zip(taps.indices, taps.weights, strict=True):
        sums += values[indices] * weights[:, np.newaxis, np.newaxis]
    return sums


def _to_bytes(values: npt.NDArray[Any]) -> Pixels:
    clipped: Pixels = np.clip(values, 0, 255).astype(np.uint8)
    return clipped
