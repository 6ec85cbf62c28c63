"""Whether two runs can be compared image by image, and what differs in them besides the model."""

from __future__ import annotations

from assay.errors import BadInputError, UsageError
from assay.models.record import Preprocessing
from assay.runs.stored import StoredRun


def describe_differences(reference: StoredRun, candidate: StoredRun) -> list[str]:
    """What differs besides the model.

    Raises:
        UsageError: A run was cut before all its images were predicted.
        BadInputError: The classes are not the same ones.
    """
    for run in (reference, candidate):
        _refuse_cut(run)
    _refuse_other_classes(reference, candidate)
    notes = []
    if reference.identity.preprocessing != candidate.identity.preprocessing:
        changed = _describe_preprocessing(reference.model.preprocessing, candidate.model.preprocessing)
        notes.append(f"preprocessed differently: {changed}")
    if reference.identity.images != candidate.identity.images:
        notes.append("other images, or in another place: compared over those of the same path")
    if reference.model.name != candidate.model.name:
        notes.append(f"another model: {reference.model.name} against {candidate.model.name}")
    processors = [run.manifest.machine.processor for run in (reference, candidate)]
    if processors[0] != processors[1]:
        notes.append(f"another machine: {processors[0]} against {processors[1]}")
    return notes


def _refuse_cut(run: StoredRun) -> None:
    if run.manifest.early_stop is not None:
        raise UsageError(
            f"{run.path}: {run.manifest.early_stop.sentence}",
            hint="complete it with --resume and without --stop-when-certain",
        )


def _refuse_other_classes(reference: StoredRun, candidate: StoredRun) -> None:
    one, other = reference.model.output, candidate.model.output
    if (one.class_count, one.label_offset) != (other.class_count, other.label_offset):
        raise BadInputError(
            f"the two models have other classes: {one.class_count} with label offset {one.label_offset} "
            f"against {other.class_count} with {other.label_offset}",
            hint="compare models over the same classes",
        )


def _describe_preprocessing(reference: Preprocessing, candidate: Preprocessing) -> str:
    """Which keys of the preprocessing differ, with both values."""
    changed = [
        f"{key} {getattr(reference, key)} against {getattr(candidate, key)}"
        for key in Preprocessing.__struct_fields__
        if getattr(reference, key) != getattr(candidate, key)
    ]
    return "; ".join(changed) or "other versions of what computes it, or other limits"
