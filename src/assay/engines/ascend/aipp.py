"""AIPP files: the chip's own preprocessing, written from a model record and checked before ATC sees them.

The chip swaps channels, crops, converts colours and then computes, for every channel of the model,
`(value - mean_chn - min_chn) * var_reci_chn` in float16 (CANN's ATC manual, AIPP).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from assay.errors import BadModelError, quote
from assay.models.preprocessing import Preprocessing, compute_crop_start
from assay.models.record import ModelRecord

KINDS = ("rgb", "rgb-crop", "yuv")
INPUT_FORMATS = ("YUV420SP_U8", "XRGB8888_U8", "RGB888_U8", "YUV400_U8")
# JPEG's full-range YUV to RGB; the biases are taken from the values first.
JPEG_YUV_TO_RGB = ((256, 0, 359), (256, -88, -183), (256, 454, 0))
JPEG_YUV_BIAS = (0, 128, 128)
_LINE = re.compile(r"^\s*([a-z_0-9]+)\s*:\s*(\S+)\s*$")
_BOOLEANS = frozenset({"true", "false"})


def write_aipp(record: ModelRecord, kind: str) -> str:
    """Return the AIPP file for a record's preprocessing.

    `rgb` takes RGB pixels of the crop's size, `rgb-crop` of the resized square, which the chip crops, and
    `yuv` YUV420SP (NV12) of the crop's size, as the chip's decoder gives them. With any of them the compiled
    model takes uint8, channels last.

    Args:
        record: Its sizes, mean, std, scale and colour order.
        kind: One of `KINDS`.

    Raises:
        BadModelError: The record's preprocessing is more than such a file can say.
    """
    preprocessing = record.preprocessing
    if record.input.channels != 3:
        raise BadModelError(
            f"aipp={kind}: assay writes AIPP files for RGB or BGR inputs",
            hint="write one by hand and give its path: aipp=FILE",
        )
    height, width = record.input.height, record.input.width
    if kind == "rgb-crop":
        height, width = _find_resized_size(preprocessing)
    lines = ["aipp_mode: static", "related_input_rank: 0"]
    lines.append(f"input_format: {'YUV420SP_U8' if kind == 'yuv' else 'RGB888_U8'}")
    lines += [f"src_image_size_w: {width}", f"src_image_size_h: {height}"]
    if kind == "rgb-crop":
        lines.append("crop: true")
        for axis, whole, kept in (("w", width, record.input.width), ("h", height, record.input.height)):
            start = compute_crop_start(whole, kept, preprocessing.crop_rounding)
            lines += [f"load_start_pos_{axis}: {start}", f"crop_size_{axis}: {kept}"]
    if kind == "yuv":
        lines += ["csc_switch: true", "rbuv_swap_switch: false"]
        rows = JPEG_YUV_TO_RGB if record.input.colour_order == "RGB" else JPEG_YUV_TO_RGB[::-1]
        lines += [f"matrix_r{r}c{c}: {value}" for r, row in enumerate(rows) for c, value in enumerate(row)]
        lines += [f"input_bias_{place}: {value}" for place, value in enumerate(JPEG_YUV_BIAS)]
    elif record.input.colour_order == "BGR":
        lines.append("rbuv_swap_switch: true")
    scale = preprocessing.pixel_scale
    lines += [f"min_chn_{place}: {scale * mean:.15g}" for place, mean in enumerate(preprocessing.mean)]
    divisors = [std * std if preprocessing.std_twice else std for std in preprocessing.std]
    lines += [f"var_reci_chn_{place}: {1 / (scale * divisor):.15g}" for place, divisor in enumerate(divisors)]
    body = "\n".join(f"    {line}" for line in lines)
    return f"aipp_op {{\n{body}\n}}\n"


def _find_resized_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """(height, width) of what the chip crops: of the resized picture the host keeps that centre."""
    side = preprocessing.resize_side
    height, width = preprocessing.resize_size or (side or 0, side or 0)
    kept_height, kept_width = preprocessing.crop or (height, width)
    if preprocessing.resize in ("letterbox", "none") or height < kept_height or width < kept_width:
        raise BadModelError(
            "aipp=rgb-crop: the resized picture can be smaller than the crop, or of any size",
            hint="use aipp=rgb: the host crops then",
        )
    return height, width


@dataclass(frozen=True, kw_only=True)
class AippInput:
    """What a compiled model with AIPP takes: pixels in this format and of this size."""

    input_format: str
    width: int
    height: int
    is_cropped: bool

    def takes_crop(self, record: ModelRecord) -> bool:
        """Whether it takes RGB pixels of just the network's size."""
        fits = (self.width, self.height) in {(record.input.width, record.input.height), (0, 0)}
        return self.input_format == "RGB888_U8" and fits and not self.is_cropped


