"""Which images an int8 model is calibrated on, chosen by a fixed seed, and which of them are scored again."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from assay.arrays import Images
from assay.defaults import CALIBRATION_IMAGE_COUNT
from assay.errors import BadImagesError, UndecodableImageError, UsageError
from assay.files import escape_name
from assay.images.listing import LabelledImage, ReadOptions
from assay.images.prepare import name_failures, preprocess_image
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.read import read_image
from assay.images.request import ImageRequest
from assay.images.sources import ImageIndex
from assay.models.calibration import CalibrationImage, CalibrationRecord, WeightRange
from assay.models.record import ModelRecord


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """How a model is quantised.

    Args:
        images: The calibration images; None means those of the run.
        image_count: How many of them are taken.
        seed: Of the choice.
        preset: `mixed` quantises activations asymmetrically, `performance` symmetrically.
        weight_range: `half` gives the same answers on every processor; `full` is for those with VNNI.
        keep_float: Names or patterns of layers that stay in float.
    """

    images: ImageRequest | None = None
    image_count: int = CALIBRATION_IMAGE_COUNT
    seed: int = 0
    preset: Literal["mixed", "performance"] = "mixed"
    weight_range: WeightRange = "half"
    keep_float: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AccuracyControl:
    """How much an int8 model may lose, and on what.

    Args:
        images: The images that it is scored on, with their labels.
        max_drop: Percentage points of Top-1, against the float model on the same images.
    """

    images: ImageRequest
    max_drop: float


DEFAULT_CALIBRATION: CalibrationOptions = CalibrationOptions()


@dataclass(frozen=True, kw_only=True)
class CalibrationSample:
    """What a model is calibrated on.

    Args:
        described: Path, size and hash of each image.
        images: The images, each float32 (1, 3, height, width), in the same order.
        failed: Those that were chosen too, but could not be decoded.
    """

    described: tuple[CalibrationImage, ...]
    images: tuple[Images, ...]
    failed: tuple[PreprocessedImage, ...]


def load_calibration_sample(
    index: ImageIndex,
    record: ModelRecord,
    options: CalibrationOptions,
    on_image: Callable[[int], None],
) -> CalibrationSample:
    """Load the images to calibrate on; for one that cannot be decoded another is taken.

    Args:
        index: What they are chosen from.
        record: How they are preprocessed.
        options: How many, and the seed.
        on_image: Hears how many are loaded, after each.

    Raises:
        UsageError: A count below 1.
        BadImagesError: Not one can be decoded, or there is none.
        SourceError: The place that holds the images failed.
    """
    chosen = choose_images(index.images, options)
    described: list[CalibrationImage] = []
    rows: list[Images] = []
    failed: list[PreprocessedImage] = []
    for image in itertools.chain(chosen, _draw_others(index.images, chosen, options.seed)):
        row, content = _load_image(image, record, index.reading)
        if row.image is None:
            failed.append(row)
            continue
        described.append(describe_image(image, content))
        rows.append(np.ascontiguousarray(row.image[np.newaxis]))  # (1, 3, H, W)
        on_image(len(rows))
        if len(rows) == len(chosen):
            break
    if not rows:
        raise BadImagesError(f"no image to calibrate on can be decoded: {name_failures(failed)}")
    return CalibrationSample(described=tuple(described), images=tuple(rows), failed=tuple(failed))


def choose_images(images: Sequence[LabelledImage], options: CalibrationOptions) -> list[LabelledImage]:
    """Choose `image_count` of the images, or all where there are fewer, in their order.

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


def _draw_others(
    images: Sequence[LabelledImage], chosen: Sequence[LabelledImage], seed: int
) -> Iterator[LabelledImage]:
    """Yield the images that were not chosen, in a random order that the seed decides."""
    paths = {image.relative_path for image in chosen}
    others = [image for image in images if image.relative_path not in paths]
    yield from random.Random(seed).sample(others, len(others))


def _load_image(
    image: LabelledImage, record: ModelRecord, reading: ReadOptions
) -> tuple[PreprocessedImage, bytes]:
    """Preprocess an image, and give its bytes too: it is read once, so that they are of what is described."""
    content = b""
    if not image.fault:
        try:
            content = read_image(image, reading)
        except UndecodableImageError as error:
            image = dataclasses.replace(image, fault=f"not decodable: {error}")
    whole = dataclasses.replace(image, size_bytes=len(content), read_bytes=lambda: content)
    return preprocess_image(whole, record, reading), content


def describe_image(image: LabelledImage, content: bytes) -> CalibrationImage:
    """Describe an image that a model is calibrated on by its path, size and hash."""
    return CalibrationImage(
        relative_path=escape_name(image.relative_path),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def count_calibrated(
    images: Sequence[LabelledImage], calibration: CalibrationRecord, reading: ReadOptions
) -> int:
    """Count the images that the model was calibrated on; see `find_calibrated`."""
    return len(find_calibrated(images, calibration, reading))


def find_calibrated(
    images: Sequence[LabelledImage], calibration: CalibrationRecord, reading: ReadOptions
) -> set[str]:
    """The relative paths, escaped, of images that the model was calibrated on: by content, not by name.

    Only images of the same size as one of those, or of unknown size, are read.

    Raises:
        SourceError: The place that holds the images failed.
    """
    sizes = {0, *(image.size_bytes for image in calibration.images)}
    hashes = {image.sha256 for image in calibration.images}
    candidates = (image for image in images if image.size_bytes in sizes and not image.fault)
    return {escape_name(image.relative_path) for image in candidates if _hash_image(image, reading) in hashes}


def _hash_image(image: LabelledImage, reading: ReadOptions) -> str:
    """Hash an image; empty for one that cannot be read by its own fault: no model is calibrated on such."""
    try:
        return hashlib.sha256(read_image(image, reading)).hexdigest()
    except UndecodableImageError:
        return ""
