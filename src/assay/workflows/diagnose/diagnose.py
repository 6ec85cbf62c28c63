"""`assay diagnose`: shows the same photographs to a network in every way its record may be wrong about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from assay.arrays import Images, Logits
from assay.diagnose.evidence import are_probabilities
from assay.diagnose.finding import RecordFinding, conclude
from assay.diagnose.label_maps import LabelMap, list_label_maps
from assay.diagnose.search import Predict, Stage, climb
from assay.diagnose.view import View, make_images
from assay.errors import UsageError
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT, Listener, Progress
from assay.workflows.diagnose.open_subject import Subject, open_subject
from assay.workflows.diagnose.photographs import load_photographs

LEAST_IMAGES = 16


@dataclass(frozen=True, kw_only=True)
class DiagnosisRequest:
    """What is diagnosed, and on what.

    Args:
        subject: A run folder, a compiled model's folder, or an ONNX file.
        images: The photographs, with their labels if there are any.
        model: Record of an ONNX file; empty for the one it carries.
        reference_percent: What Top-1 should be; None takes what the record publishes where the images are
            ImageNet's validation images.
    """

    subject: Path
    images: ImageRequest
    model: str = ""
    reference_percent: float | None = None


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: about the record."""

    schema_version: int = 1
    model: str
    record: RecordFinding


def diagnose(request: DiagnosisRequest, listener: Listener = SILENT) -> tuple[Diagnosis, ModelRecord]:
    """Look for what in a model's record explains a loss of accuracy.

    Returns:
        What was found, and the record with the changes that were taken.

    Raises:
        UsageError: Not a model, or fewer than 16 images.
        AssayError: The model cannot be run, or the images cannot be read.
    """
    with open_subject(request.subject, request.model, listener) as subject:
        record = subject.record
        index = index_requested_images(request.images, read_classes(record))
        labelled = any(image.label is not None for image in index.images)
        photographs, remarks = load_photographs(
            index,
            labelled=labelled,
            advance=lambda done, total: listener.advance(
                Progress(task="Reading photographs", unit="images", done=done, total=total)
            ),
        )
        if len(photographs) < LEAST_IMAGES:
            raise UsageError(
                f"{len(photographs)} images can be shown; a diagnosis needs {LEAST_IMAGES} or more",
                hint="give more images; 100 to 400 find most causes",
            )
        maps: tuple[LabelMap, ...] = ()
        if labelled:
            maps = list_label_maps(record.label_count, record.output.class_count, record.output.label_offset)
        stage = Stage(photographs, _make_predict(subject), maps)
        given = stage.show(View(record=record), 0, len(photographs))
        remarks += _remark_outputs(subject, stage, record)
        end, steps = climb(stage, stage.relabel(given), listener.announce)
        finding = conclude(
            stage, given, end, steps, _find_reference(request, record, index.label_kind == "names")
        )
    finding = msgspec.structs.replace(finding, remarks=(*finding.remarks, *remarks))
    return Diagnosis(model=record.name, record=finding), end.view.record


def _make_predict(subject: Subject) -> Predict:
    """Runs the session on batches of any size."""
    size = subject.batch_size

    def predict(images: Images) -> Logits:
        if size is None:
            return subject.session.run(images)
        parts = [subject.session.run(images[first : first + size]) for first in range(0, len(images), size)]
        return np.concatenate(parts)  # (N, classes)

    return predict


def _remark_outputs(subject: Subject, stage: Stage, record: ModelRecord) -> list[str]:
    """What the outputs are, where the record says something else."""
    few = make_images(stage.photographs[:LEAST_IMAGES], View(record=record))
    found = "probabilities" if are_probabilities(_make_predict(subject)(few)) else "logits"
    if record.output.scores == "sigmoid" or found == record.output.scores:
        return []
    return [
        f"the outputs are {found}, the record says {record.output.scores}: set output.scores = "
        f'"{found}"; it changes percentages, not Top-1'
    ]


def _find_reference(
    request: DiagnosisRequest, record: ModelRecord, is_validation: bool
) -> tuple[float, str] | None:
    if request.reference_percent is not None:
        return request.reference_percent, "as given"
    if is_validation and record.published_accuracy:
        published = record.published_accuracy[0]
        return published.top1_percent, published.source
    return None
