"""Decodes an image file's bytes to the pixels that Pillow gives."""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import simplejpeg
from PIL import ExifTags, Image

from assay.arrays import Pixels
from assay.defaults import MAX_PIXELS
from assay.errors import UndecodableImageError
from assay.images.formats import (
    PILLOW_ERRORS,
    describe_broken,
    describe_unidentified,
    find_wrong_chunk,
    name_format,
    without_warnings,
)
from assay.images.jpeg_header import (
    JPEG_MAGIC,
    count_scans,
    find_orientation,
    name_unsupported_process,
)

# What simplejpeg decodes as Pillow does, bit for bit; 4-component JPEGs come out different by 1.
_EXACT_COLOURSPACES = frozenset({"Gray", "YCbCr", "RGB"})
# No others are tried: some of Pillow's readers start other programs.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_FOREIGN_KINDS = (
    (b"\x1f\x8b", "gzip data: gunzip it"),
    (b"version https://git-lfs", "a Git LFS pointer: git lfs pull"),
    (b"\xff\x0a", "JPEG XL, not supported"),
    (b"\0\0\0\x0cJXL ", "JPEG XL, not supported"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000, not supported"),
    (b"\xff\x4f\xff\x51", "JPEG 2000, not supported"),
)
MAX_SCANS = 100  # progressive encoders write about 10, optimisers up to 60
MAX_FRAMES = 100  # are counted
STRIP_PIXELS = 2**22  # of a picture that is converted at once
MAX_COUNTED_BYTES = 2**20  # of a GIF whose frames are counted
_TURNED_ORIENTATIONS = frozenset({5, 6, 7, 8})
_ALPHA_MODES = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
_CLIPPING_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I", "F"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedImage:
    """Pixels, and what was odd about the file (empty where nothing was)."""

    pixels: Pixels
    note: str = ""


