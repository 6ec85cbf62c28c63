"""Whether two runs can be compared image by image."""

from __future__ import annotations

from assay.errors import BadInputError, UsageError
from assay.runs.stored import StoredRun


def check_comparable(reference: StoredRun, candidate: StoredRun) -> None:
    """Refuse two runs that cannot be compared image by image.

    Raises:
        UsageError: A run was cut before all its images were predicted.
        BadInputError: The classes are not the same ones.
    """
    for run in (reference, candidate):
        _refuse_cut(run)
    _refuse_other_classes(reference, candidate)


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
