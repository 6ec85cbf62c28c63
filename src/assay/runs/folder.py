"""The run folder: its manifest is written first, says how the run ended, and nothing foreign is touched."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from assay.convert.parity import LogitParity
from assay.engines.cascade.record import CascadeRecord
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import SessionDescription
from assay.errors import AssayError, UsageError, hide_credentials
from assay.files import escape_name, hash_file
from assay.images.check_pixels import check_pixels
from assay.inference.identity import RunIdentity, name_changes
from assay.interrupts import on_forced_exit
from assay.measure.early_gates import EarlyStop
from assay.measure.environment import describe_machine
from assay.measure.gates import GateResult
from assay.measure.speed.pipeline_speed import PipelineSpeed
from assay.models.calibration import CalibrationRecord
from assay.runs.listener import Listener, Progress
from assay.runs.locks import Share, lock_run
from assay.runs.place import LOG_FILE, RunPlace, make_run_folder, undo_without_work
from assay.runs.remote_store import RemoteRun
from assay.runs.results_file import (
    Benchmark,
    DeviceUse,
    ImageSet,
    Manifest,
    Metrics,
    read_result,
    write_result,
)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run found, and where it lies; what was not run is None."""

    folder: Path
    manifest: Manifest
    metrics: Metrics | None = None
    benchmark: Benchmark | None = None
    gates: tuple[GateResult, ...] = ()


