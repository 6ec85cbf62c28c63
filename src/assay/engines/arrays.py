"""The checks on what goes into a session and what comes out, as all engines make them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Batch, Logits
from assay.engines.engine import Session
from assay.errors import BadModelError, quote
from assay.models.check_network import fits_logits
from assay.models.network_input import check_pixel_values
from assay.models.pixel_values import recover_pixels
from assay.models.record import ModelRecord


def describe_row(record: ModelRecord, *, takes_pixels: bool) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and the shape of one row of what a session takes."""
    tensor = record.input
    if takes_pixels:
        return np.dtype(np.uint8), (tensor.height, tensor.width, tensor.channels)
    return np.dtype(np.float32), (tensor.channels, tensor.height, tensor.width)


def check_images(
    images: Batch, record: ModelRecord, batch_size: int | None, *, takes_pixels: bool = False
) -> None:
    """Refuse what a session does not take; `batch_size` is what its model was compiled for.

    Raises:
        ValueError: Not float32 (N, channels, height, width), or, where it takes pixels, not uint8
            (N, height, width, channels); not C-contiguous; not 1 <= N <= batch size.
        BadInputError: The network takes uint8, and a value is no whole number of 0 to 255.
    """
    name = "pixels" if takes_pixels else "images"
    dtype, row_shape = describe_row(record, takes_pixels=takes_pixels)
    if not isinstance(images, np.ndarray) or images.dtype != dtype:
        found = getattr(images, "dtype", type(images).__name__)
        raise ValueError(f"{name}: expected {dtype}, found {found}")
    if images.ndim != 4 or images.shape[1:] != row_shape or len(images) == 0:
        expected = ", ".join(map(str, row_shape))
        raise ValueError(f"{name}: expected shape (N, {expected}), found {images.shape}")
    if not images.flags.c_contiguous:
        raise ValueError(f"{name}: expected a C-contiguous array")
    if batch_size is not None and len(images) > batch_size:
        raise ValueError(f"{name}: compiled for batches of {batch_size}, found {len(images)}")
    if record.input.dtype == "uint8" and not takes_pixels:
        check_pixel_values(images)


def pad_images(images: Batch, batch_size: int | None) -> Batch:
    """Return the images, or pixels, with rows of zeros behind them, up to the batch size, if there is one."""
    if batch_size is None or len(images) == batch_size:
        return images
    padded = np.zeros((batch_size, *images.shape[1:]), dtype=images.dtype)  # (batch_size, …)
    padded[: len(images)] = images
    return padded


def as_session_input(images: Batch, session: Session, record: ModelRecord) -> Batch:
    """Return images, which the record's preprocessing made of pixels, as the session takes them."""
    return recover_pixels(images, record) if session.description.takes_pixels else images


def take_logits(output: NDArray[Any], row_count: int, fed_count: int, record: ModelRecord) -> Logits:
    """The logits of the first `row_count` of the `fed_count` images that a runtime was fed: float32, a copy.

    Raises:
        BadModelError: As `check_logits_shape`: a row of padding is cut off only where each row is an image's.
    """
    check_logits_shape(output.shape, fed_count, record)
    rows = output.reshape(fed_count, record.output.class_count)[:row_count]  # (N, classes)
    return np.array(rows, dtype=np.float32)


def check_logits_shape(shape: Iterable[int], row_count: int, record: ModelRecord) -> None:
    """Refuse an output that is not one row of logits for each image.

    Raises:
        BadModelError: The output's shape is not (row_count, class_count), with or without axes of 1.
    """
    found = tuple(shape)
    if found[:1] != (row_count,) or not fits_logits(found, record.output.class_count):
        raise BadModelError(
            f"the network's output {quote(record.output.name)}: expected one row for each of "
            f"{row_count} images, shape {(row_count, record.output.class_count)}, found {found}",
            hint="set output.name and output.class_count of the model record to what the network has",
        )
