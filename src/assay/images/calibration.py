"""Which images an int8 model is calibrated on, chosen by a fixed seed, and which of them are scored again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assay.errors import BadImagesError, UsageError
from assay.files import escape_name
from assay.images.label_files import LabelOptions
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage, ReadOptions
from assay.models.calibration import CalibrationImage, CalibrationRecord


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How a model is quantised.

    Args:
        images: Where the calibration images are; None means where those of the run are.
        image_count: How many of them are taken.
        seed: Of the choice.
        preset: `mixed` quantises activations asymmetrically, `performance` symmetrically.
        keep_float: Names or patterns of layers that stay in float.
        reading: How images are read.
    """

    images: Path | None = None
    image_count: int = 300
    seed: int = 0
    preset: Literal["mixed", "performance"] = "mixed"
    keep_float: tuple[str, ...] = ()
    reading: ReadOptions = DEFAULT_READ_OPTIONS


@dataclass(frozen=True, kw_only=True)
class AccuracyControl:
    """How much an int8 model may lose, and on what.

    Args:
        images: Where the images that it is scored on are.
        labels: Their label file, if there is one.
        max_drop: Percentage points of Top-1, against the float model on the same images.
    """

    images: Path
    labels: LabelOptions
    max_drop: float


DEFAULT_CALIBRATION = CalibrationOptions()


def choose_images(images: Sequence[LabelledImage], options: CalibrationOptions) -> list[LabelledImage]:
    """Return `image_count` of the images, or all where there are fewer, in their order.

    The choice depends on the seed and the paths alone, and is spread over all of them.

    Raises:
        UsageError: A count below 1.
        BadImagesError: No images.
    """
    if options.image_count < 1:
        raise UsageError(f"--calibration-count is {options.image_count}; expected 1 or more")
    if not images:
        raise BadImagesError("no images to calibrate on")
    count = min(options.image_count, len(images))
    chosen = random.Random(options.seed).sample(range(len(images)), count)
    return [images[number] for number in sorted(chosen)]


def describe_image(image: LabelledImage) -> CalibrationImage:
    """Return path, size and hash of an image."""
    content = image.read_bytes()
    return CalibrationImage(
        relative_path=escape_name(image.relative_path),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def count_calibrated(images: Sequence[LabelledImage], calibration: CalibrationRecord) -> int:
    """Return how many of the images the model was calibrated on: by content, whatever they are called.

    Only images of the same size as one of those, or of unknown size, are read.
    """
    sizes = {0, *(image.size_bytes for image in calibration.images)}
    hashes = {image.sha256 for image in calibration.images}
    return sum(
        hashlib.sha256(image.read_bytes()).hexdigest() in hashes
        for image in images
        if image.size_bytes in sizes and not image.fault
    )
