"""Cases 1 to 32: what image files hold. Each ends as ok or as a reason, and never stops another."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from assay.errors import UndecodableImageError
from assay.images import decode
from assay.images.decode import decode_image
from assay.images.listing import LabelledImage, ReadOptions
from assay.images.prepare import preprocess_image
from assay.images.preprocessed_image import PreprocessedImage
from assay.models.record import ModelRecord

RNG = np.random.default_rng(7)
PHOTOGRAPH = Image.fromarray(RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize((320, 240))
Preprocess = Callable[..., PreprocessedImage]


def encode(picture: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


JPEG = encode(PHOTOGRAPH, quality=90)
OPTIONS = ReadOptions()


@pytest.fixture
def preprocess(se_resnext50: ModelRecord) -> Preprocess:
    def preprocess(encoded: bytes, options: ReadOptions = OPTIONS) -> PreprocessedImage:
        source = LabelledImage(
            relative_path="a.JPEG", label=0, size_bytes=len(encoded), read_bytes=lambda: encoded
        )
        return preprocess_image(source, se_resnext50, options)

    return preprocess


def refuse(encoded: bytes) -> str:
    with pytest.raises(UndecodableImageError) as caught:
        decode_image(encoded)
    return str(caught.value)


def pillow_pixels(encoded: bytes) -> object:
    return pytest.approx(np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")))


def find_frame(encoded: bytes) -> int:
    """Return where the baseline start-of-frame segment is."""
    return encoded.index(b"\xff\xc0")


def test_case_01_an_empty_file(preprocess: Preprocess) -> None:
    assert preprocess(b"").status == "not decodable: empty file"


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_case_02_a_truncated_jpeg(kept: float) -> None:
    assert "truncated" in refuse(JPEG[: int(kept * len(JPEG))])


def test_case_03_a_jpeg_without_its_end_marker() -> None:
    assert "truncated" in refuse(JPEG[:-2])


def test_case_04_a_jpeg_truncated_in_its_header() -> None:
    assert refuse(JPEG[:100])


def test_case_05_a_truncated_progressive_jpeg() -> None:
    encoded = encode(PHOTOGRAPH, progressive=True)
    assert "truncated" in refuse(encoded[: len(encoded) // 2])


def test_case_06_corrupt_bytes_in_the_scan(preprocess: Preprocess) -> None:
    middle = len(JPEG) // 2
    encoded = JPEG[:middle] + bytes(300) + JPEG[middle + 300 :]
    decoded = decode_image(encoded)
    assert "decoder warning" in decoded.note
    assert decoded.pixels == pillow_pixels(encoded)
    assert preprocess(encoded).status == "ok"


def test_case_07_garbage_behind_the_end(preprocess: Preprocess) -> None:
    done = preprocess(JPEG + b"garbage" * 100)
    assert (done.status, done.note) == ("ok", "")


def test_case_08_garbage_before_the_beginning() -> None:
    assert refuse(b"garbage" + JPEG).startswith("not an image: begins with b'garbage")
    assert refuse(b"garbage" + JPEG).endswith("; a JPEG begins at byte 7")


def test_case_09_a_web_page_named_jpeg() -> None:
    assert refuse(b"<!DOCTYPE html><html>") == "not an image: begins with b'<!DOCTYPE html><'"


def test_case_10_a_gzipped_jpeg() -> None:
    assert refuse(gzip.compress(JPEG)) == "gzip data: gunzip it"


def break_chunk(png: bytes, kind: bytes) -> bytes:
    """Change a byte of the checksum of a PNG's first chunk of that kind."""
    start = png.index(kind) - 4
    checksum = start + 8 + int.from_bytes(png[start : start + 4], "big")
    return png[:checksum] + bytes([png[checksum] ^ 255]) + png[checksum + 1 :]


PNG = encode(PHOTOGRAPH, "PNG", icc_profile=bytes(100))


@pytest.mark.parametrize("kind", [b"IHDR", b"iCCP"])
def test_case_11_a_png_with_a_wrong_checksum_is_a_broken_png(kind: bytes) -> None:
    assert refuse(break_chunk(PNG, kind)) == f"broken PNG: wrong checksum in its {kind.decode()} chunk"


