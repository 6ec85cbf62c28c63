"""Normalisation of pixels on the device, with the host's arithmetic bit for bit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from assay.models.pixel_values import make_table
from assay.models.record import ModelRecord

PIXEL_VALUES = 256


class Normalise:
    """Pixels to what the network takes, by looking each value up in the table that the host would compute.

    A pixel has 256 values, so the table holds all that normalisation can give: nothing is computed on the
    device, and no other order of operations can change a bit.

    Args:
        record: The constants, and the colour order of the network's input; its preprocessing makes pixels.
        device: Where pixels are.
        dtype: What the network computes in: the float32 values are rounded to it, as images would be.
    """

    def __init__(self, record: ModelRecord, device: str, dtype: torch.dtype) -> None:
        table = torch.from_numpy(np.array(make_table(record.preprocessing)))  # (channels, 256)
        self._values = table.reshape(-1).to(device, dtype)  # (channels * 256,)
        starts = torch.arange(len(table), device=device, dtype=torch.int32) * PIXEL_VALUES
        self._starts = starts  # (channels,)
        self._is_bgr = record.input.colour_order == "BGR"

    def __call__(self, pixels: Tensor) -> Tensor:
        """Images (N, channels, height, width), channels last in memory.

        Args:
            pixels: uint8 (N, height, width, channels), on the device.
        """
        if self._is_bgr:
            pixels = pixels.flip(-1)
        places = pixels.to(torch.int32) + self._starts  # (N, height, width, channels)
        values = self._values.index_select(0, places.reshape(-1)).reshape(places.shape)
        return values.permute(0, 3, 1, 2)  # (N, channels, height, width)
