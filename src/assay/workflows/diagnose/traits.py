"""What can be said of a photograph without a network: its colours, size, shape and how its file was made."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import simplejpeg
from PIL import Image

from assay.arrays import Pixels
from assay.images.formats import PILLOW_ERRORS, without_warnings
from assay.images.jpeg_header import JPEG_MAGIC, find_orientation

_LONG, _LOW_QUALITY = 1.6, 75
# Annex K of ITU T.81: the luminance table that libjpeg scales by the quality, in its own order
_LUMINANCE_SUM = 3688


def list_traits(encoded: bytes, pixels: Pixels) -> dict[str, bool]:
    """The traits of a photograph by their names.

    Args:
        encoded: The file.
        pixels: Decoded, uint8 (height, width, 3).
    """
    height, width = pixels.shape[:2]
    sample = pixels[:: max(1, height // 64), :: max(1, width // 64)].astype(np.int16)
    return {
        "greyscale": bool((np.ptp(sample, axis=2) == 0).all()),
        "under 256 pixels high or wide": min(height, width) < 256,
        f"more than {_LONG:g} times as long as wide": max(height, width) > _LONG * min(height, width),
        "higher than wide": height > width,
        **_list_jpeg_traits(encoded),
    }


def _list_jpeg_traits(encoded: bytes) -> Mapping[str, bool]:
    is_jpeg = encoded.startswith(JPEG_MAGIC)
    return {
        "not JPEG": not is_jpeg,
        "turned by EXIF": is_jpeg and find_orientation(encoded) > 1,
        "colours at half the size (4:2:0)": is_jpeg and _read_subsampling(encoded) == "420",
        f"JPEG quality under {_LOW_QUALITY}": is_jpeg and _estimate_quality(encoded) < _LOW_QUALITY,
    }


def _read_subsampling(encoded: bytes) -> str:
    try:
        return str(simplejpeg.decode_jpeg_header(encoded)[3])
    except ValueError:  # subsampled in a way it has no name for
        return ""


def _estimate_quality(encoded: bytes) -> float:
    """The quality at which libjpeg scales the standard luminance table to the file's; 100 without one."""
    try:
        with without_warnings(), Image.open(io.BytesIO(encoded), formats=["JPEG"]) as picture:
            table = getattr(picture, "quantization", {}).get(0)
    except PILLOW_ERRORS:
        return 100.0
    if not table:
        return 100.0
    percent: float = 100 * sum(table) / _LUMINANCE_SUM
    return 5000 / percent if percent > 100 else 100 - percent / 2
