"""A few preprocessed images, to check a conversion with or to measure a session with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.arrays import Images
from assay.errors import BadImagesError
from assay.images.drawn_images import DRAWN_CLASSES, draw_picture
from assay.images.prepare import count_images, name_failures, preprocess_image, stack_images
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.resize import resize_and_crop
from assay.images.sources import ImageIndex
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord


def load_sample_images(
    record: ModelRecord,
    index: ImageIndex | None,
    count: int,
    announce: Callable[[str], None],
) -> Images:
    """Load up to `count` preprocessed images, float32 (N, 3, H, W): the first of the user's, else drawn ones.

    Args:
        record: How they are preprocessed.
        index: The user's images; None means drawn ones.
        count: How many, at least 1.
        announce: Hears of those that cannot be decoded: they are passed over.

    Raises:
        BadImagesError: Not one of the user's images can be decoded.
        SourceError: The place that holds the images failed.
    """
    if index is None:
        return _draw_sample_images(record, count)
    rows: list[PreprocessedImage] = []
    failed: list[PreprocessedImage] = []
    for source in index.images:
        row = preprocess_image(source, record, index.reading)
        (failed if row.image is None else rows).append(row)
        if len(rows) == count:
            break
    if not rows:
        raise BadImagesError(
            f"not one of {count_images(len(failed))} can be decoded: {name_failures(failed)}"
        )
    if failed:
        announce(f"Note: no sample is made of {count_images(len(failed))}: {name_failures(failed)}")
    return stack_images(rows)  # (N, 3, H, W)


def _draw_sample_images(record: ModelRecord, count: int) -> Images:
    rng = np.random.default_rng(0)
    pictures = (draw_picture(number % len(DRAWN_CLASSES), rng) for number in range(count))
    cropped = (resize_and_crop(picture, record.preprocessing) for picture in pictures)
    return np.stack([normalise_pixels(pixels, record) for pixels in cropped])  # (N, 3, H, W)
