"""Whether two runs can be compared image by image, and what differs in them besides the model."""

from __future__ import annotations

from pathlib import Path

from assay.errors import BadInputError, UsageError
from assay.inference.identity import compute_fingerprint
from assay.inference.shards import list_shard_files
from assay.runs.results_file import Manifest
from assay.workflows.evaluate.evaluate import list_missing


def list_parts(run: Path, manifest: Manifest) -> list[str]:
    """Return the names of the parts of a run's predictions.

    Raises:
        UsageError: It has none, or not all of them.
    """
    if manifest.identity is None or manifest.image_set is None:
        raise UsageError(f"{run}: holds no run with predictions")
    names = list_shard_files(manifest.image_set.image_count, manifest.identity.shard_size)
    missing = list_missing(run, names, compute_fingerprint(manifest.identity))
    if missing:
        raise UsageError(
            f"{run}: {len(missing)} of {len(names)} parts of its predictions are missing: {missing[0]}, …",
            hint="finish it with --resume",
        )
    return names


def compare_manifests(its: Manifest, mine: Manifest) -> list[str]:
    """Return what differs besides the model.

    Raises:
        BadInputError: The classes are not the same ones.
    """
    if its.identity is None or mine.identity is None or its.model is None or mine.model is None:
        return []
    outputs = [(model.output.class_count, model.output.label_offset) for model in (its.model, mine.model)]
    if outputs[0] != outputs[1]:
        raise BadInputError(
            f"the two models have other classes: {outputs[0][0]} with label offset {outputs[0][1]} against "
            f"{outputs[1][0]} with {outputs[1][1]}",
            hint="compare models over the same classes",
        )
    notes = []
    if its.identity.preprocessing != mine.identity.preprocessing:
        notes.append(f"preprocessed differently: {_describe_preprocessing(its, mine)}")
    if its.identity.images != mine.identity.images:
        notes.append("other images, or in another place: compared over those of the same path")
    if its.model.name != mine.model.name:
        notes.append(f"another model: {its.model.name} against {mine.model.name}")
    if its.machine.processor != mine.machine.processor:
        notes.append(f"another machine: {its.machine.processor} against {mine.machine.processor}")
    return notes


def _describe_preprocessing(its: Manifest, mine: Manifest) -> str:
    """Return which keys of the preprocessing differ, with both values."""
    if its.model is None or mine.model is None:
        return "unknown"
    one, other = its.model.preprocessing, mine.model.preprocessing
    changed = [
        f"{key} {getattr(one, key)} against {getattr(other, key)}"
        for key in type(one).__struct_fields__
        if getattr(one, key) != getattr(other, key)
    ]
    return "; ".join(changed) or "other versions of what computes it, or other limits"
