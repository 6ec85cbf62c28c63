"""The model record of a library's published model, by the library and the name there."""

from __future__ import annotations

from collections.abc import Callable

from assay.models.published.ascend_records import make_ascend_record
from assay.models.published.timm_records import list_timm_sizes, make_timm_record
from assay.models.published.torchvision_records import make_torchvision_record
from assay.models.record import ModelRecord
from assay.models.tables.read import read_timm_models

LIBRARIES: dict[str, Callable[[str], ModelRecord]] = {
    "timm": make_timm_record,
    "torchvision": make_torchvision_record,
    "ascend": make_ascend_record,
}


def find_published_record(name: str) -> ModelRecord | None:
    """The record of `timm/…`, `torchvision/…` or `ascend/…`; None where the name begins otherwise.

    The names of its tensors are empty where only the ONNX file can tell them.

    Raises:
        BadModelError: The library publishes no such model, or no record can be made of it.
    """
    library, _, wanted = name.partition("/")
    return LIBRARIES[library](wanted) if library in LIBRARIES and wanted else None


def list_other_sizes(name: str) -> list[tuple[str, int]]:
    """Names of the same model at other sizes, each with its height in pixels; only timm has any."""
    plain, _, _ = name.partition("@")
    row = next((row for row in read_timm_models() if f"timm/{row.name}" == plain), None)
    if row is None:
        return []
    usual, *others = list_timm_sizes(row)
    sizes = [(plain, usual), *((f"{plain}@{height}", height) for height in others)]
    return [(other, height) for other, height in sizes if other != name]
