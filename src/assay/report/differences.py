"""What differs between two runs, to be said before any figure that compares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

import msgspec

from assay.models.record import ModelRecord
from assay.report.named_run import NamedRun
from assay.report.tables.table import Table
from assay.runs.results_file import Manifest

CHECKPOINT_SUFFIXES = {".pth", ".pt", ".tar", ".safetensors"}
ONNX_SUFFIXES = {".onnx", ".data"}
HASH_DIGITS = 12
NONE = "none"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not the same in two runs, as each has it."""

    what: str
    reference: str
    candidate: str

    def __str__(self) -> str:
        return f"{self.what}: {self.candidate} instead of {self.reference}"


def list_differences(reference: Manifest, candidate: Manifest) -> list[Difference]:
    """What is not the same in two runs, from the model and its weights to the machine and the date."""
    found = dict(_describe(reference)), dict(_describe(candidate))
    pairs = {what: [each.get(what, NONE) for each in found] for what in {**found[0], **found[1]}}
    differences = [
        Difference(what=what, reference=one, candidate=other)
        for what, (one, other) in pairs.items()
        if one != other
    ]
    if not any(each.what.startswith("preprocessing") for each in differences):
        differences += _compare_identities(reference, candidate)
    return differences


def make_difference_table(runs: Sequence[NamedRun]) -> Table:
    """What is not the same in all runs, a column each; in words where nothing is known to differ."""
    found = [dict(_describe(run.manifest)) for run in runs]
    names = dict.fromkeys(name for each in found for name in each)
    rows = [(name, *(each.get(name, NONE) for each in found)) for name in names]
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    return Table(
        title="What differs",
        header=("", *(run.name for run in runs)),
        rows=differing or (("nothing that the runs record", *("same" for _ in runs)),),
        is_text=True,
    )


def _describe(manifest: Manifest) -> Iterator[tuple[str, str]]:
    images = manifest.image_set
    yield "model", manifest.model.name if manifest.model else NONE
    yield "weights", _join_hashes(manifest, CHECKPOINT_SUFFIXES)
    yield "weights key", manifest.weights_key or NONE
    yield "ONNX file", _join_hashes(manifest, ONNX_SUFFIXES)
    yield "engine", f"{manifest.engine} {manifest.engine_version}".strip() or NONE
    yield "precision", manifest.precision or NONE
    yield "device", manifest.device or NONE
    yield "cascade", f"threshold {manifest.cascade.threshold:.6g}" if manifest.cascade else NONE
    yield "batch size", f"{manifest.evaluated_batch_size or NONE}"
    yield from _describe_preprocessing(manifest.model)
    yield (
        "images",
        f"{images.image_count:,} in {images.path}, sha256 {images.sha256[:HASH_DIGITS]}" if images else NONE,
    )
    yield "labels", images.label_source if images else NONE
    yield "class subset", f"{images.class_subset}" if images and images.class_subset else NONE
    yield "class names", ", ".join(images.class_names[:3]) if images and images.class_names else NONE
    yield "processor", manifest.machine.processor
    yield "system", manifest.machine.system
    yield "assay", manifest.assay_version
    yield "started", manifest.started


def _join_hashes(manifest: Manifest, suffixes: set[str]) -> str:
    hashes = [
        value[:HASH_DIGITS]
        for name, value in sorted(manifest.hashes.items())
        if PurePath(name).suffix.lower() in suffixes
    ]
    return ", ".join(hashes) or NONE


def _describe_preprocessing(record: ModelRecord | None) -> Iterator[tuple[str, str]]:
    if record is None:
        return
    for key in record.preprocessing.__struct_fields__:
        yield f"preprocessing, {key}", f"{getattr(record.preprocessing, key)}"


def _compare_identities(reference: Manifest, candidate: Manifest) -> Iterator[Difference]:
    """Yield that the same preprocessing was computed by something else."""
    one, other = reference.identity, candidate.identity
    if one is not None and other is not None and one.preprocessing != other.preprocessing:
        yield Difference(
            what="preprocessing, by other versions of what computes it or within other limits",
            reference=one.preprocessing[:HASH_DIGITS],
            candidate=other.preprocessing[:HASH_DIGITS],
        )
