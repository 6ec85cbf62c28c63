"""The network's own input: what becomes of images at the last moment, before a runtime takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Batch
from assay.errors import BadInputError
from assay.models.record import InputTensor, ModelRecord


def order_axes(tensor: InputTensor, layout: str = "") -> tuple[int, int, int]:
    """The sizes of one image as the network has them, in the order of its layout, or of another.

    Args:
        tensor: The record's input.
        layout: "NCHW" or "NHWC"; the record's own if empty.
    """
    if (layout or tensor.layout) == "NHWC":
        return tensor.height, tensor.width, tensor.channels
    return tensor.channels, tensor.height, tensor.width


def make_network_input(images: Batch, record: ModelRecord) -> NDArray[Any]:
    """Images as the network takes them, C-contiguous, in the record's layout and dtype.

    Args:
        images: float32 (N, channels, height, width); for a network of uint8 `check_pixel_values` holds.
        record: Its input.
    """
    if record.input.layout == "NHWC":
        images = images.transpose(0, 2, 3, 1)  # (N, height, width, channels)
    return np.ascontiguousarray(images, dtype=record.input.dtype)


def check_pixel_values(images: Batch) -> None:
    """Refuse images that a network of uint8 cannot be given without changing them.

    Raises:
        BadInputError: A value is no whole number of 0 to 255.
    """
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 255 and np.array_equal(np.trunc(images), images):
        return
    raise BadInputError(
        f"the network takes uint8; expected whole numbers of 0 to 255, found values of {low:g} to {high:g}",
        hint="feed pixels that are not normalised: such a network normalises them itself",
    )