def check_aipp(text: str, origin: str, record: ModelRecord) -> AippInput:
    """What an AIPP file makes the model take, after checking what ATC would stumble over.

    Raises:
        BadModelError: Characters that are no ASCII (a full-width colon, say), a line that is no
            `key : value`, a value out of its range, or sizes that do not fit the record; or the record makes
            fractions of pixels.
    """
    if not record.preprocessing.makes_pixels:
        raise BadModelError(
            f"AIPP file {origin}: AIPP takes whole pixels, but preprocessing.sampling = "
            f"{record.preprocessing.sampling!r} makes fractions of them",
            hint="compile without AIPP: the host normalises then",
        )
    entries = _parse(text, origin)
    if entries.get("aipp_mode") not in {"static", "dynamic"}:
        raise _refuse(origin, "aipp_mode", entries.get("aipp_mode", "nothing"), "static or dynamic")
    input_format = entries.get("input_format", "nothing")
    if input_format not in INPUT_FORMATS:
        raise _refuse(origin, "input_format", input_format, ", ".join(INPUT_FORMATS))
    for key, value in entries.items():
        _check_value(key, value, origin)
    width, height = (int(entries.get(f"src_image_size_{axis}", "0")) for axis in "wh")
    is_cropped = entries.get("crop", "false") == "true"
    if input_format == "YUV420SP_U8" and (width % 2 or height % 2):
        raise _refuse(origin, "src_image_size", f"{width}x{height}", "even numbers for YUV420SP_U8")
    if is_cropped:
        _check_crop(entries, (width, height), origin, record)
    return AippInput(input_format=input_format, width=width, height=height, is_cropped=is_cropped)


def _parse(text: str, origin: str) -> dict[str, str]:
    foreign = next((character for character in text if not character.isascii()), "")
    if foreign:
        line = text[: text.index(foreign)].count("\n") + 1
        raise BadModelError(
            f"AIPP file {origin}, line {line}: {quote(foreign)} is no ASCII character",
            hint="write it again: ATC reads only ASCII, and a full-width colon looks like one",
        )
    body = re.sub(r"#.*", "", text)
    match = re.fullmatch(r"\s*aipp_op\s*\{(.*)\}\s*", body, re.DOTALL)
    if match is None:
        raise BadModelError(f"AIPP file {origin}: expected aipp_op {{ key : value … }}, once")
    entries: dict[str, str] = {}
    for line in filter(str.strip, match.group(1).splitlines()):
        entry = _LINE.match(line)
        if entry is None or entry.group(1) in entries:
            raise BadModelError(
                f"AIPP file {origin}: expected one line `key : value`, found {quote(line.strip())}"
            )
        entries[entry.group(1)] = entry.group(2)
    return entries


def _check_value(key: str, value: str, origin: str) -> None:
    """Refuse a value out of the range that the manual gives for its key."""
    limits = next((limits for pattern, limits in _LIMITS if re.fullmatch(pattern, key)), None)
    if key in {"aipp_mode", "input_format"}:
        return
    if key in {"crop", "padding", "csc_switch", "rbuv_swap_switch", "ax_swap_switch"}:
        if value not in _BOOLEANS:
            raise _refuse(origin, key, value, "true or false")
        return
    if limits is None:
        raise BadModelError(f"AIPP file {origin}: {key} is no key of AIPP")
    low, high, is_whole = limits
    try:
        number = int(value) if is_whole else float(value)
    except ValueError:
        raise _refuse(origin, key, value, "a whole number" if is_whole else "a number") from None
    if not low <= number <= high:
        raise _refuse(origin, key, value, f"{low:g} to {high:g}")


_LIMITS: tuple[tuple[str, tuple[float, float, bool]], ...] = (
    (r"related_input_rank", (0, 100, True)),
    (r"src_image_size_w", (0, 4096, True)),
    (r"src_image_size_h", (0, 4096, True)),
    (r"load_start_pos_[wh]", (0, 4095, True)),
    (r"crop_size_[wh]", (0, 4096, True)),
    (r"(left|right|top|bottom)_padding_size", (0, 32, True)),
    (r"padding_value", (0, 255, True)),
    (r"matrix_r[0-2]c[0-2]", (-32768, 32767, True)),
    (r"(input|output)_bias_[0-2]", (0, 255, True)),
    (r"mean_chn_[0-3]", (0, 255, True)),
    (r"min_chn_[0-3]", (0, 255, False)),
    (r"var_reci_chn_[0-3]", (-65504, 65504, False)),
)


def _check_crop(entries: dict[str, str], size: tuple[int, int], origin: str, record: ModelRecord) -> None:
    is_yuv = entries["input_format"] == "YUV420SP_U8"
    network = (record.input.width, record.input.height)
    for axis, whole, own in zip("wh", size, network, strict=True):
        start = int(entries.get(f"load_start_pos_{axis}", "0"))
        crop = int(entries.get(f"crop_size_{axis}", "0")) or own
        if start + crop > whole:
            raise _refuse(origin, f"crop_size_{axis}", f"{crop} from {start} on", f"an end within {whole}")
        if is_yuv and start % 2:
            raise _refuse(origin, f"load_start_pos_{axis}", f"{start}", "an even number for YUV420SP_U8")


def _refuse(origin: str, key: str, found: str, expected: str) -> BadModelError:
    return BadModelError(f"AIPP file {origin}: {key} is {found}, expected {expected}")
