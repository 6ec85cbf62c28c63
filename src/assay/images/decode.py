"""Decodes an image file's bytes to the pixels that Pillow gives."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
from PIL import ExifTags, Image

from assay.arrays import Pixels
from assay.errors import UndecodableImageError
from assay.images.jpeg_header import (
    JPEG_MAGIC,
    find_orientation,
    name_unsupported_process,
)

MAX_PIXELS = 100_000_000
# What simplejpeg decodes as Pillow does, bit for bit; 4-component JPEGs come out different by 1.
_EXACT_COLOURSPACES = frozenset({"Gray", "YCbCr", "RGB"})
# No others are tried: some of Pillow's readers start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
# What Pillow is known to raise on damaged files, besides its own UnidentifiedImageError.
_PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    MemoryError,
    NotImplementedError,
    LookupError,
    OverflowError,
    TypeError,
    struct.error,
)
_FOREIGN_KINDS = (
    (b"\x1f\x8b", "gzip data: gunzip it"),
    (b"version https://git-lfs", "a Git LFS pointer: git lfs pull"),
    (b"\xff\x0a", "JPEG XL, not supported"),
    (b"\0\0\0\x0cJXL ", "JPEG XL, not supported"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000, not supported"),
    (b"\xff\x4f\xff\x51", "JPEG 2000, not supported"),
)
_WARNINGS_LOCK = threading.Lock()
_TURNED_ORIENTATIONS = frozenset({5, 6, 7, 8})
_ALPHA_MODES = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
_CLIPPING_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """Pixels, and what was odd about the file (empty where nothing was)."""

    pixels: Pixels
    note: str = ""


def decode_image(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Return the pixels of an encoded image, uint8 (height, width, 3), RGB.

    One- and three-component JPEGs go through simplejpeg, everything else through Pillow, which is the
    reference: colour profiles and EXIF rotation are ignored, alpha is dropped, of several frames the first
    is taken; the note says so. When simplejpeg meets corrupt data that Pillow tolerates, the pixels are
    Pillow's and the note says that.

    Args:
        encoded: A whole image file; its contents tell of which kind, not its name.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        UndecodableImageError: The reason, in a few words.
    """
    _refuse_foreign_kinds(encoded)
    if not encoded.startswith(JPEG_MAGIC):
        return _decode_with_pillow(encoded, max_pixels)
    if process := name_unsupported_process(encoded):
        raise UndecodableImageError(f"unsupported JPEG process: {process}")
    if not _is_exact_in_simplejpeg(encoded, max_pixels):
        return _decode_with_pillow(encoded, max_pixels)
    try:
        pixels = simplejpeg.decode_jpeg(encoded, colorspace="RGB", fastdct=False, fastupsample=False)
    except ValueError as error:
        pixels = _decode_with_pillow(encoded, max_pixels).pixels
        return DecodedImage(pixels=pixels, note=f"decoder warning: {error}")
    orientation = find_orientation(encoded)
    note = f"EXIF orientation {orientation} ignored" if orientation > 1 else ""
    return DecodedImage(pixels=pixels, note=note)  # (height, width, 3)


def _refuse_foreign_kinds(encoded: bytes) -> None:
    if not encoded:
        raise UndecodableImageError("empty file")
    for magic, kind in _FOREIGN_KINDS:
        if encoded.startswith(magic):
            raise UndecodableImageError(kind)
    if encoded[4:8] == b"ftyp":
        brand = encoded[8:12].decode("ascii", "replace")
        raise UndecodableImageError(f"{'AVIF' if brand.startswith('avi') else 'HEIF'}, not supported")


def read_shown_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of an image file as viewers show it, from its header, without decoding it.

    That is turned as EXIF says, unlike the pixels that `decode_image` gives.

    Raises:
        UndecodableImageError: The reason, in a few words.
    """
    try:
        with _open_quietly(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(ExifTags.Base.Orientation) in _TURNED_ORIENTATIONS
            return (height, width) if turned else (width, height)
    except PIL.UnidentifiedImageError as error:
        raise UndecodableImageError("not an image") from error
    except _PILLOW_ERRORS as error:
        raise UndecodableImageError(f"{error}".strip() or type(error).__name__) from error


def _is_exact_in_simplejpeg(encoded: bytes, max_pixels: int) -> bool:
    """Return whether simplejpeg decodes this JPEG as Pillow does."""
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:  # damaged, or subsampled in a way it has no name for: Pillow decides
        return False
    _check_size(width, height, max_pixels)
    return colourspace in _EXACT_COLOURSPACES


def _decode_with_pillow(encoded: bytes, max_pixels: int) -> DecodedImage:
    try:
        picture = _open_quietly(io.BytesIO(encoded))
        _check_size(picture.width, picture.height, max_pixels)
        if picture.mode in _CLIPPING_MODES:
            raise UndecodableImageError(
                f"unsupported pixel type {picture.mode}: conversion to 8 bits would clip it"
            )
        has_alpha = picture.mode in _ALPHA_MODES or "transparency" in picture.info
        picture.info.pop("transparency", None)  # alpha is dropped; converting it would only warn
        pixels = np.asarray(picture.convert("RGB"))  # (height, width, 3)
        return DecodedImage(pixels=pixels, note=_note_oddities(picture, has_alpha=has_alpha))
    except PIL.UnidentifiedImageError as error:
        raise UndecodableImageError(f"not an image: begins with {encoded[:16]!r}") from error
    except Image.DecompressionBombError as error:
        raise UndecodableImageError(str(error)) from error
    except _PILLOW_ERRORS as error:
        raise UndecodableImageError(f"{error}".strip() or type(error).__name__) from error


def _note_oddities(picture: Image.Image, *, has_alpha: bool) -> str:
    """Return what Pillow leaves out of the pixels, in words; mostly empty."""
    frame_count = _count_frames(picture)
    notes = {
        "4-component": picture.mode == "CMYK",
        "alpha dropped": has_alpha,
        f"first of {frame_count} frames": frame_count > 1,
    }
    return ", ".join(note for note, applies in notes.items() if applies)


def _count_frames(picture: Image.Image) -> int:
    """Return how many frames a picture has that is decoded already; 1 where the others are damaged."""
    try:
        return getattr(picture, "n_frames", 1)
    except _PILLOW_ERRORS:
        return 1


def _open_quietly(source: Path | io.BytesIO) -> Image.Image:
    """Return the opened picture; odd EXIF and large sizes warn, but change no pixel."""
    with _WARNINGS_LOCK, warnings.catch_warnings():  # which changes the filters of all threads
        warnings.simplefilter("ignore")
        return Image.open(source, formats=_FORMATS)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UndecodableImageError(f"too large: {width}x{height}, over {max_pixels:,} pixels")
