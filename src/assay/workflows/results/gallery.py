"""The images of a run that are worth looking at, with thumbnails where they are still there."""

from __future__ import annotations

from pathlib import Path

from assay.errors import AssayError
from assay.images.classes import read_classes
from assay.images.decode import decode_image
from assay.images.forms.object_store import is_remote
from assay.images.label_files import LabelOptions
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage
from assay.images.read import NO_PATIENCE, read_image
from assay.images.sources import index_images
from assay.images.stored_index import INDEX_FILE, find_stored_images
from assay.inference.predictions import Prediction
from assay.inference.shards import StoredPredictions
from assay.measure.accuracy.comparison import compare_predictions
from assay.measure.accuracy.mistakes import find_mistakes
from assay.measure.accuracy.outputs import (
    OutputKind,
    compute_probability,
    recognise_outputs,
)
from assay.report.named_run import Gallery, Guess, Picture, name_class
from assay.report.notebook import WorstImages
from assay.report.thumbnail import make_thumbnail
from assay.runs.stored import StoredRun

MOST_PICTURES = 60
MOST_MISTAKES = 30
_NOTES: dict[OutputKind, str] = {
    "logits": "",
    "probabilities": "Percentages are the network's own outputs, which are probabilities.",
    "scores": "No percentages: the network's outputs lie between 0 and 1, but are not known to sum to 1.",
}


def collect_gallery(
    run: StoredRun,
    reference: StoredPredictions | None = None,
    *,
    with_thumbnails: bool = True,
    opens_urls: bool = False,
) -> Gallery:
    """Collect the images whose Top-1 changed against the reference, and the most confident mistakes.

    At most 60, those that changed first; none of a run that was cut before all its images were predicted.

    Args:
        run: The run.
        reference: Another run's predictions, of the same images; the run's own reference if None.
        with_thumbnails: Whether the images are read.
        opens_urls: Whether they are where they are behind a URL, which a run folder from elsewhere may name.
    """
    if run.manifest.early_stop is not None:
        return Gallery()
    mistakes = find_mistakes(
        run.predictions, run.label_offset, stated=run.model.output.scores, count=MOST_MISTAKES
    )
    reference = reference or run.reference
    chosen = _list_changed(reference, run) if reference else []
    reference_outputs = recognise_outputs(reference) if reference and chosen else "logits"
    changed_paths = {row.relative_path for _, row, _ in chosen}
    chosen += [("mistake", row, None) for row in mistakes.confident if row.relative_path not in changed_paths]
    shown = chosen[:MOST_PICTURES]
    wanted = {row.relative_path for _, row, _ in shown} if with_thumbnails else set()
    images, note = _find_images(run, wanted, opens_urls=opens_urls)
    pictures = [
        Picture(
            relative_path=row.relative_path,
            kind=kind,
            label="none" if row.label is None else name_class(row.label, run.manifest),
            top=_list_guesses(row, mistakes.outputs, run),
            reference_top=_list_guesses(other, reference_outputs, run) if other else (),
            thumbnail=_make_thumbnail(images.get(row.relative_path)),
        )
        for kind, row, other in shown
    ]
    return Gallery(
        pictures=pictures,
        hidden_count=len(chosen) - len(shown),
        confused=mistakes.confused,
        note=" ".join(filter(None, (_NOTES[mistakes.outputs] if pictures else "", note))),
    )


def collect_worst(run: StoredRun, count: int) -> WorstImages:
    """The most confident mistakes of a run, the most confident first; images behind a URL are not read."""
    mistakes = find_mistakes(run.predictions, run.label_offset, stated=run.model.output.scores, count=count)
    wanted = {row.relative_path for row in mistakes.confident}
    images, note = _find_images(run, wanted, opens_urls=False)
    pictures = [
        Picture(
            relative_path=row.relative_path,
            kind="mistake",
            label="none" if row.label is None else name_class(row.label, run.manifest),
            top=_list_guesses(row, mistakes.outputs, run),
            thumbnail=_make_thumbnail(images.get(row.relative_path)),
        )
        for row in mistakes.confident
    ]
    return WorstImages(
        pictures=pictures, note=" ".join(filter(None, (_NOTES[mistakes.outputs] if pictures else "", note)))
    )


def _list_changed(
    reference: StoredPredictions, run: StoredRun
) -> list[tuple[str, Prediction, Prediction | None]]:
    """List the images that changed against the reference: kind and both rows."""
    found = compare_predictions(reference, run.predictions, run.label_offset)
    kinds = {
        flip.relative_path: kind
        for kind, flips in (("lost", found.lost), ("won", found.won), ("changed", found.changed))
        for flip in flips
    }
    others = {row.relative_path: row for row in reference if row.relative_path in kinds}
    rows = [row for row in run.predictions if row.relative_path in kinds]
    order = ("lost", "won", "changed")
    rows.sort(key=lambda row: (order.index(kinds[row.relative_path]), row.relative_path))
    return [(kinds[row.relative_path], row, others[row.relative_path]) for row in rows]


def _find_images(
    run: StoredRun, wanted: set[str], *, opens_urls: bool
) -> tuple[dict[str, LabelledImage], str]:
    """The images of these paths, and a note where they are not read or not there any more."""
    path = Path(run.image_set.path)
    if not wanted:
        return {}, ""
    if found := find_stored_images(run.path / INDEX_FILE, path, wanted):
        return found, ""
    if is_remote(path) and not opens_urls:
        return {}, "No thumbnails: the images are behind a URL, which only the run itself opens."
    try:
        index = index_images(path, read_classes(run.model), LabelOptions(trusted=True))
    except (AssayError, OSError):
        return {}, f"No thumbnails: the images are not at {run.image_set.path} any more."
    return {image.relative_path: image for image in index.images if image.relative_path in wanted}, ""


def _list_guesses(row: Prediction, outputs: OutputKind, run: StoredRun) -> list[Guess]:
    return [
        Guess(
            name=name_class(number - run.label_offset, run.manifest),
            logit=row.top_logits[rank],
            share=compute_probability(row, outputs, rank),
        )
        for rank, number in enumerate(row.top_classes)
    ]


def _make_thumbnail(image: LabelledImage | None) -> str:
    """Make a small JPEG of the image, as a data URI; empty where it cannot be read any more."""
    if image is None:
        return ""
    try:
        pixels = decode_image(
            read_image(image, DEFAULT_READ_OPTIONS, NO_PATIENCE), max_pixels=DEFAULT_READ_OPTIONS.max_pixels
        ).pixels
    except (AssayError, OSError):
        return ""
    return make_thumbnail(pixels)
