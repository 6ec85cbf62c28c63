"""What `assay models` says: which models are known by name, and what is published of them."""

from __future__ import annotations

from collections.abc import Sequence

from assay.models.find_models import ModelEntry, Source
from assay.report.tables.table import Table

_SOURCES: dict[Source, str] = {
    "assay": "assay's own records",
    "torchvision": "torchvision 0.28.0, its weights and their published figures",
    "timm": "timm 1.0.31, its pretrained configurations and results-imagenet.csv",
    "ascend": "Ascend's ModelZoo-PyTorch, its classification folders and their READMEs",
}
_LEGEND = (
    "Input: side in pixels, or height x width. Top-1 and Top-5 in percent, on the 50,000 validation images "
    "of ImageNet, as published for that preprocessing, to two decimals; the first where there are several."
)


def make_model_table(entries: Sequence[ModelEntry]) -> Table:
    """A row for each model: its input's size and what is published of it."""
    notes = [_LEGEND]
    if any(_is_doubtful(entry) for entry in entries):
        notes.append("?: doubtful as published; the record (--toml) says why.")
    if any(entry.refused for entry in entries):
        notes.append("none: no record can be made; assay models NAME --toml says why.")
    return Table(
        title="Models",
        header=("Model", "Input", "Top-1", "Top-5"),
        rows=tuple(map(_make_row, entries)),
        notes=tuple(notes),
    )


def make_source_tables(entries: Sequence[ModelEntry]) -> list[str | Table]:
    """How many models each source has, and how one of them is found and used."""
    rows = []
    for source, meaning in _SOURCES.items():
        own = [entry for entry in entries if entry.source == source]
        usable = [entry for entry in own if not entry.refused]
        published = sum(bool(entry.published_accuracy) for entry in usable)
        rows.append((meaning, f"{len(own):,}", f"{len(usable):,}", f"{published:,}"))
    own_names = ", ".join(entry.name for entry in entries if entry.source == "assay")
    return [
        Table(
            title="Sources",
            header=("Source", "Models", "with a record", "with Top-1"),
            rows=tuple(rows),
        ),
        "",
        f"assay's own: {own_names}",
        "assay models resnext50          lists those with the word in their names",
        "assay models timm/resnet18 -o record.toml          writes a record",
        "assay run --model timm/resnet18 --weights resnet18.onnx --images DIR",
    ]


def _make_row(entry: ModelEntry) -> tuple[str, ...]:
    if entry.refused:
        return (entry.name, "none", "", "")
    size = f"{entry.height}" if entry.height == entry.width else f"{entry.height}x{entry.width}"
    if not entry.published_accuracy:
        return (entry.name, size, "", "")
    first = entry.published_accuracy[0]
    top5 = "" if first.top5_percent is None else f"{first.top5_percent:.2f}"
    return (entry.name, size, f"{first.top1_percent:.2f}{'?' if _is_doubtful(entry) else ''}", top5)


def _is_doubtful(entry: ModelEntry) -> bool:
    return any(one.doubt for one in entry.published_accuracy)
