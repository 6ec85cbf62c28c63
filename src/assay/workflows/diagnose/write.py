"""What a diagnosis leaves behind: its page, its JSON, and the record with the changes."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import msgspec

from assay.diagnose.label_maps import LabelMap
from assay.diagnose.view import ELSEWHERE
from assay.files import write_file
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.models.record import ModelRecord
from assay.models.write_record import write_record_toml
from assay.report.cause_page import render_cause_page
from assay.workflows.diagnose.diagnose import Correction, Diagnosis

LABELS_SUFFIX = ".labels.csv"
"""Of the labels that are written beside a record."""

PAGE, DOCUMENT = "diagnosis.html", "diagnosis.json"


def write_diagnosis(found: Diagnosis, folder: Path) -> Path:
    """Write `diagnosis.html` and `diagnosis.json` into the folder; returns where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema_version": found.schema_version, **found.to_document()}
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    write_file(folder / DOCUMENT, text + b"\n")
    page = render_cause_page(
        found.model, found.record, found.network, found.images, found.emulation, found.pictures
    )
    write_file(folder / PAGE, page.encode())
    return folder / PAGE


def write_correction(found: Diagnosis, correction: Correction, images: ImageRequest, path: Path) -> list[str]:
    """Write the record with the changes, and beside it the labels where those are to be changed.

    A label offset that a record can hold goes into the record. Other label maps become a label file, with a
    line for every image of the data set whose label the map knows.

    Returns:
        Lines that say what was written, and what is to be changed elsewhere.

    Raises:
        AssayError: The images cannot be listed, or a file cannot be written.
    """
    if found.record is None or not found.record.changes:
        return [f"{path}: not written, since nothing in the record is to be changed"]
    record, label_map = correction.record, correction.label_map
    lines = []
    if label_map is not None:
        shifted = _shift_labels(record, label_map)
        record = shifted or record
        lines += [] if shifted else [_write_labels(correction, images, path.with_suffix(LABELS_SUFFIX))]
    write_file(path, write_record_toml(record).encode())
    left = [change.factor for change in found.record.changes if change.factor in ELSEWHERE]
    rest = f", but for {', '.join(left)}: no record can say that" if left else ""
    return [f"{path}: the record with these changes{rest}", *lines]


def _shift_labels(record: ModelRecord, label_map: LabelMap) -> ModelRecord | None:
    """The record with the map's offset; None where no record can hold it, or its classes have names."""
    offset = label_map.value
    if not isinstance(offset, int) or not 0 <= offset < record.output.class_count:
        return None
    if record.output.class_names or record.output.class_synsets:
        return None
    output = msgspec.structs.replace(record.output, label_offset=offset)
    return msgspec.structs.replace(record, output=output)


def _write_labels(correction: Correction, images: ImageRequest, path: Path) -> str:
    """Write the classes that the labels mean, counted as the record counts; returns a line about it."""
    assert correction.label_map is not None
    output, classes = correction.record.output, correction.label_map.classes
    index = index_requested_images(replace(images, limit=None), read_classes(correction.record))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("name", "label"))
    left_out = 0
    for image in index.images:
        if image.label is None:
            continue
        found = int(classes[image.label]) - output.label_offset if image.label < len(classes) else -1
        if found < 0:
            left_out += 1
        else:
            table.writerow((image.relative_path, found))
    write_file(path, text.getvalue().encode())
    rest = f", without {left_out} of which the order does not tell the class" if left_out else ""
    return f"{path}: the labels in the order of the network's classes{rest}; give it with --labels"
