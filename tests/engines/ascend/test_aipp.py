"""AIPP files: the constants of the model record, and what ATC would stumble over."""

from __future__ import annotations

import re

import msgspec
import pytest

from assay.engines.ascend.aipp import KINDS, check_aipp, write_aipp
from assay.errors import BadModelError
from assay.models.record import ModelRecord
from conftest import give_colour_order


def read_entries(text: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+): (\S+)", text))


def test_the_constants_are_those_of_the_model_zoo(se_resnext50: ModelRecord) -> None:
    """As published for ResNet-50 and its kin: 255 x mean, and 1 / (255 x std)."""
    entries = read_entries(write_aipp(se_resnext50, "rgb"))
    expected = {
        "min_chn_0": 123.675,
        "min_chn_1": 116.28,
        "min_chn_2": 103.53,
        "var_reci_chn_0": 0.0171247538316637,
        "var_reci_chn_1": 0.0175070028011204,
        "var_reci_chn_2": 0.0174291938997821,
    }
    assert {name: float(entries[name]) for name in expected} == pytest.approx(expected, rel=1e-12)
    assert (entries["aipp_mode"], entries["input_format"]) == ("static", "RGB888_U8")
    assert (entries["src_image_size_w"], entries["src_image_size_h"]) == ("224", "224")


def test_the_crop_is_the_published_one(se_resnext50: ModelRecord) -> None:
    entries = read_entries(write_aipp(se_resnext50, "rgb-crop"))
    assert (entries["src_image_size_w"], entries["crop"], entries["crop_size_w"]) == ("256", "true", "224")
    assert (entries["load_start_pos_w"], entries["load_start_pos_h"]) == ("16", "16")


def test_yuv_is_converted_as_jpeg_defines_it(se_resnext50: ModelRecord) -> None:
    entries = read_entries(write_aipp(se_resnext50, "yuv"))
    matrix = [int(entries[f"matrix_r{row}c{column}"]) for row in range(3) for column in range(3)]
    assert matrix == [256, 0, 359, 256, -88, -183, 256, 454, 0]
    assert [entries[f"input_bias_{place}"] for place in range(3)] == ["0", "128", "128"]
    assert entries["input_format"] == "YUV420SP_U8"


def test_bgr_networks_have_their_channels_swapped(se_resnext50: ModelRecord) -> None:
    record = give_colour_order(se_resnext50, "BGR")
    assert read_entries(write_aipp(record, "rgb"))["rbuv_swap_switch"] == "true"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_the_check(se_resnext50: ModelRecord, kind: str) -> None:
    found = check_aipp(write_aipp(se_resnext50, kind), kind, se_resnext50)
    assert found.takes_crop(se_resnext50) == (kind == "rgb")


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("aipp_mode: static", "aipp_mode: still", "expected static or dynamic"),
        ("aipp_mode: static", "", "aipp_mode is nothing"),
        ("RGB888_U8", "RGB", "expected YUV420SP_U8, XRGB8888_U8"),
        ("min_chn_0: 123.675", "min_chn_0: 255.5", "min_chn_0 is 255.5, expected 0 to 255"),
        ("min_chn_0: 123.675", "min_chn_0\uff1a 123.675", "'\uff1a' is no ASCII character"),
        ("min_chn_0: 123.675", "min_chn_0 123.675", "expected one line `key : value`"),
        ("src_image_size_w: 256", "src_image_size_w: 5000", "expected 0 to 4096"),
        ("load_start_pos_w: 16", "load_start_pos_w: 40", "expected an end within 256"),
        ("crop: true", "crop: yes", "expected true or false"),
        ("crop: true", "cropp: true", "cropp is no key of AIPP"),
        ("aipp_op {", "aipp {", "expected aipp_op"),
    ],
)
def test_what_atc_would_stumble_over_is_refused(
    se_resnext50: ModelRecord, before: str, after: str, complaint: str
) -> None:
    text = write_aipp(se_resnext50, "rgb-crop")
    assert before in text
    with pytest.raises(BadModelError, match=complaint):
        check_aipp(text.replace(before, after), "mine.cfg", se_resnext50)


def test_odd_sizes_of_yuv_are_refused(se_resnext50: ModelRecord) -> None:
    text = write_aipp(se_resnext50, "yuv").replace("src_image_size_w: 224", "src_image_size_w: 223")
    with pytest.raises(BadModelError, match="even numbers"):
        check_aipp(text, "mine.cfg", se_resnext50)


def test_the_chip_crops_a_wide_picture_where_the_host_would(se_resnext50: ModelRecord) -> None:
    preprocessing = msgspec.structs.replace(
        se_resnext50.preprocessing,
        resize="squash",
        resize_side=None,
        resize_size=(167, 235),
        crop_size=None,
        crop_shape=(160, 224),
        std_twice=True,
    )
    tensor = msgspec.structs.replace(se_resnext50.input, height=160)
    starts = {}
    for rounding in ("modelzoo", "torchvision"):
        made = msgspec.structs.replace(preprocessing, crop_rounding=rounding)
        record = msgspec.structs.replace(se_resnext50, input=tensor, preprocessing=made)
        entries = read_entries(write_aipp(record, "rgb-crop"))
        assert (entries["crop_size_w"], entries["crop_size_h"]) == ("224", "160")
        assert float(entries["var_reci_chn_0"]) == pytest.approx(1 / (255 * 0.229**2), rel=1e-12)
        starts[rounding] = (entries["load_start_pos_w"], entries["load_start_pos_h"])
    assert starts == {"modelzoo": ("5", "3"), "torchvision": ("6", "4")}  # 5.5 and 3.5


def test_a_letterbox_cannot_be_cropped_by_the_chip(se_resnext50: ModelRecord) -> None:
    preprocessing = msgspec.structs.replace(
        se_resnext50.preprocessing,
        resize="letterbox",
        resize_side=None,
        resize_size=(256, 256),
        pad_colour=(0, 0, 0),
    )
    record = msgspec.structs.replace(se_resnext50, preprocessing=preprocessing)
    with pytest.raises(BadModelError, match="smaller than the crop"):
        write_aipp(record, "rgb-crop")


def test_fractions_of_pixels_are_refused(se_resnext50: ModelRecord) -> None:
    preprocessing = msgspec.structs.replace(se_resnext50.preprocessing, sampling="tensorflow")
    record = msgspec.structs.replace(se_resnext50, preprocessing=preprocessing)
    with pytest.raises(BadModelError, match=r"AIPP takes whole pixels, but .* 'tensorflow' makes fractions"):
        check_aipp(write_aipp(record, "rgb"), "rgb", record)
