"""The model record of a classification folder of Ascend's ModelZoo, evaluated as its scripts do."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterator

from assay.errors import BadModelError
from assay.models.preprocessing import Preprocessing, Resize, ResizeFilter, Sampling
from assay.models.published.refusals import refuse_unknown, refuse_unsayable
from assay.models.record import (
    ONNX_ONLY,
    InputTensor,
    ModelRecord,
    OutputTensor,
    PublishedAccuracy,
    PublishedThroughput,
)
from assay.models.tables.read import AscendModel, read_ascend_models

_CLASS_COUNTS = {"ImageNet": 1000, "CIFAR-10": 10, "CIFAR-100": 100}
_SHORT = re.compile(r"short (\d+)(?: \((?:\w+, )?(?:crop_pct [\d.]+|floor [\d./]+)\))?")
_SQUASH = re.compile(r"squash (\d+)x(\d+)")
_AS_IT_IS = re.compile(r"none \(CIFAR-\d+ (\d+)x(\d+)\)")
_CROP = re.compile(r"(\d+)|(?:256 then )?AIPP (\d+) at \(16,16\)")  # of 256, the centre 224 starts at 16
_FILTERS: dict[str, tuple[Sampling, ResizeFilter]] = {
    "PIL bilinear": ("pillow", "bilinear"),
    "PIL bilinear on cv2-decoded image": ("pillow", "bilinear"),
    "timm bilinear": ("pillow", "bilinear"),
    "PIL bicubic": ("pillow", "bicubic"),
    "timm bicubic": ("pillow", "bicubic"),
    "cv2 INTER_LINEAR": ("opencv", "bilinear"),
    "cv2 INTER_CUBIC": ("opencv", "bicubic"),
    "none": ("pillow", "bilinear"),  # CIFAR's pictures have the network's size, and nothing is resized
}
_CONSTANTS = re.compile(r"([\d.,]+) ?\| ?([\d.,]+)(?: \(.*\))?")
_FLIPPED = "BGR (flipped after RGB normalising)"


def make_ascend_record(wanted: str) -> ModelRecord:
    """The record of a folder, by its name; its path's end where two have the same name.

    The ONNX file that the folder's script exports takes normalised images; where AIPP normalises on the
    chip, it does so in front of that file.

    Args:
        wanted: The name without "ascend/".

    Raises:
        BadModelError: There is no such folder, or what its scripts do cannot be said in a record.
    """
    row = _find_row(wanted)
    name = name_ascend_record(row)
    if row.dataset not in _CLASS_COUNTS:
        raise _refuse(row, "dataset", row.dataset)
    if re.search("argmax inside", row.note):
        raise _refuse(row, "output", "the class, not the scores: ArgMax is inside")
    if row.onnx_input == "inner_tokens":
        raise _refuse(row, "input", "inner_tokens, which the host computes with a part of the network")
    if row.file.startswith("float truncated"):
        raise _refuse(row, "file", row.file)
    preprocessing = _make_preprocessing(row)
    height, width = preprocessing.find_output_shape() or (0, 0)
    _check_shape(row, height, width)
    is_imagenet = row.dataset == "ImageNet"
    return ModelRecord(
        schema_version=1,
        name=name,
        architecture=ONNX_ONLY,
        input=InputTensor(
            name=row.onnx_input,
            channels=3,
            height=height,
            width=width,
            colour_order="BGR" if row.colour_order in ("BGR", _FLIPPED) else "RGB",
        ),
        preprocessing=preprocessing,
        output=OutputTensor(name=row.onnx_output, class_count=_CLASS_COUNTS[row.dataset]),
        published_accuracy=tuple(_list_accuracies(row)) if is_imagenet else (),
        published_throughput=tuple(_list_throughputs(row)),
    )


def name_ascend_record(row: AscendModel) -> str:
    """The name that a record of this folder has."""
    top = f"{row.folder.partition('/')[0]}/" if _count_names()[row.model] > 1 else ""
    return f"ascend/{top}{row.model}"


@functools.cache
def _count_names() -> Counter[str]:
    return Counter(row.model for row in read_ascend_models())


def _find_row(wanted: str) -> AscendModel:
    rows = {name_ascend_record(row).removeprefix("ascend/"): row for row in read_ascend_models()}
    by_name = {name.lower(): row for name, row in rows.items()}
    by_path = {row.folder.lower(): row for row in rows.values()}
    if row := by_name.get(wanted.lower()) or by_path.get(wanted.lower()):
        return row
    raise refuse_unknown("ascend", wanted, rows)


def _make_preprocessing(row: AscendModel) -> Preprocessing:
    """What the folder's scripts do to a picture, before the ONNX file.

    Raises:
        BadModelError: The table's words do not say it exactly.
    """
    if row.filter not in _FILTERS:
        raise _refuse(row, "filter", row.filter)
    sampling, resize_filter = _FILTERS[row.filter]
    resize, side, target = _read_resize(row)
    scale, mean, std = _read_constants(row)
    return Preprocessing(
        resize=resize,
        resize_side=side,
        resize_size=target,
        resize_filter=resize_filter,
        sampling=sampling,
        crop_size=_read_crop(row),
        crop_rounding="modelzoo" if row.crop_rounding == "floor" else "torchvision",
        pixel_scale=scale,
        mean=mean,
        std=std,
        arithmetic="fused" if row.normalised_in.startswith("host, (x-255m)/(255s)") else "divide",
    )


def _read_resize(row: AscendModel) -> tuple[Resize, int | None, tuple[int, int] | None]:
    if found := _SHORT.fullmatch(row.resize):
        return "short side", int(found[1]), None
    if found := _SQUASH.fullmatch(row.resize) or _AS_IT_IS.fullmatch(row.resize):
        return "squash", None, (int(found[1]), int(found[2]))
    raise _refuse(row, "resize", row.resize)


def _read_crop(row: AscendModel) -> int | None:
    if row.crop == "none":
        return None
    found = _CROP.fullmatch(row.crop)
    if not found:
        raise _refuse(row, "crop", row.crop)
    if row.crop_rounding not in ("round", "floor", "round+16", "16"):
        raise _refuse(row, "crop rounding", row.crop_rounding)
    return int(found[1] or found[2])


def _read_constants(row: AscendModel) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """What pixels are divided by, mean and std, in the order of the network's channels."""
    found = _CONSTANTS.fullmatch(row.mean_std)
    if not found:
        raise _refuse(row, "mean and std", row.mean_std)
    mean, std = (tuple(map(float, text.split(","))) for text in found.groups())
    if row.colour_order == _FLIPPED:
        mean, std = mean[::-1], std[::-1]
    is_of_pixels = max(mean) > 1 or "(0..255)" in row.mean_std
    return 1.0 if is_of_pixels else 255.0, mean, std


