"""Makes a row of the batch from an encoded image: read, decoded, resized, cropped, normalised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from assay.arrays import Images, Pixels
from assay.errors import UndecodableImageError
from assay.files import escape_name
from assay.images.decode import decode_image
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage, ReadOptions
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.read import Patience, read_image
from assay.images.resample import FASTEST, Resampler, resample_crop_into
from assay.images.resize import keep_centre, plan_frame, resize_and_crop
from assay.models.pixel_values import make_table, normalise_pixels
from assay.models.record import ModelRecord

_NAMED = 3


def preprocess_image(
    source: LabelledImage,
    record: ModelRecord,
    options: ReadOptions = DEFAULT_READ_OPTIONS,
    patience: Patience | None = None,
) -> PreprocessedImage:
    """Make the image as the network takes it, float32 (channels, height, width); see `preprocess_into`."""
    tensor = record.input
    out = np.empty((tensor.channels, tensor.height, tensor.width), dtype=np.float32)
    return preprocess_into(source, record, options, out, patience)


def preprocess_into(
    source: LabelledImage,
    record: ModelRecord,
    options: ReadOptions,
    out: Images | Pixels,
    patience: Patience | None = None,
) -> PreprocessedImage:
    """Make the image in the caller's row of a batch; one that is at fault itself has the reason instead.

    Args:
        source: The encoded image.
        record: How the network takes it.
        options: How it is read.
        out: float32 (channels, height, width), or uint8 (height, width, channels) for pixels; C-contiguous.
            It is the returned `image`; of an image that failed it holds anything.
        patience: How long a failing source is tried again.

    Raises:
        SourceError: The place that holds the image failed, which says nothing about the image.
    """
    if source.fault:
        return PreprocessedImage(source=source, image=None, status=source.fault)
    try:
        decoded = decode_image(read_image(source, options, patience), max_pixels=options.max_pixels)
        prepare_into(decoded.pixels, record, out)
    except UndecodableImageError as error:
        return PreprocessedImage(source=source, image=None, status=f"not decodable: {error}")
    return PreprocessedImage(source=source, image=out, note=decoded.note)


def count_images(count: int) -> str:
    """Say a number of images in words.

    >>> count_images(1), count_images(1200)
    ('1 image', '1,200 images')
    """
    return f"{count:,} image" if count == 1 else f"{count:,} images"


def name_failures(failed: Sequence[PreprocessedImage]) -> str:
    """Name the images that failed, three at most, each with its reason."""
    named = [f"{escape_name(image.source.relative_path)} ({image.status})" for image in failed[:_NAMED]]
    more = f" and {len(failed) - _NAMED:,} more" if len(failed) > _NAMED else ""
    return ", ".join(named) + more


def stack_images(batch: Iterable[PreprocessedImage]) -> Images:
    """Stack the images that did not fail into one array, float32 (N, channels, height, width), in order."""
    return np.stack([row.image for row in batch if row.image is not None])  # (N, channels, H, W)


def prepare_into(
    pixels: Pixels, record: ModelRecord, out: Images | Pixels, resampler: Resampler = FASTEST
) -> None:
    """Resize, crop and normalise a decoded picture into one row of a batch, mostly in one step.

    The bits are those of `resize_and_crop` and then `normalise_pixels`; where the row is of pixels, which
    are normalised later, those of `resize_and_crop`.

    Args:
        pixels: uint8 (height, width, 3), RGB.
        record: How to.
        out: float32 (channels, height, width), or uint8 (height, width, channels); C-contiguous. Every value
            is written.
        resampler: What computes it; all give the same.

    Raises:
        UndecodableImageError: A side of the resized picture would have no pixel.
        ValueError: A row of pixels, of a record that makes fractions of them.
    """
    preprocessing, colour_order = record.preprocessing, record.input.colour_order
    as_pixels = out.dtype == np.uint8
    if as_pixels and not preprocessing.makes_pixels:
        raise ValueError(f"{preprocessing.sampling}'s sampling makes fractions of pixels")
    kept = keep_centre(pixels, preprocessing)
    frame = plan_frame(kept.shape[1], kept.shape[0], preprocessing)
    if frame.is_padded or colour_order == "grey" or preprocessing.sampling != "pillow":
        made = resize_and_crop(pixels, preprocessing, resampler)
        out[...] = made if as_pixels else normalise_pixels(made, record)
        return
    table = None if as_pixels else make_table(preprocessing)
    resample_crop_into(kept, frame.crop, table, out, bgr=colour_order == "BGR", resampler=resampler)
