"""The images of a run that are worth looking at, with thumbnails where they are still there."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from assay.errors import AssayError
from assay.images.batches import read_image
from assay.images.decode import decode_image
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage
from assay.images.sources import index_images
from assay.inference.predictions import Prediction
from assay.inference.shards import list_shard_files
from assay.measure.comparison import compare_predictions
from assay.measure.mistakes import find_mistakes
from assay.report.html import Gallery, Picture
from assay.report.results_file import Manifest
from assay.workflows.evaluate import read_predictions
from assay.workflows.run_folder import REFERENCE_FOLDER

MOST_PICTURES = 60
MOST_MISTAKES = 30
THUMBNAIL_SIDE = 96


def collect_gallery(run: Path, manifest: Manifest) -> Gallery:
    """Return the images whose likeliest class changed against the reference, and the most confident mistakes.

    At most 60, those that changed first.
    """
    if manifest.identity is None or manifest.image_set is None or manifest.model is None:
        return Gallery()
    names = list_shard_files(manifest.image_set.image_count, manifest.identity.shard_size)
    predictions = read_predictions(run, names)
    if not all(path.is_file() for path in predictions.paths):
        return Gallery()
    offset = manifest.model.output.label_offset
    mistakes = find_mistakes(predictions, offset, count=MOST_MISTAKES)
    chosen = _list_changed(run, names, offset)
    changed_paths = {row.relative_path for _, row, _ in chosen}
    chosen += [("mistake", row, None) for row in mistakes.confident if row.relative_path not in changed_paths]
    shown = chosen[:MOST_PICTURES]
    images, note = _find_images(manifest, {row.relative_path for _, row, _ in shown})
    return Gallery(
        pictures=[_make_picture(kind, row, its, images, offset) for kind, row, its in shown],
        hidden_count=len(chosen) - len(shown),
        confused=mistakes.confused,
        note=note,
    )


def _list_changed(
    run: Path, names: Sequence[str], offset: int
) -> list[tuple[str, Prediction, Prediction | None]]:
    """Return the images that changed against the reference, where there is one: kind, run's row, its row."""
    its_rows = read_predictions(run, names, REFERENCE_FOLDER)
    if not names or not all(path.is_file() for path in its_rows.paths):
        return []
    found = compare_predictions(its_rows, read_predictions(run, names), offset)
    kinds = {
        flip.relative_path: kind
        for kind, flips in (("lost", found.lost), ("won", found.won), ("changed", found.changed))
        for flip in flips
    }
    its = {row.relative_path: row for row in its_rows if row.relative_path in kinds}
    rows = [row for row in read_predictions(run, names) if row.relative_path in kinds]
    order = ("lost", "won", "changed")
    rows.sort(key=lambda row: (order.index(kinds[row.relative_path]), row.relative_path))
    return [(kinds[row.relative_path], row, its[row.relative_path]) for row in rows]


def _find_images(manifest: Manifest, wanted: set[str]) -> tuple[dict[str, LabelledImage], str]:
    """Return the images of these paths, and a note where they are not there any more."""
    if manifest.image_set is None or manifest.model is None or not wanted:
        return {}, ""
    try:
        index = index_images(Path(manifest.image_set.path), manifest.model.label_count)
    except (AssayError, OSError):
        return {}, f"No thumbnails: the images are not at {manifest.image_set.path} any more."
    return {image.relative_path: image for image in index.images if image.relative_path in wanted}, ""


def _make_picture(
    kind: str, row: Prediction, its: Prediction | None, images: Mapping[str, LabelledImage], offset: int
) -> Picture:
    image = images.get(row.relative_path)
    return Picture(
        relative_path=row.relative_path,
        kind=kind,
        label=-1 if row.label is None else row.label,
        top=_describe_top(row, offset),
        reference_top=_describe_top(its, offset) if its else "",
        thumbnail=_make_thumbnail(image) if image else "",
    )


def _describe_top(row: Prediction, offset: int) -> str:
    pairs = zip(row.top_classes, row.top_logits, strict=True)
    return ", ".join(f"{number - offset} ({logit:.1f})" for number, logit in pairs)


def _make_thumbnail(image: LabelledImage) -> str:
    """Return the image as a small JPEG in a data URI; empty where it cannot be read any more."""
    try:
        pixels = decode_image(
            read_image(image, DEFAULT_READ_OPTIONS), max_pixels=DEFAULT_READ_OPTIONS.max_pixels
        ).pixels
    except (AssayError, OSError):
        return ""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_SIDE * 2, THUMBNAIL_SIDE * 2))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=70)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