def _check_shape(row: AscendModel, height: int, width: int) -> None:
    sizes = row.input_shape.split(",")[-2:]
    if all(size.isdigit() for size in sizes) and sizes != [str(height), str(width)]:
        raise _refuse(row, "input shape", f"{row.input_shape}, but its preprocessing makes {height}x{width}")


def _refuse(row: AscendModel, what: str, found: str) -> BadModelError:
    return refuse_unsayable(
        name_ascend_record(row),
        f"the {what} of {row.folder} is {found or 'not known'}",
        "read its scripts, and write a record of its own (assay help model-record)",
    )


def _list_accuracies(row: AscendModel) -> Iterator[PublishedAccuracy]:
    for entry in filter(None, row.accuracy.split(";")):
        topk, setting, *doubt = entry.split("|")
        top1, *top5 = map(float, topk.split("/"))
        yield PublishedAccuracy(
            source=f"Ascend ModelZoo-PyTorch, {row.model} README",
            setting=setting,
            top1_percent=top1,
            top5_percent=top5[0] if top5 else None,
            doubt="".join(doubt),
        )


def _list_throughputs(row: AscendModel) -> Iterator[PublishedThroughput]:
    for entry in filter(None, row.rates.split(";")):
        device, rates, *doubt = entry.split("|")
        pairs = (pair.split("=") for pair in rates.split(", "))
        yield PublishedThroughput(
            device=device,
            source=f"Ascend ModelZoo-PyTorch, {row.model} README",
            clock="device",
            images_per_second={int(size): float(rate) for size, rate in pairs},
            doubt="".join(doubt),
        )
