"""From normalised images back to the pixels they were made of: what a model with AIPP takes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from assay.arrays import Images
from assay.models.record import ModelRecord


def recover_pixels(images: Images, record: ModelRecord) -> npt.NDArray[np.uint8]:
    """Return the pixels, uint8 (N, height, width, 3), contiguous, that normalise to these images.

    Normalisation is one-to-one on the 256 values, so rounding gives them back exactly.

    Args:
        images: float32 (N, 3, height, width), made of uint8 pixels by the record's preprocessing.
        record: Its mean, std and scale.
    """
    preprocessing = record.preprocessing
    mean = np.array(preprocessing.mean, dtype=np.float32)[:, None, None]  # (3, 1, 1)
    std = np.array(preprocessing.std, dtype=np.float32)[:, None, None]  # (3, 1, 1)
    values = np.rint((images * std + mean) * np.float32(preprocessing.pixel_scale))  # (N, 3, H, W)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))  # (N, H, W, 3)