@pytest.mark.parametrize("kind", [b"IDAT", b"IEND"])
def test_case_11_a_wrong_checksum_that_pillow_passes_over_is_noted(kind: bytes) -> None:
    encoded = break_chunk(PNG, kind)
    decoded = decode_image(encoded)
    assert decoded.pixels == pillow_pixels(encoded)
    assert decoded.note == f"decoder warning: wrong checksum in its {kind.decode()} chunk"


@pytest.mark.parametrize("kept", [20, 40, 100, 0.5])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG"])
def test_case_11_a_broken_file_is_named_by_its_format(image_format: str, kept: float) -> None:
    encoded = encode(PHOTOGRAPH, image_format)
    broken = encoded[: int(kept * len(encoded)) if kept < 1 else int(kept)]
    reason = refuse(broken)
    assert reason.startswith(f"broken {image_format}: ")
    assert len(reason) > len(f"broken {image_format}: ") + 5


def test_case_11_a_webp_cut_short_says_by_how_much() -> None:
    encoded = encode(PHOTOGRAPH, "WEBP")
    assert refuse(encoded[:100]) == f"broken WEBP: cut short: 100 of {len(encoded):,} bytes"


def test_case_11_a_tiff_whose_strips_leave_some_of_it_out_is_broken() -> None:
    encoded = encode(PHOTOGRAPH, "TIFF")
    height = struct.pack("<HHI", 257, 4, 1)  # ImageLength; Pillow writes it as one LONG
    assert encoded.count(height) == 1
    place = encoded.index(height) + len(height)
    taller = encoded[:place] + struct.pack("<I", 2 * PHOTOGRAPH.height) + encoded[place + 4 :]
    assert refuse(taller) == "broken TIFF: its strips or tiles do not cover it"


def test_case_11_other_riff_files_are_no_images() -> None:
    assert refuse(b"RIFF\x24\0\0\0WAVEfmt " + bytes(40)).startswith("not an image: begins with b'RIFF")


def test_case_11_a_png_named_jpeg(preprocess: Preprocess) -> None:
    assert preprocess(encode(PHOTOGRAPH, "PNG")).status == "ok"


def test_case_12_a_cmyk_jpeg_has_pillows_pixels() -> None:
    encoded = encode(PHOTOGRAPH.convert("CMYK"))
    decoded = decode_image(encoded)
    assert decoded.pixels == pillow_pixels(encoded)
    assert decoded.note == "4-component"


