"""The model record of weights of torchvision, evaluated as their own transforms do."""

from __future__ import annotations

from assay.errors import BadModelError, quote
from assay.models.preprocessing import Preprocessing
from assay.models.published.refusals import refuse_unknown, refuse_unsayable
from assay.models.record import (
    ONNX_ONLY,
    InputTensor,
    ModelRecord,
    OutputTensor,
    PublishedAccuracy,
    WeightsFile,
)
from assay.models.tables.read import TorchvisionWeights, read_torchvision_weights

_TRANSFORMING = ("googlenet", "inception_v3")
"""Networks that change the input once more, as torchvision builds them for their weights: transform_input."""


def make_torchvision_record(wanted: str) -> ModelRecord:
    """The record of `NAME[:WEIGHTS]`; without weights, of those that torchvision calls DEFAULT.

    Args:
        wanted: The name without "torchvision/"; the weights with or without their enumeration.

    Raises:
        BadModelError: torchvision has no such network or weights, or they have no classifier.
    """
    row = _find_row(wanted)
    name = name_torchvision_record(row)
    if row.classes is None:
        raise refuse_unsayable(
            name, "these weights have no trained classifier", "take other weights of the network"
        )
    return ModelRecord(
        schema_version=1,
        name=name,
        architecture=ONNX_ONLY if row.backend else f"torchvision/{row.name}",
        architecture_options={"transform_input": True} if row.name in _TRANSFORMING else {},
        weights=() if row.backend else (_describe_file(row),),
        input=InputTensor(name="", channels=3, height=row.crop, width=row.crop, colour_order="RGB"),
        preprocessing=_make_preprocessing(row),
        output=OutputTensor(name="", class_count=row.classes),
        published_accuracy=_list_published(row),
    )


def name_torchvision_record(row: TorchvisionWeights) -> str:
    """The name that a record of these weights has."""
    return f"torchvision/{row.name}:{row.weights.rpartition('.')[2]}"


def _find_row(wanted: str) -> TorchvisionWeights:
    name, _, weights = wanted.partition(":")
    rows = [row for row in read_torchvision_weights() if row.name == name]
    if not rows:
        raise refuse_unknown("torchvision", name, {row.name for row in read_torchvision_weights()})
    for row in rows:
        if (row.default and weights in ("", "DEFAULT")) or weights in (
            row.weights,
            row.weights.rpartition(".")[2],
        ):
            return row
    known = ", ".join(name_torchvision_record(row) for row in rows)
    raise BadModelError(f"torchvision/{name} has no weights {quote(weights)}", hint=f"it has {known}")


def _make_preprocessing(row: TorchvisionWeights) -> Preprocessing:
    """What ImageClassification does (torchvision 0.28.0, transforms/_presets.py) to a picture of Pillow."""
    return Preprocessing(
        resize_side=row.resize,
        resize_filter=row.interpolation,
        crop_size=row.crop,
        crop_rounding="torchvision",
        mean=tuple(map(float, row.mean.split(","))),
        std=tuple(map(float, row.std.split(","))),
    )


def _describe_file(row: TorchvisionWeights) -> WeightsFile:
    return WeightsFile(
        url=f"{row.url_folder}/{row.file}",
        file_name=row.file,
        sha256_prefix=row.sha256_prefix,
        licence=row.license or "not stated by torchvision",
    )


def _list_published(row: TorchvisionWeights) -> tuple[PublishedAccuracy, ...]:
    if row.acc1 is None:
        return ()
    setting = f"PyTorch, {row.backend} int8" if row.backend else "PyTorch"
    if row.name.removeprefix("quantized_") in _TRANSFORMING:
        setting += ", transform_input=True"
    return (
        PublishedAccuracy(
            source=f"torchvision 0.28.0, {row.weights}",
            setting=setting,
            top1_percent=row.acc1,
            top5_percent=row.acc5,
        ),
    )
