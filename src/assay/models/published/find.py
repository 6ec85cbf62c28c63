"""The model record of a library's published model, by the library and the name there."""

from __future__ import annotations

from collections.abc import Callable

from assay.models.published.ascend_records import make_ascend_record
from assay.models.published.timm_records import list_timm_sizes, make_timm_record
from assay.models.published.torchvision_records import make_torchvision_record
from assay.models.record import ModelRecord
from assay.models.tables.read import TimmModel, read_timm_models

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
    row = _find_timm_row(name)
    if row is None:
        return []
    usual, *others = list_timm_sizes(row)
    sizes = [(f"timm/{row.name}", usual), *((f"timm/{row.name}@{height}", height) for height in others)]
    return [(other, height) for other, height in sizes if other != name]


def advise_download(name: str) -> str:
    """What a user does for the weights of a record that lists none."""
    row = _find_timm_row(name)
    if row is None or row.source.startswith("http"):
        return "give the path of a weights file or of an ONNX file as --weights"
    return (
        f"they are on the Hugging Face hub: hf download {row.source} model.safetensors --local-dir DIR, "
        f"then --model {name} --weights DIR/model.safetensors"
    )


def _find_timm_row(name: str) -> TimmModel | None:
    plain = name.partition("@")[0]
    return next((row for row in read_timm_models() if f"timm/{row.name}" == plain), None)