def test_case_12_corrupt_bytes_in_a_cmyk_jpeg_are_noted() -> None:
    encoded = encode(PHOTOGRAPH.convert("CMYK"))
    decoded = decode_image(encoded[: len(encoded) // 2] + b"\xff\xd9")
    assert decoded.note.startswith("4-component, decoder warning: Corrupt JPEG data")


def test_case_13_a_cmyk_jpeg_without_adobe_marker_has_pillows_pixels() -> None:
    encoded = encode(PHOTOGRAPH.convert("CMYK"))
    start = encoded.index(b"\xff\xee")
    length = int.from_bytes(encoded[start + 2 : start + 4], "big")
    encoded = encoded[:start] + encoded[start + 2 + length :]
    decoded = decode_image(encoded)
    assert decoded.pixels == pillow_pixels(encoded)
    assert decoded.note == "4-component"


def test_case_14_a_greyscale_jpeg() -> None:
    decoded = decode_image(encode(PHOTOGRAPH.convert("L")))
    assert decoded.note == ""
    assert (decoded.pixels[..., 0] == decoded.pixels[..., 2]).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_case_15_alpha_is_dropped_and_noted(mode: str) -> None:
    picture = PHOTOGRAPH.convert(mode)
    picture.putalpha(Image.new("L", picture.size, 3))
    decoded = decode_image(encode(picture, "PNG"))
    assert decoded.note == "alpha dropped"
    expected = np.asarray(PHOTOGRAPH.convert("L" if mode == "LA" else "RGB").convert("RGB"))
    np.testing.assert_array_equal(decoded.pixels, expected)


def test_case_15_a_palette_with_transparency() -> None:
    picture = Image.new("P", (30, 30), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    decoded = decode_image(encode(picture, "PNG", transparency=1))
    assert decoded.note == "alpha dropped"
    assert decoded.pixels[0, 0].tolist() == [10, 20, 30]


def test_case_16_16_bit_grey_is_refused_never_white() -> None:
    picture = Image.fromarray(np.full((30, 30), 30000, dtype=np.uint16))
    assert "would clip it" in refuse(encode(picture, "PNG"))


def test_case_17_16_bit_colour_png_has_its_high_bytes() -> None:
    row = b"\0" + struct.pack(">3H", 0x1234, 0x5678, 0x9ABC) * 2
    encoded = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [
            (b"IHDR", struct.pack(">2I5B", 2, 2, 16, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(row * 2)),
            (b"IEND", b""),
        ]
    )
    assert decode_image(encoded).pixels[0, 0].tolist() == [0x12, 0x56, 0x9A]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_case_18_float_and_32_bit_pixels_are_refused(dtype: type) -> None:
    assert "unsupported pixel type" in refuse(encode(Image.fromarray(np.ones((30, 30), dtype)), "TIFF"))


def test_case_19_one_bit_is_ok(preprocess: Preprocess) -> None:
    assert preprocess(encode(PHOTOGRAPH.convert("1"), "PNG")).status == "ok"


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_case_19_of_several_frames_the_first_is_taken_and_noted(image_format: str) -> None:
    frames = [Image.new("RGB", (30, 30), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    encoded = encode(frames[0], image_format, save_all=True, append_images=frames[1:], **lossless)
    decoded = decode_image(encoded)
    assert decoded.note == "first of 2 frames"
    assert decoded.pixels[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_case_20_exif_orientation_is_ignored_and_noted(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encode(PHOTOGRAPH, quality=90, exif=exif))
    np.testing.assert_array_equal(decoded.pixels, decode_image(JPEG).pixels)
    assert decoded.note == f"EXIF orientation {orientation} ignored"


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0" + b"\xff" * 50, b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM"]
)
def test_case_21_corrupt_exif_is_ignored_without_a_warning(preprocess: Preprocess, exif: bytes) -> None:
    done = preprocess(encode(PHOTOGRAPH, exif=exif))
    assert (done.status, done.note) == ("ok", "")


def test_case_21_huge_metadata_is_ignored(preprocess: Preprocess) -> None:
    assert preprocess(encode(PHOTOGRAPH, icc_profile=b"x" * 300_000)).status == "ok"


def test_case_22_a_colour_profile_is_ignored() -> None:
    decoded = decode_image(encode(PHOTOGRAPH, quality=90, icc_profile=b"profile"))
    np.testing.assert_array_equal(decoded.pixels, decode_image(JPEG).pixels)


def test_case_23_a_height_told_at_the_end() -> None:
    place = find_frame(JPEG) + 5
    assert refuse(JPEG[:place] + b"\0\0" + JPEG[place + 2 :]).endswith("height 0 in its header")


@pytest.mark.parametrize(("marker", "process"), [(0xC3, "lossless"), (0xC9, "arithmetic coding")])
def test_case_23_other_jpeg_processes(marker: int, process: str) -> None:
    place = find_frame(JPEG) + 1
    encoded = JPEG[:place] + bytes([marker]) + JPEG[place + 1 :]
    assert refuse(encoded) == f"unsupported JPEG process: {process}"


def test_case_23_12_bit_jpeg() -> None:
    place = find_frame(JPEG) + 4
    assert refuse(JPEG[:place] + b"\x0c" + JPEG[place + 1 :]) == "unsupported JPEG process: 12 bits"


def test_case_24_a_decompression_bomb_is_told_by_its_header(preprocess: Preprocess) -> None:
    place = find_frame(JPEG) + 5
    encoded = JPEG[:place] + struct.pack(">2H", 60000, 60000) + JPEG[place + 4 :]
    assert preprocess(encoded).status == "not decodable: too large: 60000x60000, over 100,000,000 pixels"


def test_case_24_the_limit_can_be_moved(preprocess: Preprocess) -> None:
    assert "over 1,000 pixels" in preprocess(JPEG, ReadOptions(max_pixels=1000)).status


def test_case_25_a_png_whose_text_is_a_bomb() -> None:
    encoded = encode(PHOTOGRAPH, "PNG")
    body = b"Comment\0\0" + zlib.compress(bytes(80 * 2**20))
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    assert "Decompressed data too large" in refuse(encoded[:33] + chunk + encoded[33:])


def test_case_26_one_pixel(preprocess: Preprocess) -> None:
    assert preprocess(encode(Image.new("RGB", (1, 1)), "PNG")).status == "ok"


@pytest.mark.parametrize("size", [(3, 5000), (1, 65500), (5000, 3)])
def test_case_27_long_and_thin(preprocess: Preprocess, size: tuple[int, int]) -> None:
    assert preprocess(encode(Image.new("L", size))).status == "ok"


def test_case_28_a_short_side_that_is_right_already_is_not_resampled(preprocess: Preprocess) -> None:
    pixels = RNG.integers(0, 256, (256, 300, 3), dtype=np.uint8)
    done = preprocess(encode(Image.fromarray(pixels), "PNG"))
    mean, std = np.array([0.485, 0.456, 0.406], "f4"), np.array([0.229, 0.224, 0.225], "f4")
    crop = pixels[16 : 16 + 224, 38 : 38 + 224].astype(np.float32)
    np.testing.assert_array_equal(done.image, ((crop / np.float32(255) - mean) / std).transpose(2, 0, 1))


@pytest.mark.parametrize("side", [1, 100, 224, 255])
def test_case_29_small_images_are_enlarged_not_padded(preprocess: Preprocess, side: int) -> None:
    done = preprocess(encode(Image.new("RGB", (side, side), (200, 100, 50)), "PNG"))
    assert done.image is not None
    assert done.image.shape == (3, 224, 224)
    assert np.ptp(done.image, axis=(1, 2)).tolist() == [0, 0, 0]


def test_case_30_a_black_image(preprocess: Preprocess) -> None:
    assert preprocess(encode(Image.new("RGB", (300, 300)))).status == "ok"


def test_case_31_the_same_bytes_twice_are_two_images(preprocess: Preprocess) -> None:
    first, second = preprocess(JPEG), preprocess(JPEG)
    np.testing.assert_array_equal(first.image, second.image)
    assert first.status == second.status == "ok"


@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"\0\0\0\x18ftypheic", "HEIF, not supported"),
        (b"\0\0\0\x1cftypavif", "AVIF, not supported"),
        (b"\xff\x0a", "JPEG XL, not supported"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000, not supported"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer: git lfs pull"),
    ],
)
def test_case_32_other_kinds_of_image_are_named(begin: bytes, reason: str) -> None:
    assert refuse(begin + bytes(100)) == reason


@pytest.mark.parametrize("mode", ["P", "L", "LA", "RGBA", "CMYK", "1"])
def test_a_large_picture_has_the_same_pixels_in_strips(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.radial_gradient("L").resize((37, 53)).convert("RGB").convert(mode)
    encoded = io.BytesIO()
    picture.save(encoded, "TIFF" if mode == "CMYK" else "PNG")
    whole = decode_image(encoded.getvalue()).pixels
    monkeypatch.setattr(decode, "STRIP_PIXELS", 100)
    assert (decode_image(encoded.getvalue()).pixels == whole).all()


def test_webp_may_have_half_of_the_pixels() -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (20, 10)).save(encoded, "WEBP")
    assert decode_image(encoded.getvalue(), max_pixels=400).pixels.shape == (10, 20, 3)
    with pytest.raises(UndecodableImageError, match="20x10, over 199 pixels"):
        decode_image(encoded.getvalue(), max_pixels=399)
