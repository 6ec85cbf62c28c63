"""Feeds damaged images to the decoder by coverage: any error but our own is a find.

By hand, for as long as you like: python tests/fuzz/fuzz_images.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import io
from pathlib import Path

import atheris
from watch import fuzz

with atheris.instrument_imports(include=["assay", "PIL"]):
    from PIL import Image

    from assay.errors import UndecodableImageError
    from assay.images.decode import decode_image
    from assay.images.examine import examine_image
    from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage

MAX_PIXELS = 1_000_000


def decode(encoded: bytes) -> None:
    image = LabelledImage(relative_path="a.JPEG", size_bytes=len(encoded), read_bytes=lambda: encoded)
    if len(encoded) < 4096:  # what else doctor looks at
        examine_image(image, DEFAULT_READ_OPTIONS)
    pixels = decode_image(encoded, max_pixels=MAX_PIXELS).pixels
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3


def write_seeds(folder: Path) -> None:
    """Write small images of every kind, to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.radial_gradient("L").resize((24, 16))
    kinds = [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1")]
    kinds += [
        ("GIF", "P"),
        ("BMP", "RGB"),
        ("TIFF", "RGB"),
        ("TIFF", "CMYK"),
        ("WEBP", "RGB"),
        ("PPM", "RGB"),
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    for image_format, mode in kinds:
        buffer = io.BytesIO()
        extra = {"exif": exif} if image_format == "JPEG" else {}
        picture.convert(mode).save(buffer, image_format, **extra)
        (folder / f"{image_format}_{mode}").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    fuzz(decode, (UndecodableImageError,), write_seeds)
