"""A few preprocessed images, to check a conversion with or to measure a session with."""

from __future__ import annotations

import itertools

import numpy as np

from assay.arrays import Images
from assay.errors import BadImagesError
from assay.images.drawn_images import DRAWN_CLASSES, draw_picture
from assay.images.prepare import preprocess_image
from assay.images.resize import resize_and_crop
from assay.images.sources import ImageIndex
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord


def load_sample_images(record: ModelRecord, index: ImageIndex | None, count: int) -> Images:
    """Return up to `count` preprocessed images, float32 (N, 3, H, W): the user's, else drawn ones.

    Raises:
        BadImagesError: Not one of the user's images can be decoded.
    """
    if index is None:
        return _draw_sample_images(record, count)
    preprocessed = (preprocess_image(source, record) for source in index.images)
    images = list(itertools.islice((row.image for row in preprocessed if row.image is not None), count))
    if not images:
        raise BadImagesError("not one of the images can be decoded")
    return np.stack(images)  # (N, 3, H, W)


def _draw_sample_images(record: ModelRecord, count: int) -> Images:
    rng = np.random.default_rng(0)
    pictures = (draw_picture(number % len(DRAWN_CLASSES), rng) for number in range(count))
    cropped = (resize_and_crop(picture, record.preprocessing) for picture in pictures)
    return np.stack([normalise_pixels(pixels, record) for pixels in cropped])  # (N, 3, H, W)
