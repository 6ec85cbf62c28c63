"""The model record of a pretrained configuration of timm, evaluated as timm does."""

from __future__ import annotations

import functools
import math
import re
from typing import NamedTuple

from assay.models.preprocessing import Preprocessing, Resize
from assay.models.published.refusals import refuse_unknown, refuse_unsayable
from assay.models.record import InputTensor, ModelRecord, OutputTensor, PublishedAccuracy, WeightsFile
from assay.models.tables.read import TimmModel, read_timm_models

# Of the data sets that timm's networks are trained on: ImageNet-1k, 21k by MIIL, 12k, 21k of MViTv2, 22k,
# 22k of Microsoft, 21k of Google, Bamboo (timm/data/imagenet_info.py and the configurations' tags)
_CLASS_COUNTS = frozenset({1000, 11221, 11821, 19168, 21841, 21842, 21843, 115217})
_HASHED_NAME = re.compile(r".*-([0-9a-f]{8,64})\.pth")  # as torch.hub checks it
_RESIZES: dict[str, Resize] = {"center": "cover", "squash": "squash", "border": "letterbox"}


class TimmEvaluation(NamedTuple):
    """How a configuration is evaluated: the network's input in pixels, and crop_pct."""

    height: int
    width: int
    crop_pct: float


def make_timm_record(wanted: str) -> ModelRecord:
    """The record of `ARCHITECTURE[.TAG][@SIZE]`; without a tag, of timm's default one.

    SIZE is a height that timm's configuration names: of training, or of its test where that is another.
    Without one it is what the published accuracy was measured at; where none is published, that of the test,
    as timm's validate.py does. Another size than the published accuracy's has no published accuracy.

    Args:
        wanted: The name without "timm/".

    Raises:
        BadModelError: timm has no such model or size, or its network has no classes or takes no images of a
            fixed size.
    """
    name, _, size = wanted.partition("@")
    row = _find_row(name)
    _refuse_without_classes(row)
    evaluation = _choose_evaluation(row, size)
    height, width, _ = evaluation
    is_usual = evaluation == _find_usual(row)
    return ModelRecord(
        schema_version=1,
        name=f"timm/{row.name}" + ("" if is_usual else f"@{height}"),
        architecture=f"timm/{row.name.partition('.')[0]}",
        weights=tuple(_list_weights(row)),
        input=InputTensor(name="", channels=3, height=height, width=width, colour_order="RGB"),
        preprocessing=make_timm_preprocessing(row, evaluation),
        output=OutputTensor(name="", class_count=row.num_classes, label_offset=row.label_offset),
        published_accuracy=_list_published(row) if is_usual else (),
    )


def list_timm_sizes(row: TimmModel) -> tuple[int, ...]:
    """The heights that timm names for a configuration, in pixels; that of `make_timm_record` first."""
    heights = (one.height for one in (_find_usual(row), *list_timm_evaluations(row)))
    return tuple(dict.fromkeys(heights))


def _find_row(name: str) -> TimmModel:
    rows = _index_rows()
    if name not in rows:
        raise refuse_unknown("timm", name, (row.name for row in read_timm_models()))
    return rows[name]


@functools.cache
def _index_rows() -> dict[str, TimmModel]:
    """The rows by their names, and those that are timm's defaults by their architectures too."""
    rows = read_timm_models()
    defaults = {row.name.partition(".")[0]: row for row in rows if row.default}
    return defaults | {row.name: row for row in rows}


def _refuse_without_classes(row: TimmModel) -> None:
    reason = hint = ""
    if row.name.startswith("naflex"):
        reason = "NaFlex networks take a sequence of patches, as many as the picture has, and no fixed size"
        hint = "assay cannot feed it; assay models vit lists its relatives of a fixed size"
    elif row.num_classes == 0:
        reason = "timm publishes this network without a classifier (num_classes = 0)"
        hint = "train a head, and bring the network as an ONNX file with a record of its own"
    elif row.num_classes not in _CLASS_COUNTS:
        reason = f"its {row.num_classes:,} outputs are an embedding of the picture, no classes"
        hint = "a zero-shot classifier needs its texts too: export both as one ONNX file with its own record"
    if reason:
        raise refuse_unsayable(f"timm/{row.name}", reason, hint)


