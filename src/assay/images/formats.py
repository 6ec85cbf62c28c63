"""Names the format of an image file by how it begins, and says what is wrong with a broken one."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from assay.images.jpeg_header import JPEG_MAGIC

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_MAGICS = (
    (JPEG_MAGIC, "JPEG"),
    (_PNG_MAGIC, "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_SEARCHED_BYTES = 4096
_WARNINGS_LOCK = threading.Lock()
# What Pillow is known to raise on damaged files, besides its own UnidentifiedImageError.
PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    LookupError,
    OverflowError,
    TypeError,
    struct.error,
)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Pillow's warnings from the terminal: odd EXIF and large sizes warn, but change no pixel."""
    with _WARNINGS_LOCK, warnings.catch_warnings():  # which changes the filters of all threads
        warnings.simplefilter("ignore")
        yield


def name_format(encoded: bytes) -> str:
    r"""Name the format of an image file by its first bytes; empty where they are of none that is known.

    >>> name_format(b"\xff\xd8\xff\xe0"), name_format(b"<html>")
    ('JPEG', '')
    """
    if encoded.startswith(b"RIFF") and encoded[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in _MAGICS if encoded.startswith(magic)), "")


def describe_unidentified(encoded: bytes) -> str:
    """Say what a file is that Pillow takes for no image: a broken one of some format, or none."""
    if name := name_format(encoded):
        return describe_broken(encoded, _ask_reader(name, encoded))
    begins = f"not an image: begins with {encoded[:16]!r}"
    place = encoded.find(JPEG_MAGIC, 0, _SEARCHED_BYTES)
    return f"{begins}; a JPEG begins at byte {place:,}" if place > 0 else begins


def describe_broken(encoded: bytes, reason: str) -> str:
    """Say in which format a file is that cannot be decoded, and what is wrong with it.

    Args:
        encoded: The file.
        reason: What its reader says.
    """
    name = name_format(encoded)
    if name == "WEBP" and len(encoded) < (size := 8 + int.from_bytes(encoded[4:8], "little")):
        reason = f"cut short: {len(encoded):,} of {size:,} bytes"
    if name == "PNG" and (chunk := find_wrong_chunk(encoded)):
        reason = f"wrong checksum in its {chunk} chunk"
    return f"broken {name}: {reason}" if name else reason


def _ask_reader(name: str, encoded: bytes) -> str:
    """Ask Pillow's reader of that format itself what it refuses; `Image.open` does not tell."""
    try:
        with without_warnings():
            Image.OPEN[name][0](io.BytesIO(encoded), "")
    except PILLOW_ERRORS as error:
        return f"{error}".strip() or type(error).__name__
    return "its header cannot be read"


def find_wrong_chunk(encoded: bytes) -> str:
    """Name the first chunk of a PNG whose checksum is wrong; empty where none is (PNG, section 5.3)."""
    place = len(_PNG_MAGIC)
    while place + 12 <= len(encoded):
        length = int.from_bytes(encoded[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(encoded):
            break
        if zlib.crc32(encoded[place + 4 : end]) != int.from_bytes(encoded[end : end + 4], "big"):
            return encoded[place + 4 : place + 8].decode("ascii", "backslashreplace")
        place = end + 4
    return ""
