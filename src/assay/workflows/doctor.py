"""What is wrong with a copy of a data set, or with this machine, found without running a model."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from assay.ahead import map_ahead
from assay.engines.onnxruntime.distributions import list_distributions, write_repair_commands
from assay.files import escape_name, hash_file
from assay.images.check_pixels import check_pixels
from assay.images.classes import Classes
from assay.images.examine import Examination, examine_image
from assay.images.forms.imagenet_archives import VAL_ARCHIVE_BYTES, VAL_ARCHIVE_NAME, VAL_ARCHIVE_SHA256
from assay.images.label_files import LabelOptions
from assay.images.labels import IMAGENET_VAL_COUNT, find_canonical_label, find_val_number
from assay.images.listing import ReadOptions
from assay.images.preprocessed_image import OK
from assay.images.read import Patience
from assay.images.sources import ImageIndex, index_images
from assay.measure.environment import describe_machine
from assay.processors import count_processors
from assay.report.diagnosis import Finding, ImageDiagnosis, MachineDiagnosis
from assay.runs.listener import Listener, Progress

LISTED_EXAMPLES = 5
AHEAD_PER_THREAD = 4
MOST_FAILURES_IN_A_ROW = 3
# The one image of the 50,000 with four components, as published
CMYK_NUMBER = 19877
CMYK_SHA256 = "75413aece0dc58bcd9d4b89f664ab04cee3ade28317d81aeace455029e0000ba"


def examine_machine() -> MachineDiagnosis:
    """Find what is wrong with the software of this machine."""
    pixel_check = check_pixels()
    runtimes = list_distributions()
    findings = []
    if pixel_check.differing:
        findings.append(_find("other pixels than verified", pixel_check.differing))
    if len(runtimes) > 1:
        repair = write_repair_commands(runtimes)
        findings.append(_find(f"ONNX Runtime installed twice, one over the other: {repair}", runtimes))
    return MachineDiagnosis(machine=describe_machine(), pixel_check=pixel_check, findings=tuple(findings))


def examine_images(
    path: Path, classes: Classes, labels: LabelOptions, reading: ReadOptions, listener: Listener
) -> ImageDiagnosis:
    """Find what is wrong with the images at `path`: each is read, hashed and decoded.

    Args:
        path: As of `index_images`.
        classes: Of the model that is to be scored on them.
        labels: How they are labelled.
        reading: How they are read.
        listener: Hears how far it is.

    Raises:
        BadImagesError: As `index_images`: an archive that is cut short, look-alike labels, no images.
        SourceError: The place that holds the images failed three times in a row.
    """
    index = index_images(path, classes, labels, reading)
    examinations = _examine_each(index, reading, listener)
    archive_bytes, archive_sha256 = _hash_archive(path, listener)
    numbers = [find_val_number(image.name) for image in index.images]
    val_image_count = sum(number is not None for number in numbers)
    findings = [
        *(_find(note, [path.name]) for note in index.archive_notes),
        *_find_gaps(index, numbers, val_image_count),
        *_find_bad_files(examinations),
        *_find_label_faults(index),
        *_find_traits(examinations, index),
        *_find_classes_without_images(index),
    ]
    if archive_sha256 not in (None, VAL_ARCHIVE_SHA256):
        findings.insert(0, _find(f"not the published {VAL_ARCHIVE_NAME}, by its sha256", [path.name]))
    is_whole = len({number for number in numbers if number}) == IMAGENET_VAL_COUNT
    labelled = [image.label for image in index.images if image.label is not None]
    return ImageDiagnosis(
        path=str(path),
        form=index.form,
        label_source=index.label_source,
        image_count=len(index.images),
        labelled_count=len(labelled),
        class_count=len(set(labelled)),
        val_image_count=val_image_count,
        archive_bytes=archive_bytes,
        archive_sha256=archive_sha256,
        findings=tuple(findings),
        is_whole=is_whole,
        verdict=_judge(findings, index, is_whole=is_whole),
    )


def _judge(findings: Sequence[Finding], index: ImageIndex, *, is_whole: bool) -> str:
    faults = [finding.what for finding in findings if finding.is_fault]
    are_imagenets = index.classes.are_imagenets
    if faults:
        way_out = "\nAre they of another model's classes? --model RECORD, with --classes FILE or sorted."
        verdict = f"A full run cannot be trusted: {'; '.join(faults)}."
        return verdict + (way_out if index.label_error and are_imagenets else "")
    if not are_imagenets:
        return f"Nothing is wrong with these images of {index.classes.count:,} classes: all decode."
    if is_whole:
        return (
            "A full run can be trusted: all 50,000 images are there, decode, and have the published labels."
        )
    return (
        "Nothing is wrong with these images; they are not all of the 50,000, so a result is one of a subset."
    )


def _examine_each(index: ImageIndex, reading: ReadOptions, listener: Listener) -> list[Examination]:
    """Examine every image; one whose source fails is a finding, three in a row are the end."""
    threads = count_processors()
    report = partial(Progress, task="Examining", unit="images", total=len(index.images))
    listener.advance(report(done=0))
    examinations: list[Examination] = []
    with ThreadPoolExecutor(threads, "examine") as executor, Patience() as patience:
        examine = partial(examine_image, options=reading, patience=patience)
        for examination in map_ahead(executor, examine, index.images, AHEAD_PER_THREAD * threads):
            examinations.append(examination)
            latest = [each.source_failure for each in examinations[-MOST_FAILURES_IN_A_ROW:]]
            if len(latest) == MOST_FAILURES_IN_A_ROW and all(latest) and latest[-1]:
                raise latest[-1]
            listener.advance(report(done=len(examinations)))
    return examinations


def _hash_archive(path: Path, listener: Listener) -> tuple[int | None, str | None]:
    """Find size and sha256 of a file; the hash only of what should be the published archive."""
    if not path.is_file():
        return None, None
    size_bytes = path.stat().st_size
    if path.name != VAL_ARCHIVE_NAME and size_bytes != VAL_ARCHIVE_BYTES:
        return size_bytes, None
    listener.announce(f"Hashing {path.name}")
    return size_bytes, hash_file(path)


def _find(what: str, names: Iterable[str], *, is_fault: bool = True) -> Finding:
    names = list(names)
    examples = tuple(escape_name(name) for name in names[:LISTED_EXAMPLES])
    return Finding(what=what, count=len(names), examples=examples, is_fault=is_fault)


def _keep_found(findings: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.count]


def _find_gaps(index: ImageIndex, numbers: Sequence[int | None], val_image_count: int) -> list[Finding]:
    """Find what is missing, surplus or twice of the 50,000; only where most of the images are of them."""
    if not index.classes.are_imagenets or 2 * val_image_count < len(numbers):
        return []
    counts = collections.Counter(number for number in numbers if number)
    missing = [number for number in range(1, IMAGENET_VAL_COUNT + 1) if number not in counts]
    surplus = [image.relative_path for image, number in zip(index.images, numbers, strict=True) if not number]
    return _keep_found(
        [
            _find("missing of the 50,000", (f"ILSVRC2012_val_{n:08d}.JPEG" for n in missing)),
            _find("surplus: none of the 50,000 by name", surplus),
            _find(
                "there twice by name", (f"ILSVRC2012_val_{n:08d}" for n, count in counts.items() if count > 1)
            ),
        ]
    )


def _find_bad_files(examinations: Sequence[Examination]) -> list[Finding]:
    by_hash: dict[str, list[str]] = collections.defaultdict(list)
    for examination in examinations:
        if examination.sha256:
            by_hash[examination.sha256].append(examination.source.relative_path)
    copies = [" = ".join(names) for names in by_hash.values() if len(names) > 1]
    unlike = [
        examination.source.relative_path
        for examination in examinations
        if find_val_number(examination.source.name) == CMYK_NUMBER
        and examination.sha256 not in ("", CMYK_SHA256)
    ]
    return _keep_found(
        [
            _find(
                "could not be read now: their source failed",
                (each.status for each in examinations if each.source_failure),
            ),
            _find(
                "cannot be scored",
                (
                    f"{each.source.relative_path}: {each.status}"
                    for each in examinations
                    if each.status != OK and not each.source_failure
                ),
            ),
            _find(
                "corrupt, though they decode",
                (f"{e.source.relative_path}: {e.note}" for e in examinations if "warning" in e.note),
            ),
            _find("the same bytes under several names", copies),
            _find("not the published file: this copy was encoded again", unlike),
        ]
    )


def _find_label_faults(index: ImageIndex) -> list[Finding]:
    unlabelled = [image.relative_path for image in index.images if image.label is None]
    differing = [
        f"{image.relative_path}: {image.label}, published {published}"
        for image in index.images
        if image.label is not None
        and index.classes.are_imagenets
        and (published := find_canonical_label(image.name)) is not None
        and published != image.label
    ]
    return _keep_found(
        [
            _find(f"no label{f' ({index.label_error.message})' if index.label_error else ''}", unlabelled),
            _find("labels without an image", index.labels_without_image),
            _find("labels that are not the published ones", differing),
        ]
    )


def _find_traits(examinations: Sequence[Examination], index: ImageIndex) -> list[Finding]:
    """Find what is no fault, but worth knowing."""

    def select(what: str, test: Callable[[Examination], bool]) -> Finding:
        return _find(what, (e.source.relative_path for e in examinations if test(e)), is_fault=False)

    return _keep_found(
        [
            select("greyscale", lambda e: e.component_count == 1),
            select("4-component", lambda e: e.component_count == 4),
            select("turned by EXIF, which is ignored", lambda e: e.orientation > 1),
            select("alpha dropped", lambda e: "alpha" in e.note),
            select("several frames, the first taken", lambda e: "frames" in e.note),
            select("of another kind than the name says", lambda e: e.is_misnamed),
            _find("other files, ignored", index.ignored, is_fault=False),
        ]
    )


def _find_classes_without_images(index: ImageIndex) -> list[Finding]:
    """Find the classes that no image is of; not of ImageNet's, of which a part is usual."""
    if index.classes.are_imagenets or index.label_error:
        return []
    used = {image.label for image in index.images}
    missing = [index.classes.describe(label) for label in range(index.classes.count) if label not in used]
    return _keep_found([_find("classes without an image", missing, is_fault=False)])
