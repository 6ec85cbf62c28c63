"""What a JPEG's header says, against Pillow's reading of it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from assay.images.jpeg_header import find_frame, find_orientation


def test_orientation_and_frame_are_those_that_pillow_reads(golden: Path) -> None:
    orientations = set()
    for path in sorted((golden / "images").iterdir()):
        encoded = path.read_bytes()
        with Image.open(path) as picture:
            expected = picture.getexif().get(0x0112, 0)
            frame = find_frame(encoded)
            assert frame is not None
            assert (frame.width, frame.height) == picture.size
            assert frame.component_count == len(picture.getbands())
        assert find_orientation(encoded) == expected
        orientations.add(expected)
    assert len(orientations) > 1


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("orientation", range(10))
def test_any_orientation_in_either_byte_order(orientation: int, order: str) -> None:
    exif = Image.Exif()
    exif.endian = "<" if order == "little" else ">"
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "JPEG", exif=exif)
    assert find_orientation(buffer.getvalue()) == (orientation if 1 <= orientation <= 8 else 0)
