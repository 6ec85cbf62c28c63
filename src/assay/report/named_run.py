"""A run as a report shows it: its name, what it found, and the images worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.mistakes import ConfusedPair
from assay.runs.class_names import find_classes
from assay.runs.results_file import Benchmark, Manifest, Metrics


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One of the classes that an image was taken for; `share` is its probability, 0 to 1, where known."""

    name: str
    logit: float
    share: float | None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of the gallery.

    Args:
        relative_path: Which image.
        kind: lost, won, changed (against the reference), or mistake.
        label: Its label, with the class's name where it has one.
        top: What the run says, the likeliest first.
        reference_top: What the reference says; may be empty.
        note: More about it; may be empty.
        thumbnail: A data URI, or empty where the image is not there any more.
    """

    relative_path: str
    kind: str
    label: str
    top: Sequence[Guess]
    reference_top: Sequence[Guess] = ()
    thumbnail: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images worth looking at, and how often classes are confused; `hidden_count` are not shown."""

    pictures: Sequence[Picture] = ()
    hidden_count: int = 0
    confused: Sequence[ConfusedPair] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run as a report shows it.

    Args:
        name: What its column is called; empty where the report has one run only.
        folder: Where it is; may be empty.
        manifest: Of the run.
        metrics: None where accuracy was not measured.
        benchmark: None where speed was not measured.
        gallery: Images worth looking at.
        notes: What must be known where it is compared with the first run of the report.
        agreement: With the first run of the report, or with the run's own reference where it is alone.
    """

    name: str
    folder: str = ""
    manifest: Manifest
    metrics: Metrics | None
    benchmark: Benchmark | None
    gallery: Gallery = Gallery()
    notes: tuple[str, ...] = ()
    agreement: Agreement | None = None


def name_run(run: NamedRun) -> str:
    """What ran, with the run's name before it where it has one."""
    manifest = run.manifest
    what = f"{manifest.engine} on {manifest.device}, {manifest.precision}"
    return f"{run.name}: {what}" if run.name else what


def name_class(number: int, manifest: Manifest) -> str:
    """Return a class as its number, with its name and synset where it has them."""
    return find_classes(manifest).describe(number)
