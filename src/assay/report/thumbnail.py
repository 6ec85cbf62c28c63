"""Small pictures for a page, as data that stands in it."""

from __future__ import annotations

import base64
import io

from PIL import Image

from assay.arrays import Pixels

THUMBNAIL_SIDE = 96
MOST_THUMBNAIL_BYTES = 12_000
QUALITIES = (75, 60, 45, 30, 15)


def make_thumbnail(pixels: Pixels) -> str:
    """A small JPEG of a picture, uint8 (height, width, 3), as a data URI."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_SIDE * 2, THUMBNAIL_SIDE * 2))
    content = b""
    for quality in QUALITIES:  # noise and foliage are packed harder: 60 of them stay under 2 MB
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        content = stream.getvalue()
        if len(content) <= MOST_THUMBNAIL_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