def list_timm_evaluations(row: TimmModel) -> tuple[TimmEvaluation, TimmEvaluation]:
    """Of the configuration, and of its test; often the same."""
    _, height, width = map(int, row.input_size.split("x"))
    _, test_height, test_width = map(int, (row.test_input_size or row.input_size).split("x"))
    test_crop_pct = row.test_crop_pct or row.crop_pct
    return TimmEvaluation(height, width, row.crop_pct), TimmEvaluation(test_height, test_width, test_crop_pct)


def _find_usual(row: TimmModel) -> TimmEvaluation:
    """What the published accuracy was measured with; where none is published, the test's."""
    evaluations = list_timm_evaluations(row)
    if row.measured_crop_pct is not None:
        for one in evaluations:  # results-imagenet.csv rounds crop_pct to three digits
            if row.measured_at == one.height and abs(row.measured_crop_pct - one.crop_pct) < 6e-4:
                return one
    return evaluations[1]


def _choose_evaluation(row: TimmModel, size: str) -> TimmEvaluation:
    usual = _find_usual(row)
    for one in (usual, *list_timm_evaluations(row)):
        if size in ("", str(one.height)):
            return one
    sizes = " and ".join(f"@{height}" for height in list_timm_sizes(row))
    raise refuse_unsayable(
        f"timm/{row.name}@{size}",
        "timm's configuration names no such size",
        f"it names {sizes}; for another, assay models timm/{row.name} -o record.toml writes the record, to "
        "be changed and given as --model record.toml",
    )


def make_timm_preprocessing(row: TimmModel, evaluation: TimmEvaluation) -> Preprocessing:
    """What timm's create_transform does at evaluation (timm 1.0.31, timm/data/transforms_factory.py)."""
    height, width, crop_pct = evaluation
    resized = (math.floor(height / crop_pct), math.floor(width / crop_pct))
    is_square = height == width
    resize: Resize = "short side" if row.crop_mode == "center" and is_square else _RESIZES[row.crop_mode]
    return Preprocessing(
        resize=resize,
        resize_side=resized[0] if resize == "short side" else None,
        resize_size=None if resize == "short side" else resized,
        long_side_rounding="half to even" if resize in ("cover", "letterbox") else "cut",
        resize_filter=row.interpolation,
        crop_size=height if is_square else None,
        crop_shape=None if is_square else (height, width),
        crop_rounding="torchvision",
        pad_colour=_choose_padding(row, crop_pct),
        mean=_read_numbers(row.mean),
        std=_read_numbers(row.std),
    )


def _choose_padding(row: TimmModel, crop_pct: float) -> tuple[int, int, int] | None:
    """RGB around a picture that is smaller than the crop; torchvision's centre crop pads with black."""
    if row.crop_mode != "border":
        return (0, 0, 0) if crop_pct > 1 else None
    red, green, blue = (round(255 * mean) for mean in _read_numbers(row.mean))
    return red, green, blue


def _read_numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split(",")))


def _list_weights(row: TimmModel) -> list[WeightsFile]:
    """The file at an address whose name holds its hash; the hub's have no such name."""
    found = _HASHED_NAME.fullmatch(row.source) if row.source.startswith("https://") else None
    if not found:
        return []
    licence, name = row.license or "not stated", row.source.rpartition("/")[2]
    return [WeightsFile(url=row.source, file_name=name, sha256_prefix=found[1], licence=licence)]


def _list_published(row: TimmModel) -> tuple[PublishedAccuracy, ...]:
    if row.top1_percent is None:
        return ()
    size = f"{row.measured_at}x{row.measured_at}"
    return (
        PublishedAccuracy(
            source=f"timm, results-imagenet.csv ({row.name})",
            setting=f"PyTorch, {size}, crop_pct {row.measured_crop_pct:g}, {row.measured_interpolation}",
            top1_percent=row.top1_percent,
            top5_percent=row.top5_percent,
        ),
    )
