"""`assay diagnose`: shows the same photographs to a network in every way its record may be wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from assay.arrays import Images, Logits
from assay.diagnose.changed_images import ImagesFinding, examine_changes
from assay.diagnose.emulation import Arithmetic, Emulation
from assay.diagnose.finding import RecordFinding, conclude
from assay.diagnose.label_maps import LabelMap, list_label_maps
from assay.diagnose.network_finding import NetworkFinding
from assay.diagnose.settle import search_record
from assay.diagnose.stage import Predict, Stage, State
from assay.diagnose.view import Photograph, View, make_images
from assay.errors import UsageError
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sources import ImageIndex
from assay.models.network_input import make_network_input
from assay.models.record import ModelRecord
from assay.report.named_run import Picture
from assay.runs.listener import SILENT, Listener, Progress
from assay.workflows.diagnose.decoders import try_decoders
from assay.workflows.diagnose.open_reference import PUBLISHED, open_reference
from assay.workflows.diagnose.open_subject import Subject, open_other_outputs, open_subject
from assay.workflows.diagnose.photographs import Shown, load_photographs
from assay.workflows.diagnose.pictures import make_pictures

LEAST_IMAGES, NETWORK_IMAGE_COUNT, MOST_DECODED = 16, 100, 64


@dataclass(frozen=True, kw_only=True)
class DiagnosisRequest:
    """What is diagnosed, and on what.

    Args:
        subject: A run folder, a compiled model's folder, an ONNX file, or a checkpoint.
        images: The photographs, with their labels if there are any.
        model: Record of an ONNX file; empty for the one it carries.
        reference_percent: What Top-1 should be; None takes what the record publishes where the images are
            ImageNet's validation images.
        against: What is right, as `open_reference`; or `published`, for the record's own figure.
        only: Which part alone.
        emulate: Another chip's arithmetic, whose effect on the subject's answers is predicted.
    """

    subject: Path
    images: ImageRequest
    model: str = ""
    reference_percent: float | None = None
    against: Path | None = None
    only: Literal["record", "network", "images"] | None = None
    emulate: Arithmetic | None = None


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about the record, and about network and images where there is one to compare."""

    schema_version: int = 1
    model: str
    record: RecordFinding | None
    network: NetworkFinding | None = None
    images: ImagesFinding | None = None
    emulation: Emulation | None = None
    pictures: tuple[Picture, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """What others read: all but the pictures."""
        names = ("model", "record", "network", "images", "emulation")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Correction:
    """The record with the changes, and its label map; None where the labels stay as they are."""

    record: ModelRecord
    label_map: LabelMap | None = None


def diagnose(request: DiagnosisRequest, listener: Listener = SILENT) -> tuple[Diagnosis, Correction]:
    """Look for what explains a loss of accuracy: in the model's record, and in the network.

    Returns:
        What was found, and the record and labels with the changes that were taken.

    Raises:
        UsageError: Not a model, fewer than 16 images, or no ONNX file to compare where that is asked for.
        AssayError: The model cannot be run, or the images cannot be read.
    """
    _check(request)
    with open_subject(request.subject, request.model, listener) as subject:
        record = subject.record
        index = index_requested_images(request.images, read_classes(record))
        reference = _find_reference(request, record, index.label_kind == "names")
        photographs, remarks = _load(index, listener)
        with open_other_outputs(request.subject, record, listener) as others:
            outputs = {record.output.name: subject, **others} if others else {}
            stage = _make_stage(photographs, subject, outputs)
            given = stage.show(View(record=record), stage.given_map)
            end, finding = given, None
            if request.only in (None, "record"):
                search = search_record(stage, given, listener.announce)
                finding, end = conclude(search, reference), search.end
                finding = msgspec.structs.replace(finding, remarks=(*finding.remarks, *remarks))
            found = Diagnosis(model=record.name, record=finding)
            if request.against not in (None, PUBLISHED) or request.emulate is not None:
                shown = _show(stage.photographs, end)
                compared = _make_comparisons(request, subject, shown, end.view.record, listener)
                found = msgspec.structs.replace(compared, record=finding)
    label_map = None if end.has_labels_of(given) else end.label_map
    return found, Correction(record=end.view.record, label_map=label_map)


def _make_stage(photographs: list[Photograph], subject: Subject, outputs: dict[str, Subject]) -> Stage:
    maps, record = None, subject.record
    if photographs[0].label is not None:
        labels = (photograph.label or 0 for photograph in photographs)
        maps = list_label_maps(max(record.label_count, 1 + max(labels)), record.output)
    others = {name: make_predict(one) for name, one in outputs.items()}
    return Stage(photographs, make_predict(subject), maps, others)


def _make_comparisons(
    request: DiagnosisRequest,
    subject: Subject,
    shown: Shown,
    record: ModelRecord,
    listener: Listener,
) -> Diagnosis:
    """What needs another network or another arithmetic, on images that are shown as the search ended."""
    network, changed = _compare(request, subject, shown, record, listener)
    emulation = _emulate(request, shown, record, listener)
    differing = changed or (emulation.images if emulation is not None else None)
    return Diagnosis(
        model=subject.record.name,
        record=None,
        network=network,
        images=changed,
        emulation=emulation,
        pictures=make_pictures(differing, shown, record) if differing is not None else (),
    )


def _check(request: DiagnosisRequest) -> None:
    """Refuse what cannot be compared, and options that nothing would read."""
    expected = request.reference_percent
    if expected is not None and not 0 < expected <= 100:
        raise UsageError(f"--expect is {expected}; expected a percentage, such as 76.1")
    if expected is not None and request.only in ("network", "images"):
        raise UsageError(f"--expect has no effect with --only {request.only}", hint="leave one of them out")
    if request.emulate is not None:
        _check_emulation(request)
    if request.against is None:
        if request.only == "network" or (request.only == "images" and request.emulate is None):
            raise UsageError(
                f"--only {request.only} needs what the network is compared with",
                hint="give the ONNX file that is right: --against FLOAT.onnx",
            )
        return
    if request.only == "record":
        raise UsageError("--against has no effect with --only record", hint="leave one of them out")
    if request.against == PUBLISHED and request.only is not None:
        raise UsageError(
            f"--against published has no effect with --only {request.only}", hint="leave one of them out"
        )
    if request.against == PUBLISHED and expected is not None:
        raise UsageError("--against published and --expect both say what Top-1 should be")


def _check_emulation(request: DiagnosisRequest) -> None:
    if request.only in ("record", "network"):
        raise UsageError(
            f"--emulate has no effect with --only {request.only}", hint="leave one out, or --only images"
        )
    if request.subject.suffix.lower() != ".onnx":
        raise UsageError(
            f"{request.subject}: arithmetic is emulated from an ONNX file",
            hint="give the ONNX file that the model was compiled of",
        )


def _load(index: ImageIndex, listener: Listener) -> tuple[list[Photograph], list[str]]:
    """The photographs, and what is to be said of the images that are left out."""
    photographs, remarks = load_photographs(
        index,
        labelled=any(image.label is not None for image in index.images),
        advance=lambda done, total: listener.advance(
            Progress(task="Reading photographs", unit="images", done=done, total=total)
        ),
    )
    if len(photographs) < LEAST_IMAGES:
        raise UsageError(
            f"{len(photographs)} images can be shown; a diagnosis needs {LEAST_IMAGES} or more",
            hint="give more images; 100 to 400 find most causes",
        )
    return photographs, remarks


def _compare(
    request: DiagnosisRequest, subject: Subject, shown: Shown, record: ModelRecord, listener: Listener
) -> tuple[NetworkFinding | None, ImagesFinding | None]:
    """The network against the one that is right, where one is given."""
    if request.against is None or request.against == PUBLISHED:
        return None, None
    from assay.workflows.diagnose.compare_networks import open_networks
    from assay.workflows.diagnose.compare_subject import compare_subject, find_own_onnx

    images, classes, predict = shown.images, shown.classes, make_predict(subject)
    network = changed = None
    with open_reference(request.against, record, request.model, listener) as reference:
        networks = open_networks(find_own_onnx(subject, reference), reference, record.output.name)
        if request.only != "images":
            few = slice(NETWORK_IMAGE_COUNT)
            known = None if classes is None else classes[few]
            network = compare_subject(subject, predict, networks, images[few], known, listener)
    if request.only != "network":
        listener.announce(f"Looking for what changed images have in common, of {len(images)}")
        right = networks.score(networks.reference, make_network_input(images, record))
        others = predict(images).astype(np.float64)
        changed = examine_changes(shown.names, shown.traits, right, others, classes)
        names = set(changed.changed[:MOST_DECODED])
        some = [one for one in shown.photographs if one.name in names]
        changed = msgspec.structs.replace(changed, decoders=try_decoders(some, shown.view, predict))
    return network, changed


def _emulate(
    request: DiagnosisRequest, shown: Shown, record: ModelRecord, listener: Listener
) -> Emulation | None:
    """What another chip's arithmetic is predicted to do, where one is named."""
    from assay.workflows.diagnose.emulate import predict_arithmetic

    if request.emulate is None:
        return None
    listener.announce(f"Emulating {request.emulate} on {len(shown.images)} images")
    return predict_arithmetic(request.subject, request.emulate, shown, record)


def _show(photographs: Sequence[Photograph], end: State) -> Shown:
    """All photographs as the search ended: with the record's changes, and the labels' classes."""
    images, classes = make_images(photographs, end.view), None
    if end.label_map is not None:
        labels = np.array([one.label for one in photographs], dtype=np.int64)
        classes = end.label_map.classes[labels]
    return Shown(photographs=photographs, images=images, view=end.view, classes=classes)


def make_predict(subject: Subject) -> Predict:
    """What runs the session on batches of any size."""
    size = subject.batch_size

    def predict(images: Images) -> Logits:
        if size is None:
            return subject.session.run(images)
        parts = [subject.session.run(images[first : first + size]) for first in range(0, len(images), size)]
        return np.concatenate(parts)  # (N, classes)

    return predict


def _find_reference(
    request: DiagnosisRequest, record: ModelRecord, is_validation: bool
) -> tuple[float, str] | None:
    if request.reference_percent is not None:
        return request.reference_percent, "as given"
    if request.against == PUBLISHED and not record.published_accuracy:
        raise UsageError(
            f"--against published: record {record.name} holds no published accuracy",
            hint="give the figure with --expect",
        )
    if (is_validation or request.against == PUBLISHED) and record.published_accuracy:
        published = record.published_accuracy[0]
        return published.top1_percent, published.source
    return None
