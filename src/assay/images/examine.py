"""Examines an image file: what it is, whether it decodes, and what of it an evaluation leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from assay.errors import SourceError, UndecodableImageError
from assay.images.decode import decode_image
from assay.images.formats import name_format
from assay.images.jpeg_header import JPEG_MAGIC, find_frame, find_orientation
from assay.images.listing import LabelledImage, ReadOptions
from assay.images.preprocessed_image import OK
from assay.images.read import Patience, read_image

_SUFFIXES = {
    "JPEG": frozenset({"jpg", "jpeg", "jfif", "jpe", "mpo"}),
    "PNG": frozenset({"png"}),
    "GIF": frozenset({"gif"}),
    "BMP": frozenset({"bmp"}),
    "TIFF": frozenset({"tif", "tiff"}),
    "WEBP": frozenset({"webp"}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What an image file is.

    Args:
        source: The image.
        sha256: Of its bytes, 64 hex digits; empty where it cannot be read.
        status: `ok`, or why it cannot be scored.
        note: What was odd though it decodes; mostly empty.
        component_count: Of a JPEG: 1 for greyscale, 4 for CMYK; 0 for another kind of file.
        orientation: EXIF orientation of a JPEG, 1 to 8; 0 where it has none.
        is_misnamed: Whether its suffix says another kind of file than it is.
        source_failure: What the place that holds it answered, where it failed: nothing is known of the image.
    """

    source: LabelledImage
    sha256: str = ""
    status: str = OK
    note: str = ""
    component_count: int = 0
    orientation: int = 0
    is_misnamed: bool = False
    source_failure: SourceError | None = None


def examine_image(
    source: LabelledImage, options: ReadOptions, patience: Patience | None = None
) -> Examination:
    """Find out what the image is; it is read and decoded, as for an evaluation."""
    if source.fault:
        return Examination(source=source, status=source.fault)
    try:
        encoded = read_image(source, options, patience)
    except SourceError as error:
        return Examination(source=source, status=error.message, source_failure=error)
    except UndecodableImageError as error:
        return Examination(source=source, status=f"not decodable: {error}")
    note, status = "", OK
    try:
        note = decode_image(encoded, max_pixels=options.max_pixels).note
    except UndecodableImageError as error:
        status = f"not decodable: {error}"
    frame = find_frame(encoded) if encoded.startswith(JPEG_MAGIC) else None
    return Examination(
        source=source,
        sha256=hashlib.sha256(encoded).hexdigest(),
        status=status,
        note=note,
        component_count=frame.component_count if frame else 0,
        orientation=find_orientation(encoded) if frame else 0,
        is_misnamed=_is_misnamed(source.name, encoded),
    )


def _is_misnamed(name: str, encoded: bytes) -> bool:
    suffix = name.rpartition(".")[2].lower()
    own = _SUFFIXES.get(name_format(encoded))
    return own is not None and suffix in frozenset().union(*_SUFFIXES.values()) - own
