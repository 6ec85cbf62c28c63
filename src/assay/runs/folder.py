"""The run folder: its manifest is written first, says how the run ended, and nothing foreign is touched."""

from __future__ import annotations

import datetime
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from assay.engines.compiled_model import CompiledModel
from assay.errors import AssayError, UsageError
from assay.files import escape_name, is_unfinished
from assay.images.forms.object_store import find_url
from assay.images.pixel_check import check_pixels
from assay.inference.identity import RunIdentity, name_changes
from assay.interrupts import on_forced_exit
from assay.measure.environment import describe_machine
from assay.runs.listener import Listener, Progress
from assay.runs.locks import Share, is_lock, lock_manifest, lock_run
from assay.runs.results_file import FILE_NAMES, Benchmark, Manifest, Metrics, read_result, write_result

Mode = Literal["new", "resume", "overwrite"]
LOG_FILE = "log.jsonl"
PREDICTIONS_FOLDER = "predictions"
REFERENCE_FOLDER = "reference"
SAMPLE_FOLDER = "sample"
COMPILED_FOLDER = "compiled"
FLOAT_FOLDER = "float"
ONNX_FILE = "model.onnx"
INT8_FILE = "model_int8.onnx"
CALIBRATION_FILE = "model_int8.json"
REPORT_FILE = "report.md"
PAGE_FILE = "report.html"
_OWN_FOLDERS = (PREDICTIONS_FOLDER, REFERENCE_FOLDER, SAMPLE_FOLDER, COMPILED_FOLDER, FLOAT_FOLDER)
_OWN_FILES = (*FILE_NAMES.values(), LOG_FILE, ONNX_FILE, INT8_FILE, CALIBRATION_FILE, REPORT_FILE, PAGE_FILE)


@dataclass(frozen=True, kw_only=True)
class RunPlace:
    """Where a run's results go.

    Args:
        path: The run folder; None means a new one, `runs/TIME-MODEL-ENGINE`, the time in UTC.
        mode: Whether a run that is there already is an error, is continued or is deleted.
        arguments: The command as it was given, for the manifest.
        share: Which parts of the run this process computes; None means all. A run that is there is
            joined then, whatever the mode.
    """

    path: Path | None = None
    mode: Mode = "new"
    arguments: tuple[str, ...] = ()
    share: Share | None = None

    def choose_path(self, model_name: str, engine_name: str) -> Path:
        """Return the path of the run folder."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        return self.path or Path("runs") / f"{stamp}-{model_name}-{engine_name}"


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run found, and where it lies; parts that were not run are None."""

    folder: Path
    manifest: Manifest
    metrics: Metrics | None = None
    benchmark: Benchmark | None = None


