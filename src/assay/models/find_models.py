"""What records there are: assay's own and those of the published tables, by a word of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from assay.errors import BadModelError
from assay.models.published.ascend_records import name_ascend_record
from assay.models.published.torchvision_records import name_torchvision_record
from assay.models.read_record import list_model_names, read_model_record
from assay.models.record import PublishedAccuracy
from assay.models.tables.read import read_ascend_models, read_timm_models, read_torchvision_weights

Source = Literal["assay", "timm", "torchvision", "ascend"]


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is known by name.

    Args:
        name: What `--model` takes.
        source: Whose it is.
        height: Of the network's input in pixels; None where no record can be made, as below.
        class_count: Scores of the network.
        published_accuracy: On the 50,000 validation images of ImageNet, as published; often one or none.
        refused: Why no record can be made of it; mostly empty.
    """

    name: str
    source: Source
    height: int | None = None
    width: int | None = None
    class_count: int | None = None
    published_accuracy: tuple[PublishedAccuracy, ...] = ()
    refused: str = ""


def find_models(word: str) -> tuple[ModelEntry, ...]:
    """The models with that word in their name, assay's own first; all of them for an empty word.

    Case and whatever stands between letters and digits make no difference: "se_resnext" finds
    "SE-ResNeXt50_32x4d" and "legacy_seresnext50_32x4d".
    """
    wanted = _simplify(word)
    return tuple(_describe(name, source) for name, source in list_names() if wanted in _simplify(name))


def _simplify(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def list_names() -> Iterator[tuple[str, Source]]:
    """Every name, with whose it is; no record is made for it."""
    yield from ((name, "assay") for name in list_model_names())
    yield from ((name_torchvision_record(row), "torchvision") for row in read_torchvision_weights())
    yield from ((f"timm/{row.name}", "timm") for row in read_timm_models())
    yield from ((name_ascend_record(row), "ascend") for row in read_ascend_models())


def _describe(name: str, source: Source) -> ModelEntry:
    try:
        record = read_model_record(name)
    except BadModelError as error:
        return ModelEntry(name=name, source=source, refused=error.message)
    return ModelEntry(
        name=name,
        source=source,
        height=record.input.height,
        width=record.input.width,
        class_count=record.output.class_count,
        published_accuracy=record.published_accuracy,
    )
