from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.arrays import Pixels
from assay.errors import UndecodableImageError
from assay.images.decode import decode_image


def draw_pixels(width: int, height: int, seed: int = 0) -> Pixels:
    """Return noise over a gradient: every block of the JPEG differs, none is flat."""
    rng = np.random.default_rng(seed)
    gradient = np.add.outer(np.arange(height), np.arange(width))[..., None] * (2, 3, 1)
    return ((gradient + rng.integers(0, 60, (height, width, 3))) % 256).astype(np.uint8)


def encode(picture: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


def decode_with_pillow(encoded: bytes) -> Pixels:
    """Return what the original script works on."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def expect_reason(encoded: bytes, reason: str, **options: int) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        decode_image(encoded, **options)


PHOTOGRAPH = Image.fromarray(draw_pixels(101, 67))


@settings(max_examples=60)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    mode=st.sampled_from(["L", "RGB", "CMYK"]),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    quality=st.integers(5, 100),
    progressive=st.booleans(),
)
def test_any_jpeg_has_the_pixels_that_pillow_gives(
    width: int, height: int, mode: str, subsampling: str, quality: int, progressive: bool
) -> None:
    picture = Image.fromarray(draw_pixels(width, height)).convert(mode)
    encoded = encode(picture, subsampling=subsampling, quality=quality, progressive=progressive)
    decoded = decode_image(encoded)
    np.testing.assert_array_equal(decoded.pixels, decode_with_pillow(encoded))
    assert decoded.note == "" or mode == "CMYK"


def test_a_sound_subsampled_cmyk_jpeg_is_noted_as_that_alone() -> None:
    assert decode_image(encode(PHOTOGRAPH.convert("CMYK"), subsampling="4:2:2")).note == "4-component"


@pytest.mark.parametrize("subsampling", ["440", "411"])
def test_uncommon_subsamplings_have_the_pixels_that_pillow_gives(subsampling: str) -> None:
    encoded = simplejpeg.encode_jpeg(draw_pixels(101, 67), colorsubsampling=subsampling)
    np.testing.assert_array_equal(decode_image(encoded).pixels, decode_with_pillow(encoded))


def test_a_jpeg_whose_components_are_rgb_has_the_pixels_that_pillow_gives() -> None:
    encoded = encode(PHOTOGRAPH, keep_rgb=True)
    np.testing.assert_array_equal(decode_image(encoded).pixels, decode_with_pillow(encoded))


def test_a_ycck_jpeg_without_adobe_marker_has_the_pixels_that_pillow_gives() -> None:
    encoded = encode(PHOTOGRAPH.convert("CMYK"))
    marker = encoded.index(b"\xff\xee")
    length = int.from_bytes(encoded[marker + 2 : marker + 4], "big")
    encoded = encoded[:marker] + encoded[marker + 2 + length :]
    np.testing.assert_array_equal(decode_image(encoded).pixels, decode_with_pillow(encoded))


@pytest.mark.parametrize(
    ("image_format", "mode"),
    [
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "LA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("BMP", "RGB"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("WEBP", "RGB"),
        ("PPM", "L"),
    ],
)
def test_the_contents_decide_what_kind_of_file_it_is(image_format: str, mode: str) -> None:
    encoded = encode(PHOTOGRAPH.convert(mode), image_format)
    np.testing.assert_array_equal(decode_image(encoded).pixels, decode_with_pillow(encoded))


def test_alpha_is_dropped_not_blended() -> None:
    picture = Image.new("RGBA", (3, 2), (10, 20, 30, 0))
    np.testing.assert_array_equal(
        decode_image(encode(picture, "PNG")).pixels, np.full((2, 3, 3), (10, 20, 30))
    )


@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_exif_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = decode_image(encode(PHOTOGRAPH, exif=exif)).pixels
    assert turned.shape == (67, 101, 3)
    np.testing.assert_array_equal(turned, decode_image(encode(PHOTOGRAPH)).pixels)


def test_a_colour_profile_is_ignored() -> None:
    profile = b"\0\0\2\0" + bytes(508)
    np.testing.assert_array_equal(
        decode_image(encode(PHOTOGRAPH, icc_profile=profile)).pixels,
        decode_image(encode(PHOTOGRAPH)).pixels,
    )


def test_bytes_after_the_end_of_the_image_are_ignored() -> None:
    encoded = encode(PHOTOGRAPH)
    np.testing.assert_array_equal(
        decode_image(encoded + b"trailing bytes").pixels, decode_with_pillow(encoded)
    )


def test_the_pixels_are_the_callers_own() -> None:
    encoded = encode(PHOTOGRAPH)
    first = decode_image(encoded).pixels
    kept = first.copy()
    decode_image(encode(Image.new("RGB", PHOTOGRAPH.size, "white")))
    np.testing.assert_array_equal(first, kept)


def test_an_empty_file_is_refused() -> None:
    expect_reason(b"", "empty file")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused(progressive: bool) -> None:
    encoded = encode(PHOTOGRAPH, progressive=progressive)
    expect_reason(encoded[: len(encoded) // 2], "truncated")


def test_a_jpeg_cut_off_in_its_header_is_refused() -> None:
    expect_reason(encode(PHOTOGRAPH)[:100], ".")


def test_a_truncated_png_is_refused() -> None:
    encoded = encode(PHOTOGRAPH, "PNG")
    expect_reason(encoded[: len(encoded) // 2], "truncated")


def test_a_web_page_named_jpeg_is_refused_with_how_it_begins() -> None:
    expect_reason(b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "not an image.*<!DOCTYPE html")


def encode_16_bit_png(grey: int) -> bytes:
    """Return a 2x2 PNG of one 16-bit grey value, put together by hand from the PNG specification."""

    def make_chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    row = b"\0" + struct.pack(">HH", grey, grey)
    return (
        b"\x89PNG\r\n\x1a\n"
        + make_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0))
        + make_chunk(b"IDAT", zlib.compress(row * 2))
        + make_chunk(b"IEND", b"")
    )


def test_a_16_bit_grey_png_is_refused_instead_of_turning_white() -> None:
    encoded = encode_16_bit_png(20_000)
    assert decode_with_pillow(encoded).min() == 255  # the trap: Pillow clips every value above 255
    expect_reason(encoded, "pixel type I;16")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_values_are_refused_instead_of_clipped(mode: str) -> None:
    expect_reason(encode(Image.new(mode, (4, 4), 300), "TIFF"), f"pixel type {mode}")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_an_image_over_the_limit_is_refused(image_format: str) -> None:
    encoded = encode(PHOTOGRAPH, image_format)
    expect_reason(encoded, "too large: 101x67", max_pixels=101 * 67 - 1)
    assert decode_image(encoded, max_pixels=101 * 67).pixels.shape == (67, 101, 3)


def test_the_header_alone_is_enough_to_refuse_a_large_jpeg() -> None:
    encoded = bytearray(encode(PHOTOGRAPH))
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 5 : frame + 9] = struct.pack(">HH", 40_000, 30_000)
    expect_reason(bytes(encoded), "too large: 30000x40000")


@pytest.mark.parametrize("side", [10_000, 100_000])
def test_the_header_alone_is_enough_to_refuse_a_large_png(side: int) -> None:
    encoded = bytearray(encode(PHOTOGRAPH, "PNG"))
    encoded[16:24] = struct.pack(">II", side + 1, side)
    encoded[29:33] = struct.pack(">I", zlib.crc32(encoded[12:29]))
    expect_reason(bytes(encoded), "too large|exceeds limit")


def test_a_jpeg_corrupt_in_its_middle_has_pillows_pixels_and_a_note() -> None:
    encoded = bytearray(encode(PHOTOGRAPH))
    middle = len(encoded) // 2
    encoded[middle : middle + 2] = b"\xff\xd0"  # a restart marker that does not belong there
    decoded = decode_image(bytes(encoded))
    np.testing.assert_array_equal(decoded.pixels, decode_with_pillow(bytes(encoded)))
    assert "corrupt" in decoded.note.lower()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_corrupt_exif_causes_no_warning(image_format: str) -> None:
    # warnings are errors in these tests, so one that escaped would fail this
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\x7f\xff\xff\xff\x7f"
    encoded = encode(PHOTOGRAPH, image_format, **({} if image_format == "TIFF" else {"exif": exif}))
    assert decode_image(encoded).pixels.shape == (67, 101, 3)


def test_a_file_of_a_kind_that_pillow_half_knows_is_refused() -> None:
    encoded = bytearray(encode(PHOTOGRAPH, "DDS"))
    encoded[80:84] = struct.pack("<I", 0x18)  # the pixel format's flags
    expect_reason(bytes(encoded), ".")


SEEDS = {
    **{name: encode(PHOTOGRAPH, name) for name in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")},
    "progressive": encode(PHOTOGRAPH, progressive=True),
    "CMYK": encode(PHOTOGRAPH.convert("CMYK")),
}


@pytest.mark.filterwarnings("ignore")  # of Pillow, where this test calls it
@settings(max_examples=150)
@given(
    kind=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
    kept=st.sampled_from([1.0, 1.0, 0.9, 0.1]),
)
def test_damaged_files_have_pillows_pixels_or_a_reason(
    kind: str, changes: list[tuple[float, int]], kept: float
) -> None:
    damaged = bytearray(SEEDS[kind])
    for place, value in changes:
        damaged[int(place * place * len(damaged))] = value  # more of them in the header
    encoded = bytes(damaged[: int(kept * len(damaged))])
    try:
        pixels = decode_image(encoded, max_pixels=10**6).pixels
    except UndecodableImageError as error:
        assert str(error)
    else:
        np.testing.assert_array_equal(pixels, decode_with_pillow(encoded))
