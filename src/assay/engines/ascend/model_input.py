"""What a model that ATC compiled takes, and how a batch is given to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.arrays import Batch
from assay.models.network_input import make_network_input
from assay.models.pixel_values import recover_pixels
from assay.models.record import ModelRecord


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """What a compiled model takes, and what its session is given.

    Args:
        sizes: The batch sizes it can run, in order: one, or the gears of a dynamic batch.
        has_aipp: Whether the model takes uint8 pixels, channels last, which AIPP normalises on the chip.
        takes_pixels: Whether the session is given those pixels; else it is given images.
    """

    sizes: Sequence[int]
    has_aipp: bool
    takes_pixels: bool

    def suit_model(self, images: Batch, record: ModelRecord) -> Batch:
        """What the session was given as the model takes it."""
        return recover_pixels(images, record) if self.has_aipp else make_network_input(images, record)
