"""What a check of the pixels found, as a run's manifest has it."""

from __future__ import annotations

import msgspec


class PixelCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What decodes and resizes here, and which of the built-in images came out with other pixels.

    `resampler` is what resizes: Pillow or the C extension, whose pixels are the same.
    """

    pillow: str
    pillow_jpeg: str
    simplejpeg: str
    differing: tuple[str, ...]
    resampler: str = "pillow"