class RunFolder(Listener):
    """A run folder that is being filled; also writes what it hears to `log.jsonl` and passes it on."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        listener: Listener,
        share: Share | None = None,
        before: Manifest | None = None,
        remote: RemoteRun | None = None,
    ) -> None:
        self.path = path
        self.share = share
        self.remote = remote
        self._manifest = manifest
        self._before = before
        self.is_left = False
        self._listener = listener
        self._log = (path / LOG_FILE).open("ab")
        self._ending = threading.Lock()

    def announce(self, text: str) -> None:
        """Write the line to the log and pass it on."""
        self._write_event(text)
        self._listener.announce(text)

    def advance(self, progress: Progress) -> None:
        """Pass it on."""
        self._listener.advance(progress)

    @property
    def manifest(self) -> Manifest:
        """The manifest as it is now; it is changed by this class alone, and written at every change."""
        return self._manifest

    @contextmanager
    def hold_manifest(self) -> Iterator[None]:
        """Hold what the shares of the run have in common, for a moment."""
        place = RunPlace(share=self.share, remote=self.remote)
        with place.hold_manifest(self.path):
            yield

    def record_remark(self, remark: str) -> None:
        """Record what stands at the head of the report."""
        self._record(remark=remark)

    def record_model_sources(self, sources: Sequence[str]) -> None:
        """Record where each line of a model record comes from that was drawn from the file itself."""
        self._record(model_sources=tuple(sources))

    def record_export(self, weights: str, sha256: str, opset: int, parity: LogitParity) -> None:
        """Record that weights of that name and sha256 became an ONNX file, and how it agrees with torch."""
        hashes = self._manifest.hashes | {weights: sha256}
        self._record(opset=opset, logit_parity=parity, hashes=hashes)

    def record_weights_key(self, key: str) -> None:
        """Record which set of a checkpoint's weights was exported; "" for the file's top level."""
        self._record(weights_key=key)

    def record_calibration(self, calibration: CalibrationRecord) -> None:
        """Record how the int8 model was made."""
        self._record(calibration=calibration)

    def record_model(self, compiled: CompiledModel) -> None:
        """Record which compiled model is run."""
        self._record(
            model=compiled.model,
            weights_key=self._manifest.weights_key if compiled.weights_key is None else compiled.weights_key,
            engine=compiled.engine,
            engine_version=compiled.engine_version,
            device=compiled.device,
            precision=compiled.precision,
            compiled_batch_size=compiled.batch_size,
            hashes=self._manifest.hashes | compiled.source_files | compiled.files,
        )

    def record_cascade(self, cascade: CascadeRecord) -> None:
        """Record how the compiled model that is run is made of two."""
        self._record(cascade=cascade)

    def record_session(self, name: str, session: SessionDescription) -> None:
        """Record what the session of the predictor of that name runs on."""
        self._record(sessions=self._manifest.sessions | {name: session})

    def record_pipeline(self, name: str, speed: PipelineSpeed) -> None:
        """Record how fast the predictor of that name went from encoded images to predictions."""
        self._record(pipelines=self._manifest.pipelines | {name: speed})

    def record_failed_shards(self, failed: Mapping[str, AssayError]) -> None:
        """Record why shards, by file name, have no predictions."""
        causes = {name: error.message for name, error in failed.items()}
        self._record(failed_shards=self._manifest.failed_shards | causes)

    def record_devices(self, uses: Mapping[str, DeviceUse]) -> None:
        """Record what each of several devices did, beside what they did before the run was resumed."""
        before = self._before.devices or {} if self._before else {}
        counts = {name: use.image_count for name, use in before.items()}
        added = {
            name: msgspec.structs.replace(use, image_count=use.image_count + counts.get(name, 0))
            for name, use in uses.items()
        }
        self._record(devices=before | added)

    def record_early_stop(self, stop: EarlyStop) -> None:
        """Record that the run ends before all images are run; the notes on the images say so too."""
        images = self._manifest.image_set
        if images is not None:
            images = msgspec.structs.replace(images, notes=(*images.notes, stop.sentence))
        self._record(early_stop=stop, image_set=images)

    def record_metrics(self, metrics_file: Path, predictions_sha256: str = "") -> None:
        """Record the sha256 of `metrics.json` as this run wrote it, and that of the shards that it is of."""
        self._record(metrics_sha256=hash_file(metrics_file), predictions_sha256=predictions_sha256)

    def record_gates(self, judged: Sequence[GateResult]) -> None:
        """Record what each gate says of the run."""
        self._record(gates=list(judged))

    def claim_evaluation(self, identity: RunIdentity, image_set: ImageSet, batch_size: int) -> None:
        """Record what decides the predictions, after finding that those in the folder were made by the same.

        Args:
            identity: What decides the predictions.
            image_set: The images.
            batch_size: How many are predicted in one call.

        Raises:
            UsageError: The folder holds shards of a run with another compiled model, other images, …
        """
        with self.hold_manifest():
            stored = read_result(self.path, Manifest)
            before = stored.identity if stored else None
            changes = name_changes(before, identity) if before else []
            if changes:
                self.leave_as_it_was()
                raise UsageError(
                    f"{self.path}: cannot resume this run: {', '.join(changes)} changed since it began",
                    hint="choose another folder, or begin again with --overwrite",
                )
            self._record(identity=identity, image_set=image_set, evaluated_batch_size=batch_size)

    def finish(self, status: Literal["finished", "failed", "interrupted"], error: str = "") -> None:
        """Write into the manifest and the log how the run ended, and close the log.

        One share of a run says so in the log alone: the others go on. Only the first call counts: a process
        that is ended from outside may make two at once.
        """
        with self._ending:
            if not self._log.closed:
                self._finish(status, error)

    def _finish(self, status: Literal["finished", "failed", "interrupted"], error: str) -> None:
        if self.share is None and not self.is_left:
            self._record(status=status, error=error, finished=_now())
        self._write_event(f"share {self.share}: {status} {error}".strip() if self.share else status)
        self._log.close()

    def complete(self) -> None:
        """Write into the manifest that all shares of the run are done."""
        self._record(status="finished", finished=_now())

    @property
    def before(self) -> Manifest | None:
        """The manifest that the run had when it was opened; None for a new run."""
        return self._before

    def leave_as_it_was(self) -> None:
        """Give a run that is not continued the manifest back that it had, with how it ended."""
        self.is_left = True
        if self._before is not None:
            self._manifest = self._before
            write_result(self.path, self._before)

    def _record(self, **changes: object) -> None:
        changed = msgspec.structs.replace(self._manifest, **changes)
        if changed != self._manifest:
            self._manifest = changed
            write_result(self.path, changed)

    def _write_event(self, text: str) -> None:
        self._log.write(
            msgspec.json.encode({"time": _now(), "event": escape_name(hide_credentials(text))}) + b"\n"
        )
        self._log.flush()


@contextmanager
def open_run_folder(
    place: RunPlace, model_name: str, engine_name: str, listener: Listener
) -> Iterator[RunFolder]:
    """Give the run folder, with a manifest that says `running`; at the end it says how the run ended.

    A run that fails before any work leaves no trace: a folder that was made for it goes, and a run that it
    was to replace comes back.

    Raises:
        UsageError: The folder holds a run and the mode is `new`, or it holds anything else.
    """
    path, made = make_run_folder(place.choose_path(model_name, engine_name), place)
    with lock_run(path, place.share), undo_without_work(path, made, place):
        with place.hold_manifest(path):
            before = read_result(path, Manifest)
            manifest = _begin_manifest(place, before)
            write_result(path, manifest)
            run = RunFolder(path, manifest, listener, place.share, before, place.remote)
        if differing := run.manifest.pixel_check.differing:
            run.announce(f"Warning: other pixels than verified: {', '.join(differing)}")
        with on_forced_exit(partial(run.finish, "interrupted")), _record_end(run):
            yield run


@contextmanager
def _record_end(run: RunFolder) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        run.finish("interrupted")
        raise
    except AssayError as error:
        run.finish("failed", error.message)
        raise
    except BaseException as error:
        run.finish("failed", f"{type(error).__name__}: {error}")
        raise
    run.finish("finished")


def _begin_manifest(place: RunPlace, before: Manifest | None) -> Manifest:
    return Manifest(
        status="running",
        arguments=tuple(map(hide_credentials, place.arguments)),
        supplied=tuple(map(hide_credentials, place.supplied)),
        started=_now(),
        machine=describe_machine(),
        pixel_check=check_pixels(),
        identity=before.identity if before else None,
        sessions=before.sessions if before else {},  # what is there already was predicted by
        pipelines=before.pipelines if before else {},
        devices=before.devices if before else msgspec.UNSET,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