class RunFolder(Listener):
    """A run folder that is being filled; also writes what it hears to `log.jsonl` and passes it on."""

    def __init__(
        self, path: Path, manifest: Manifest, listener: Listener, share: Share | None = None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.share = share
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

    def describe_model(self, compiled: CompiledModel) -> None:
        """Write into the manifest which compiled model is run."""
        manifest = self.manifest
        manifest.model = compiled.model
        manifest.engine, manifest.engine_version = compiled.engine, compiled.engine_version
        manifest.device, manifest.precision = compiled.device, compiled.precision
        manifest.compiled_batch_size = compiled.batch_size
        manifest.hashes |= compiled.source_files | compiled.files
        self.save_manifest()

    def claim_identity(self, identity: RunIdentity) -> None:
        """Write into the manifest what decides the predictions, or find that it is what it was.

        Raises:
            UsageError: The folder holds parts of a run with another compiled model, other images, …
        """
        with lock_manifest(self.path, self.share):
            stored = read_result(self.path, Manifest)
            before = stored.identity if stored else None
            changes = name_changes(before, identity) if before else []
            if changes:
                raise UsageError(
                    f"{self.path}: cannot go on with this run: {', '.join(changes)} changed since it began",
                    hint="choose another folder, or begin again with --overwrite",
                )
            self.manifest.identity = identity
            self.save_manifest()

    def save_manifest(self) -> None:
        """Write the manifest as it is now."""
        write_result(self.path, self.manifest)

    def finish(self, status: Literal["finished", "failed", "interrupted"], error: str = "") -> None:
        """Write into the manifest and the log how the run ended, and close the log.

        One share of a run says so in the log alone: the others go on. Only the first call counts: a process
        that is ended from outside may make two at once.
        """
        with self._ending:
            if not self._log.closed:
                self._finish(status, error)

    def _finish(self, status: Literal["finished", "failed", "interrupted"], error: str) -> None:
        if self.share is None:
            self.manifest.status = status
            self.manifest.error = error
            self.manifest.finished = _now()
            self.save_manifest()
        self._write_event(f"share {self.share}: {status} {error}".strip() if self.share else status)
        self._log.close()

    def complete(self) -> None:
        """Write into the manifest that all shares of the run are done."""
        self.manifest.status = "finished"
        self.manifest.finished = _now()
        self.save_manifest()

    def _write_event(self, text: str) -> None:
        self._log.write(msgspec.json.encode({"time": _now(), "event": escape_name(text)}) + b"\n")
        self._log.flush()


@contextmanager
def open_run_folder(
    place: RunPlace, model_name: str, engine_name: str, listener: Listener
) -> Iterator[RunFolder]:
    """Give the run folder, with a manifest that says `running`; at the end it says how the run ended.

    Raises:
        UsageError: The folder holds a run and the mode is `new`, or it holds anything else.
    """
    path = place.choose_path(model_name, engine_name)
    _make_folder(path, place)
    with lock_run(path, place.share):
        with lock_manifest(path, place.share):
            run = RunFolder(path, _begin_manifest(path, place), listener, place.share)
            run.save_manifest()
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


def _begin_manifest(path: Path, place: RunPlace) -> Manifest:
    """Return the manifest of a run that begins or is gone on with; the folder is this process's by now."""
    _check_folder(path, place)
    if place.mode == "overwrite":
        _delete_own(path)
    manifest = Manifest(
        status="running",
        arguments=place.arguments,
        started=_now(),
        machine=describe_machine(),
        pixel_check=check_pixels(),
    )
    before = read_result(path, Manifest)
    if before is not None:
        manifest.identity = before.identity  # what is there already was predicted by
        manifest.sessions = before.sessions
    return manifest


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _make_folder(path: Path, place: RunPlace) -> None:
    if url := find_url(path):
        raise UsageError(
            f"-o {url}: expected a folder, found a URL",
            hint="assay evaluate takes one; here, mount it or copy the run",
        )
    if path.exists() and not path.is_dir():
        raise UsageError(f"-o {path}: expected a folder, found a file")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {path}: cannot be made: {error.strerror}") from error
    _check_folder(path, place)


def _check_folder(path: Path, place: RunPlace) -> None:
    """Refuse a folder with anything foreign, or with a run that is not to be touched."""
    present = {entry.name for entry in path.iterdir() if not _is_passing(entry.name)}
    foreign = sorted(present - {*_OWN_FILES, *_OWN_FOLDERS})
    if foreign or (present and FILE_NAMES[Manifest] not in present):
        found = ", ".join((foreign or sorted(present))[:3])
        raise UsageError(
            f"-o {path}: holds something that is no run of assay: {found}", hint="choose another folder"
        )
    if present and place.mode == "new" and place.share is None:
        raise UsageError(
            f"-o {path}: holds a run already",
            hint="continue it with --resume, replace it with --overwrite, or choose another folder",
        )


def _is_passing(name: str) -> bool:
    return is_unfinished(name) or is_lock(name)


def _delete_own(path: Path) -> None:
    for name in _OWN_FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
    for name in _OWN_FILES:
        (path / name).unlink(missing_ok=True)