def decode_image(encoded: bytes, *, max_pixels: int = MAX_PIXELS) -> DecodedImage:
    """Decode an image file to its pixels, uint8 (height, width, 3), RGB.

    One- and three-component JPEGs go through simplejpeg, everything else through Pillow, which is the
    reference: colour profiles and EXIF rotation are ignored, alpha is dropped, of several frames the first
    is taken; the note says so. When simplejpeg meets corrupt data that Pillow tolerates, the pixels are
    Pillow's and the note says that; so it does of a PNG with a wrong checksum that Pillow does not look at.

    Args:
        encoded: A whole image file; its contents tell of which kind, not its name.
        max_pixels: Larger images are refused before they are decoded; WebP, whose decoder takes twice the
            memory of others, from half of it on.

    Raises:
        UndecodableImageError: The reason, in a few words.
    """
    _refuse_foreign_kinds(encoded)
    if not encoded.startswith(JPEG_MAGIC):
        return _decode_with_pillow(encoded, max_pixels)
    if process := name_unsupported_process(encoded):
        raise UndecodableImageError(f"unsupported JPEG process: {process}")
    _check_scans(encoded)
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
    """Read (width, height) of an image file as viewers show it, from its header, without decoding it.

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
        raise UndecodableImageError(describe_unidentified(path.read_bytes())) from error
    except PILLOW_ERRORS as error:
        raise UndecodableImageError(f"{error}".strip() or type(error).__name__) from error


def _is_exact_in_simplejpeg(encoded: bytes, max_pixels: int) -> bool:
    """Tell whether simplejpeg decodes this JPEG as Pillow does."""
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:  # damaged, or subsampled in a way it has no name for: Pillow decides
        return False
    _check_size(width, height, max_pixels)
    return colourspace in _EXACT_COLOURSPACES


def _decode_with_pillow(encoded: bytes, max_pixels: int) -> DecodedImage:
    try:
        picture = _open_quietly(io.BytesIO(encoded))
        _check_size(picture.width, picture.height, max_pixels // (2 if picture.format == "WEBP" else 1))
        if picture.mode in _CLIPPING_MODES:
            raise UndecodableImageError(
                f"unsupported pixel type {picture.mode}: conversion to 8 bits would clip it"
            )
        _refuse_gaps(picture)
        has_alpha = picture.mode in _ALPHA_MODES or "transparency" in picture.info
        picture.info.pop("transparency", None)  # alpha is dropped; converting it would only warn
        pixels = _convert(picture)
        oddities = (
            "4-component" if picture.mode == "CMYK" else "",
            _note_damage(encoded) if picture.format == "JPEG" else "",
            "alpha dropped" if has_alpha else "",
            _note_frames(picture, len(encoded)),
            _note_wrong_checksum(encoded),
        )
        return DecodedImage(pixels=pixels, note=", ".join(filter(None, oddities)))
    except PIL.UnidentifiedImageError as error:
        raise UndecodableImageError(describe_unidentified(encoded)) from error
    except Image.DecompressionBombError as error:
        raise UndecodableImageError(str(error)) from error
    except PILLOW_ERRORS as error:
        reason = f"{error}".strip() or type(error).__name__
        raise UndecodableImageError(describe_broken(encoded, reason)) from error


def _refuse_gaps(picture: Image.Image) -> None:
    """Refuse a picture whose strips or tiles leave some of it out: Pillow would leave that black."""
    covered = sum(
        (right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in getattr(picture, "tile", ())
    )
    if picture.format == "TIFF" and covered < picture.width * picture.height:
        raise UndecodableImageError("broken TIFF: its strips or tiles do not cover it")


def _note_damage(encoded: bytes) -> str:
    """What simplejpeg says of corrupt data in a 4-component JPEG: Pillow, which decodes it, says nothing.

    Of one that is subsampled in a way that simplejpeg has no name for, it says nothing either.
    """
    with suppress(ValueError):
        colourspace = simplejpeg.decode_jpeg_header(encoded)[2]
        if colourspace in {"CMYK", "YCCK"}:
            return _find_damage(encoded)
    return ""


def _find_damage(encoded: bytes) -> str:
    try:  # at an eighth of the size: all data are read, few pixels are made
        simplejpeg.decode_jpeg(encoded, "CMYK", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return f"decoder warning: {error}"
    return ""


def _convert(picture: Image.Image) -> Pixels:
    """The pixels as RGB, uint8 (height, width, 3); of a large picture strip by strip.

    Pillow's own conversion and numpy's view hold a large one five times over.
    """
    if picture.width * picture.height <= STRIP_PIXELS:
        return np.asarray(picture.convert("RGB"))
    picture.load()
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    row_count = max(1, STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, row_count):
        bottom = min(top + row_count, picture.height)
        strip = picture.crop((0, top, picture.width, bottom))
        pixels[top:bottom] = np.asarray(strip.convert("RGB"))
    return pixels


def _note_wrong_checksum(encoded: bytes) -> str:
    chunk = find_wrong_chunk(encoded) if name_format(encoded) == "PNG" else ""
    return f"decoder warning: wrong checksum in its {chunk} chunk" if chunk else ""


def _note_frames(picture: Image.Image, encoded_bytes: int) -> str:
    """Say how many frames a picture has that is decoded already; empty for one, or where others are damaged.

    Counting may take long, in a TIFF of many directories or a long GIF: then it is "several".
    """
    try:
        if picture.format == "TIFF":
            with suppress(EOFError):
                for number in range(1, MAX_FRAMES):
                    picture.seek(number)
            count = picture.tell() + 1
        elif picture.format == "GIF" and encoded_bytes > MAX_COUNTED_BYTES:
            count = MAX_FRAMES if getattr(picture, "is_animated", False) else 1
        else:
            count = getattr(picture, "n_frames", 1)
    except PILLOW_ERRORS:
        return ""
    if count < 2:
        return ""
    return f"first of {count if count < MAX_FRAMES else 'several'} frames"


def _open_quietly(source: Path | io.BytesIO) -> Image.Image:
    """Open a picture without its warnings."""
    with without_warnings():
        return Image.open(source, formats=_FORMATS)


def _check_scans(encoded: bytes) -> None:
    """Refuse a JPEG of more scans than any encoder writes: each takes as long as the whole picture."""
    count = count_scans(encoded)
    if count > MAX_SCANS:
        raise UndecodableImageError(f"too many scans: {count:,}, over {MAX_SCANS}")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UndecodableImageError(f"too large: {width}x{height}, over {max_pixels:,} pixels")
