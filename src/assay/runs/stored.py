"""A run read back from its folder: what its files say, and which shards hold its predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assay.errors import BadInputError, UsageError, quote
from assay.files import is_inner_path
from assay.inference.identity import RunIdentity, compute_fingerprint
from assay.inference.shards import MISSING, StoredPredictions, find_fault, list_shard_files
from assay.models.record import ModelRecord
from assay.runs.place import BATCHES_FOLDER, FAST_FOLDER, PREDICTIONS_FOLDER, REFERENCE_FOLDER
from assay.runs.results_file import Benchmark, ImageSet, Manifest, Metrics, read_result

MAX_SHARDS = 1_000_000  # of 1,024 images each, if they are as usual
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class PredictedRun:
    """A run that predicts images; whether all of them are predicted, `list_missing` tells.

    Args:
        path: The run folder.
        manifest: What was run on what.
        model: Of the manifest, as the next two.
        identity: What decides the predictions.
        image_set: What is predicted.
    """

    path: Path
    manifest: Manifest
    model: ModelRecord
    identity: RunIdentity
    image_set: ImageSet

    @classmethod
    def from_manifest(cls, path: Path, manifest: Manifest | None) -> PredictedRun:
        """The run of that manifest; None stands for a missing one.

        Raises:
            UsageError: It predicts no images.
        """
        model, identity, images = (
            (manifest.model, manifest.identity, manifest.image_set) if manifest else (None, None, None)
        )
        if manifest is None or model is None or identity is None or images is None:
            raise UsageError(
                f"{path}: holds no run with predictions",
                hint="expected a folder of `assay run` or `assay evaluate`",
            )
        stop = manifest.early_stop
        if stop and not all(is_inner_path(f"{stop.folder}/{name}") for name in stop.shards):
            raise BadInputError(f"{path}: manifest.json names {quote(stop.folder)} for its predictions")
        if images.image_count > MAX_SHARDS * identity.shard_size:
            raise BadInputError(f"{path}: manifest.json tells of more than {MAX_SHARDS:,} shards")
        return PredictedRun(path=path, manifest=manifest, model=model, identity=identity, image_set=images)

    @property
    def label_offset(self) -> int:
        """The class of label 0."""
        return self.model.output.label_offset

    @property
    def image_count(self) -> int:
        """How many images its shards hold: all, or those that were run before it was cut."""
        stop = self.manifest.early_stop
        return stop.image_count if stop else self.image_set.image_count

    @property
    def shards(self) -> list[str]:
        """The file names of the shards that its metrics are computed from."""
        if self.manifest.early_stop is not None:
            return self.manifest.early_stop.shards
        return list_shard_files(self.image_set.image_count, self.identity.shard_size)

    @property
    def predictions(self) -> StoredPredictions:
        """What those shards hold, read when it is iterated."""
        stop = self.manifest.early_stop
        return self._read(stop.folder if stop else PREDICTIONS_FOLDER)

    @property
    def reference(self) -> StoredPredictions | None:
        """What the reference says of the same images; None where there is none, or not of all."""
        return self._read_whole(REFERENCE_FOLDER)

    @property
    def fast(self) -> StoredPredictions | None:
        """What the fast model of a cascade says alone of the same images; None likewise."""
        return self._read_whole(FAST_FOLDER)

    def read_batch(self, batch_size: int) -> StoredPredictions:
        """What the model says of the same images at another batch size, read when it is iterated."""
        return self._read(f"{BATCHES_FOLDER}/{batch_size}")

    def list_missing(self) -> list[str]:
        """The file names of the shards that are not there, damaged, out of their place or of another run."""
        return list(self._find_faults())

    def _find_faults(self) -> dict[str, str]:
        """Why shards, by file name, cannot be used: all but those that can."""
        fingerprint = compute_fingerprint(self.identity)
        faults = {path.name: find_fault(path, fingerprint) for path in self.predictions.paths}
        return {name: fault for name, fault in faults.items() if fault}

    def refuse_missing(self) -> None:
        """Refuse a run whose shards are not all there.

        Raises:
            UsageError: It says how many, and names the first.
        """
        if faults := self._find_faults():
            what = "missing" if {*faults.values()} == {MISSING} else "missing or cannot be used"
            named = [name if fault == MISSING else f"{name} ({fault})" for name, fault in faults.items()]
            more = f" and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
            raise UsageError(
                f"{self.path}: {len(faults)} of {len(self.shards)} shards are {what}: "
                f"{', '.join(named[:_LISTED])}{more}",
                hint="assay run or evaluate with --resume computes them",
            )

    def _read_whole(self, folder: str) -> StoredPredictions | None:
        found = self._read(folder)
        return found if all(path.is_file() for path in found.paths) else None

    def _read(self, folder: str) -> StoredPredictions:
        return StoredPredictions(paths=[self.path / folder / name for name in self.shards])


@dataclass(frozen=True, kw_only=True)
class StoredRun(PredictedRun):
    """A run whose predictions are all there and scored.

    Args:
        metrics: How accurate.
        benchmark: How fast; None where speed was not measured.
    """

    metrics: Metrics
    benchmark: Benchmark | None

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run in that folder, complete.

        Raises:
            UsageError: No run with predictions, shards are missing, or it is not scored.
            BadInputError: One of its files cannot be read.
        """
        run = cls.open_unchecked(path)
        run.refuse_missing()
        scored_count = run.metrics.accuracy.image_count
        if scored_count != run.image_count:
            raise UsageError(
                f"{path}: metrics.json is over {scored_count:,} images, the predictions over "
                f"{run.image_count:,}",
                hint="assay merge scores them",
            )
        return run

    @classmethod
    def open_unchecked(cls, path: Path) -> Self:
        """As `open`, but without a look at the shards.

        Raises:
            UsageError: No run with predictions, or it is not scored.
            BadInputError: One of its files cannot be read.
        """
        run = PredictedRun.from_manifest(path, read_result(path, Manifest))
        metrics = read_result(path, Metrics)
        if metrics is None:
            run.refuse_missing()
            raise UsageError(
                f"{path}: the predictions are not scored: metrics.json is missing",
                hint="assay merge scores them",
            )
        return cls(
            path=path,
            manifest=run.manifest,
            model=run.model,
            identity=run.identity,
            image_set=run.image_set,
            metrics=metrics,
            benchmark=read_result(path, Benchmark),
        )


def find_stored_run(path: Path) -> StoredRun | None:
    """The run in that folder, or None where it is unfinished or measures speed alone.

    Raises:
        BadInputError: One of its files cannot be read.
    """
    try:
        return StoredRun.open(path)
    except UsageError:
        return None
