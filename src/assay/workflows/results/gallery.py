"""The images of a run that are worth looking at, with thumbnails where they are still there."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from assay.errors import AssayError
from assay.images.decode import decode_image
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage
from assay.images.read import NO_PATIENCE, read_image
from assay.images.sources import index_images
from assay.inference.predictions import Prediction
from assay.inference.shards import StoredPredictions, list_shard_files
from assay.measure.accuracy.calibration_error import compute_confidence
from assay.measure.accuracy.comparison import compare_predictions
from assay.measure.accuracy.mistakes import find_mistakes
from assay.report.named_run import Gallery, Guess, Picture, name_class
from assay.runs.folder import REFERENCE_FOLDER
from assay.runs.results_file import Manifest
from assay.workflows.evaluate.evaluate import read_predictions

MOST_PICTURES = 60
MOST_MISTAKES = 30
THUMBNAIL_SIDE = 96
MOST_THUMBNAIL_BYTES = 12_000
QUALITIES = (75, 60, 45, 30, 15)


def collect_gallery(
    run: Path, manifest: Manifest, reference: StoredPredictions | None = None, *, with_thumbnails: bool = True
) -> Gallery:
    """Return the images whose likeliest class changed against the reference, and the most confident mistakes.

    At most 60, those that changed first.

    Args:
        run: The run folder.
        manifest: What it holds.
        reference: Another run's predictions, of the same images; the run's own reference if None.
        with_thumbnails: Whether the images are read.
    """
    if manifest.identity is None or manifest.image_set is None or manifest.model is None:
        return Gallery()
    names = list_shard_files(manifest.image_set.image_count, manifest.identity.shard_size)
    predictions = read_predictions(run, names)
    if not all(path.is_file() for path in predictions.paths):
        return Gallery()
    offset = manifest.model.output.label_offset
    mistakes = find_mistakes(predictions, offset, count=MOST_MISTAKES)
    its_rows = reference or read_predictions(run, names, REFERENCE_FOLDER)
    chosen = _list_changed(its_rows, predictions, offset)
    changed_paths = {row.relative_path for _, row, _ in chosen}
    chosen += [("mistake", row, None) for row in mistakes.confident if row.relative_path not in changed_paths]
    shown = chosen[:MOST_PICTURES]
    wanted = {row.relative_path for _, row, _ in shown} if with_thumbnails else set()
    images, note = _find_images(manifest, wanted)
    return Gallery(
        pictures=[_make_picture(kind, row, its, images, manifest) for kind, row, its in shown],
        hidden_count=len(chosen) - len(shown),
        confused=mistakes.confused,
        note=note,
    )


def _list_changed(
    its_rows: StoredPredictions, predictions: StoredPredictions, offset: int
) -> list[tuple[str, Prediction, Prediction | None]]:
    """Return the images that changed against the reference, where there is one: kind, run's row, its row."""
    if not its_rows.paths or not all(path.is_file() for path in its_rows.paths):
        return []
    found = compare_predictions(its_rows, predictions, offset)
    kinds = {
        flip.relative_path: kind
        for kind, flips in (("lost", found.lost), ("won", found.won), ("changed", found.changed))
        for flip in flips
    }
    its = {row.relative_path: row for row in its_rows if row.relative_path in kinds}
    rows = [row for row in predictions if row.relative_path in kinds]
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
    kind: str,
    row: Prediction,
    its: Prediction | None,
    images: Mapping[str, LabelledImage],
    manifest: Manifest,
) -> Picture:
    image = images.get(row.relative_path)
    return Picture(
        relative_path=row.relative_path,
        kind=kind,
        label="none" if row.label is None else name_class(row.label, manifest),
        top=_list_guesses(row, manifest),
        reference_top=_list_guesses(its, manifest) if its else (),
        thumbnail=_make_thumbnail(image) if image else "",
    )


def _list_guesses(row: Prediction, manifest: Manifest) -> list[Guess]:
    offset = manifest.model.output.label_offset if manifest.model else 0
    top_share = None if row.log_sum_exp is None else compute_confidence(row)
    return [
        Guess(
            name=name_class(number - offset, manifest),
            logit=logit,
            share=None if top_share is None else top_share * math.exp(logit - row.top_logits[0]),
        )
        for number, logit in zip(row.top_classes, row.top_logits, strict=True)
    ]


def _make_thumbnail(image: LabelledImage) -> str:
    """Return the image as a small JPEG in a data URI; empty where it cannot be read any more."""
    try:
        pixels = decode_image(
            read_image(image, DEFAULT_READ_OPTIONS, NO_PATIENCE), max_pixels=DEFAULT_READ_OPTIONS.max_pixels
        ).pixels
    except (AssayError, OSError):
        return ""
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL_SIDE * 2, THUMBNAIL_SIDE * 2))
    content = b""
    for quality in QUALITIES:  # noise and foliage are packed harder: 60 of them stay under 2 MB
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=quality)
        content = stream.getvalue()
        if len(content) <= MOST_THUMBNAIL_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
