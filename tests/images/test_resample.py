"""Every way to resample against Pillow's own whole picture."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.arrays import Images, Pixels
from assay.images import resample
from assay.images.resample import Crop, Resampler, list_resamplers, resample_crop, resample_crop_into

FILTERS = {
    name: Image.Resampling[name.upper()]
    for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
}
MOST_PIXELS = 1_500_000
needs_extension = pytest.mark.skipif("c" not in list_resamplers(), reason="there was no C compiler")


def draw_pixels(width: int, height: int, seed: int, *, harsh: bool = False) -> Pixels:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(pixels < 128, 0, 255).astype(np.uint8) if harsh else pixels


@st.composite
def draw_crops(draw: st.DrawFn) -> tuple[Pixels, Crop]:
    """A picture up to 6000 long, mostly not square, and a part of it in another size."""
    lengths = st.one_of(st.integers(1, 40), st.integers(1, 700), st.integers(1, 6000))
    width = draw(lengths)
    height = min(draw(lengths), max(1, MOST_PIXELS // width))
    if draw(st.booleans()):
        width, height = height, width
    new_width = draw(st.one_of(st.just(width), st.integers(1, 500)))
    new_height = draw(st.one_of(st.just(height), st.integers(1, 500)))
    part_width, part_height = (draw(st.integers(1, min(side, 300))) for side in (new_width, new_height))
    crop = Crop(
        new_width=new_width,
        new_height=new_height,
        left=draw(st.integers(0, new_width - part_width)),
        top=draw(st.integers(0, new_height - part_height)),
        width=part_width,
        height=part_height,
        resize_filter=draw(st.sampled_from(sorted(FILTERS))),
    )
    return draw_pixels(width, height, draw(st.integers(0, 99)), harsh=draw(st.booleans())), crop


def crop_by_pillow(pixels: Pixels, crop: Crop) -> Pixels:
    resized = Image.fromarray(pixels).resize((crop.new_width, crop.new_height), FILTERS[crop.resize_filter])
    return np.asarray(resized.crop((crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)))


@settings(max_examples=150)
@given(drawn=draw_crops())
def test_every_resampler_gives_pillows_pixels(drawn: tuple[Pixels, Crop]) -> None:
    pixels, crop = drawn
    expected = crop_by_pillow(pixels, crop)
    for resampler in list_resamplers():
        np.testing.assert_array_equal(resample_crop(pixels, crop, resampler), expected, err_msg=resampler)


@settings(max_examples=60)
@given(
    drawn=draw_crops().filter(
        lambda drawn: drawn[0].size < 300_000 and drawn[1].width * drawn[1].height < 5_000
    ),
)
def test_the_code_for_thin_pictures_gives_pillows_pixels(drawn: tuple[Pixels, Crop]) -> None:
    pixels, crop = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "MAX_PIXELS", 0)  # every picture is too large for Pillow
        found = resample_crop(pixels, crop, "pillow")
    np.testing.assert_array_equal(found, crop_by_pillow(pixels, crop))


@settings(max_examples=60)
@given(drawn=draw_crops(), bgr=st.booleans())
def test_each_plane_has_its_own_row_of_the_table(drawn: tuple[Pixels, Crop], bgr: bool) -> None:
    pixels, crop = drawn
    table = np.random.default_rng(1).standard_normal((3, 256), dtype=np.float32)
    part = crop_by_pillow(pixels, crop)
    part = part[:, :, ::-1] if bgr else part
    expected = np.stack([table[plane][part[:, :, plane]] for plane in range(3)])
    for resampler in list_resamplers():
        out = np.full((3, crop.height, crop.width), np.nan, dtype=np.float32)
        resample_crop_into(pixels, crop, table, out, bgr=bgr, resampler=resampler)
        np.testing.assert_array_equal(out, expected, err_msg=resampler)


# A picture that loses more than twice as much height as width: Pillow 13 goes down first, 12 across first.
@pytest.mark.parametrize("resampler", list_resamplers())
@pytest.mark.parametrize("installed", [True, False])
def test_both_orders_are_those_of_two_resizes_one_after_the_other(
    installed: bool, resampler: Resampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resample, "_chooses_order", lambda: installed)
    monkeypatch.setattr(resample, "MAX_PIXELS", 0)  # not Pillow's choice, but ours
    pixels = draw_pixels(300, 1200, 3)
    first = (300, 1024) if installed else (256, 1200)
    picture = Image.fromarray(pixels).resize(first, FILTERS["bilinear"])
    picture = picture.resize((256, 1024), FILTERS["bilinear"])
    crop = Crop(
        new_width=256, new_height=1024, left=16, top=400, width=224, height=224, resize_filter="bilinear"
    )
    np.testing.assert_array_equal(
        resample_crop(pixels, crop, resampler), np.asarray(picture.crop((16, 400, 240, 624)))
    )


def test_pixels_that_are_not_contiguous_are_taken() -> None:
    pixels = draw_pixels(80, 60, 4)[::2, ::-1]
    crop = Crop(new_width=40, new_height=32, left=3, top=2, width=20, height=20, resize_filter="bicubic")
    for resampler in list_resamplers():
        np.testing.assert_array_equal(
            resample_crop(pixels, crop, resampler), crop_by_pillow(np.ascontiguousarray(pixels), crop)
        )


GOOD: dict[str, Any] = {
    "pixels": np.zeros((30, 40, 3), np.uint8),
    "out": np.zeros((8, 8, 3), np.uint8),
    "table": None,
    "new_width": 20,
    "new_height": 10,
    "left": 12,
    "top": 2,
    "filter": "bilinear",
    "down_first": False,
    "bgr": False,
    "avx2": False,
}
TABLE: Images = np.zeros((3, 256), np.float32)


@needs_extension
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"left": 13}, "inside"),
        ({"top": 3}, "inside"),
        ({"left": -1}, "before"),
        ({"top": -(2**63)}, "before"),
        ({"left": 2**63 - 1}, "inside"),
        ({"new_width": 0}, "inside"),
        ({"new_height": -5}, "inside"),
        ({"new_width": 2**62}, "too large"),
        ({"filter": "nearest"}, "none of"),
        ({"pixels": np.zeros((30, 40, 4), np.uint8)}, "pixels is not"),
        ({"pixels": np.zeros((30, 40), np.uint8)}, "pixels is not"),
        ({"pixels": np.zeros((30, 40, 3), np.int8)}, "pixels is not"),
        ({"pixels": np.zeros((0, 40, 3), np.uint8)}, "pixels is empty"),
        ({"pixels": np.zeros((30, 80, 3), np.uint8)[:, ::2]}, "contiguous"),
        ({"out": np.zeros((3, 8, 8), np.float32)}, "out is not"),
        ({"out": np.zeros((0, 8, 3), np.uint8)}, "out is empty"),
        ({"table": TABLE}, "out is not float32"),
        ({"table": TABLE.astype(np.float64), "out": np.zeros((3, 8, 8), np.float32)}, "table is not"),
        ({"table": TABLE[:, :255].copy(), "out": np.zeros((3, 8, 8), np.float32)}, "table is not"),
        ({"table": TABLE.T.copy(), "out": np.zeros((3, 8, 8), np.float32)}, "table is not"),
        ({"table": TABLE, "out": np.zeros((3, 8, 8), np.int32)}, "out is not"),
    ],
)
def test_the_extension_refuses_what_it_was_not_made_for(changes: dict[str, Any], reason: str) -> None:
    from assay.images import _resample

    _resample.resample_crop(*GOOD.values())
    with pytest.raises(ValueError, match=reason):
        _resample.resample_crop(*(GOOD | changes).values())


@needs_extension
def test_the_extension_does_not_write_into_what_is_read_only() -> None:
    from assay.images import _resample

    out = np.zeros((8, 8, 3), np.uint8)
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match=r"read-only|writable"):
        _resample.resample_crop(*(GOOD | {"out": out}).values())


@needs_extension
def test_other_threads_run_while_a_picture_is_resampled() -> None:
    pixels = np.zeros((1500, 1500, 3), dtype=np.uint8)
    crop = Crop(
        new_width=256, new_height=256, left=16, top=16, width=224, height=224, resize_filter="bilinear"
    )
    begun, other_ran = threading.Event(), threading.Event()
    resampled: list[bool] = []

    def resample_until_other_ran() -> None:
        begun.set()
        for _ in range(500):
            resample_crop(pixels, crop, "c")
            resampled.append(other_ran.is_set())
            if other_ran.is_set():
                return

    interval = sys.getswitchinterval()
    sys.setswitchinterval(600)  # Python itself does not take the interpreter from a thread any more
    try:
        worker = threading.Thread(target=resample_until_other_ran)
        worker.start()
        begun.wait()
        other_ran.set()
        worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert resampled[-1], "the whole time the interpreter was held"
