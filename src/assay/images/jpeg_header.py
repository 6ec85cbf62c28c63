"""What the header of a JPEG file says, without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

import struct
import threading
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image

JPEG_MAGIC = b"\xff\xd8\xff"
WARNINGS_LOCK = threading.Lock()
"""Held while the filters of warnings, which all threads share, are changed."""
_SEARCHED_BYTES = 2**16
# Start-of-frame markers that are no DCT with Huffman codes
_UNSUPPORTED = {
    3: "lossless",
    5: "hierarchical",
    6: "hierarchical",
    7: "hierarchical",
    9: "arithmetic coding",
    10: "arithmetic coding",
    11: "lossless",
    13: "arithmetic coding",
    14: "arithmetic coding",
    15: "arithmetic coding",
}
_NO_FRAMES = (0xC4, 0xC8, 0xCC)  # tables among the start-of-frame markers
# What Pillow raises on corrupt EXIF
_EXIF_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    OverflowError,
    struct.error,
    TypeError,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class JpegFrame:
    """A start-of-frame segment; a height of 0 is told at the end of the scan."""

    process: int
    precision: int
    height: int
    width: int
    component_count: int


def find_frame(encoded: bytes) -> JpegFrame | None:
    """Return the first frame of a JPEG, or None where there is none."""
    place = 2
    while place + 10 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if marker == 0xFF:  # padding before a marker
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES:
            precision, height, width, component_count = struct.unpack_from(">BHHB", encoded, place + 4)
            return JpegFrame(
                process=marker - 0xC0,
                precision=precision,
                height=height,
                width=width,
                component_count=component_count,
            )
        place += 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")
    return None


def name_unsupported_process(encoded: bytes) -> str:
    """Return what decoders differ on, in words: lossless, arithmetic, 12 bits; empty for an ordinary JPEG."""
    frame = find_frame(encoded)
    if frame is None:
        return ""
    if frame.process in _UNSUPPORTED:
        return _UNSUPPORTED[frame.process]
    if frame.precision != 8:
        return f"{frame.precision} bits"
    return "" if frame.height else "height 0 in its header"


def find_orientation(encoded: bytes) -> int:
    """Return the EXIF orientation of a JPEG, 1 to 8; 0 where there is none that is valid."""
    start = encoded.find(b"Exif\0\0", 0, _SEARCHED_BYTES)
    if start < 0:
        return 0
    exif = Image.Exif()
    try:
        with WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exif.load(encoded[start : start + _SEARCHED_BYTES])
            orientation = exif.get(ExifTags.Base.Orientation)
    except _EXIF_ERRORS:  # corrupt, and ignored anyway
        return 0
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 0
