"""Resizes a picture and keeps its centre, bit for bit as the library does that the model record speaks of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from assay.arrays import Picture, Pixels
from assay.errors import UndecodableImageError
from assay.images.resample import FASTEST, Crop, Resampler, resample_crop
from assay.images.sampling import sample_crop
from assay.models.preprocessing import Preprocessing, compute_crop_start


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A part of a resized picture, and where it lies in what becomes of it.

    Args:
        crop: The part.
        left: Columns of the padding before it.
        top: Rows of the padding above it.
        width: Of what becomes of it, with the padding.
        height: Likewise.
    """

    crop: Crop
    left: int
    top: int
    width: int
    height: int

    @property
    def is_padded(self) -> bool:
        """Whether there is padding around the part."""
        return (self.width, self.height) != (self.crop.width, self.crop.height)


def compute_resized_size(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Compute (width, height) of the resized picture.

    Raises:
        UndecodableImageError: A side would have no pixel.
    """
    new_height, new_width = preprocessing.resize_size or (height, width)
    if preprocessing.resize_side is not None:
        new_width, new_height = _fit_short_side(width, height, preprocessing)
    elif preprocessing.resize in ("cover", "letterbox"):
        # As timm's ResizeKeepRatio: both sides are rounded half to even.
        ratios = height / new_height, width / new_width
        ratio = min(ratios) if preprocessing.resize == "cover" else max(ratios)
        new_width, new_height = round(width / ratio), round(height / ratio)
    if new_width < 1 or new_height < 1:
        raise UndecodableImageError(
            f"too thin: {width}x{height} would be resized to {new_width}x{new_height}"
        )
    return new_width, new_height


def _fit_short_side(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    side = preprocessing.resize_side or 0
    short, long = sorted((width, height))
    if preprocessing.long_side_rounding == "cut":
        new_long = int(side * long / short)
    else:
        new_long = round(side / short * long)  # in this order, as PaddleClas and the ONNX model zoo
    return (side, new_long) if width <= height else (new_long, side)


def plan_frame(width: int, height: int, preprocessing: Preprocessing) -> Frame:
    """Plan what becomes of a picture of this size: how it is resized, and what of it is kept.

    Raises:
        UndecodableImageError: A side of the resized picture would have no pixel.
    """
    new_width, new_height = compute_resized_size(width, height, preprocessing)
    crop_height, crop_width = preprocessing.crop or (new_height, new_width)
    left, pad_left = _place_crop(new_width, crop_width, preprocessing)
    top, pad_top = _place_crop(new_height, crop_height, preprocessing)
    crop = Crop(
        new_width=new_width,
        new_height=new_height,
        left=left,
        top=top,
        width=min(crop_width, new_width),
        height=min(crop_height, new_height),
        resize_filter=preprocessing.resize_filter or "bilinear",  # not used: the size stays
    )
    return Frame(crop=crop, left=pad_left, top=pad_top, width=crop_width, height=crop_height)


def _place_crop(length: int, crop_length: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Compute where the crop begins in the resized picture, and the padding before it: one of them is 0."""
    if length >= crop_length:
        return compute_crop_start(length, crop_length, preprocessing.crop_rounding), 0
    missing = crop_length - length
    return 0, -(-missing // 2) if preprocessing.pad_rounding == "ceil" else missing // 2


def keep_centre(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Keep what the record says of the decoded picture before it is resized: a view, mostly of all.

    Each side loses as much as TensorFlow's `central_crop` takes; the square is that of ultralytics 8.0.
    """
    height, width = pixels.shape[:2]
    if preprocessing.central_fraction < 1:
        top = int((height - height * preprocessing.central_fraction) / 2)
        left = int((width - width * preprocessing.central_fraction) / 2)
        pixels = pixels[top : height - top, left : width - left]
        height, width = pixels.shape[:2]
    if preprocessing.square_first:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    return pixels


def resize_and_crop(pixels: Pixels, preprocessing: Preprocessing, resampler: Resampler = FASTEST) -> Picture:
    """Compute what becomes of a decoded picture, (height, width, channels), of the record's size.

    It is uint8, but float32 where the sampling makes fractions: `Preprocessing.makes_pixels` tells.

    A picture whose size is right already is not resampled. One channel is made before that: Pillow's
    `convert("L")` of the decoded RGB.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        preprocessing: How.
        resampler: What computes Pillow's sampling; all give the same.

    Raises:
        UndecodableImageError: A side of the resized picture would have no pixel.
    """
    pixels = keep_centre(pixels, preprocessing)
    is_grey = len(preprocessing.mean) == 1
    if is_grey:
        pixels = _make_grey(pixels)
    frame = plan_frame(pixels.shape[1], pixels.shape[0], preprocessing)
    part = _sample(pixels, frame.crop, preprocessing.sampling, resampler)  # (height, width, 3)
    if frame.is_padded:
        part = _pad(part, frame, preprocessing)
    return part[:, :, :1] if is_grey else part


def _sample(pixels: Pixels, crop: Crop, sampling: str, resampler: Resampler) -> Picture:
    if (crop.new_height, crop.new_width) == pixels.shape[:2]:  # no sampling has anything to do
        return pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    if sampling == "pillow":
        return resample_crop(pixels, crop, resampler)
    return sample_crop(pixels, crop, sampling)


def _make_grey(pixels: Pixels) -> Pixels:
    """Compute Pillow's convert("L"), three times over: uint8 (height, width, 3)."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"))  # (height, width)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _pad(part: Picture, frame: Frame, preprocessing: Preprocessing) -> Picture:
    colour = np.array(preprocessing.pad_colour, dtype=np.uint8).reshape(1, 1, 3)
    if len(preprocessing.mean) == 1:
        colour = _make_grey(colour)
    padded = np.empty_like(part, shape=(frame.height, frame.width, 3))
    padded[...] = colour
    padded[frame.top : frame.top + part.shape[0], frame.left : frame.left + part.shape[1]] = part
    return padded  # (height, width, 3)
