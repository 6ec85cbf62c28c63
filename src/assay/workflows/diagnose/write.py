"""What a diagnosis leaves behind: its page, its JSON, and the record with the changes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from assay.diagnose.view import is_of_record
from assay.files import write_file
from assay.models.record import ModelRecord
from assay.models.write_record import write_record_toml
from assay.report.cause import render_cause_page
from assay.workflows.diagnose.diagnose import Diagnosis

PAGE, DOCUMENT = "diagnosis.html", "diagnosis.json"


def write_diagnosis(found: Diagnosis, folder: Path) -> Path:
    """Write `diagnosis.html` and `diagnosis.json` into the folder; returns where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    write_file(folder / DOCUMENT, text + b"\n")
    page = render_cause_page(found.model, found.record, found.network, found.images)
    write_file(folder / PAGE, page.encode())
    return folder / PAGE


def write_fixed_record(found: Diagnosis, record: ModelRecord, path: Path) -> str:
    """Write the record with the changes that a record can hold; returns a line that says what was done."""
    if found.record is None or not found.record.changes:
        return f"{path}: not written, since nothing in the record is to be changed"
    write_file(path, write_record_toml(record).encode())
    left = [change.factor for change in found.record.changes if not is_of_record(change)]
    if not left:
        return f"{path}: the record with these changes"
    return f"{path}: the record with these changes, but for {', '.join(left)}, to be changed elsewhere"
