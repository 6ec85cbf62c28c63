"""The run folder: its manifest is written first, says how the run ended, and nothing foreign is touched."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from assay.engines.base import CompiledModel
from assay.errors import AssayError, UsageError
from assay.files import escape_name, is_unfinished
from assay.images.pixel_check import check_pixels
from assay.measure.environment import describe_machine
from assay.report.results_file import FILE_NAMES, Benchmark, Manifest, Metrics, write_result
from assay.workflows.listener import Listener, Progress

Mode = Literal["new", "resume", "overwrite"]
LOG_FILE = "log.jsonl"
PREDICTIONS_FOLDER = "predictions"
COMPILED_FOLDER = "compiled"
ONNX_FILE = "model.onnx"
REPORT_FILE = "report.md"
_OWN_FOLDERS = (PREDICTIONS_FOLDER, COMPILED_FOLDER)
_OWN_FILES = (*FILE_NAMES.values(), LOG_FILE, ONNX_FILE, REPORT_FILE)


@dataclass(frozen=True, kw_only=True)
class RunPlace:
    """Where a run's results go.

    Args:
        path: The run folder; None means a new one, `runs/TIME-MODEL-ENGINE`, the time in UTC.
        mode: Whether a run that is there already is an error, is continued or is deleted.
        arguments: The command as it was given, for the manifest.
    """

    path: Path | None = None
    mode: Mode = "new"
    arguments: tuple[str, ...] = ()

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

    def __init__(self, path: Path, manifest: Manifest, listener: Listener) -> None:
        self.path = path
        self.manifest = manifest
        self._listener = listener
        self._log = (path / LOG_FILE).open("ab")

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

    def save_manifest(self) -> None:
        """Write the manifest as it is now."""
        write_result(self.path, self.manifest)

    def finish(self, status: Literal["finished", "failed", "interrupted"], error: str = "") -> None:
        """Write into the manifest and the log how the run ended, and close the log."""
        self.manifest.status = status
        self.manifest.error = error
        self.manifest.finished = _now()
        self.save_manifest()
        self._write_event(status)
        self._log.close()

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
    _prepare_folder(path, place.mode)
    manifest = Manifest(
        status="running",
        arguments=place.arguments,
        started=_now(),
        machine=describe_machine(),
        pixel_check=check_pixels(),
    )
    run = RunFolder(path, manifest, listener)
    run.save_manifest()
    if manifest.pixel_check.differing:
        run.announce(f"Warning: other pixels than verified: {', '.join(manifest.pixel_check.differing)}")
    try:
        yield run
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


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _prepare_folder(path: Path, mode: Mode) -> None:
    if path.exists() and not path.is_dir():
        raise UsageError(f"-o {path}: expected a folder, found a file")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {path}: cannot be made: {error.strerror}") from error
    present = {entry.name for entry in path.iterdir() if not is_unfinished(entry.name)}
    foreign = sorted(present - {*_OWN_FILES, *_OWN_FOLDERS})
    if foreign or (present and FILE_NAMES[Manifest] not in present):
        found = ", ".join((foreign or sorted(present))[:3])
        raise UsageError(
            f"-o {path}: holds something that is no run of assay: {found}", hint="choose another folder"
        )
    if present and mode == "new":
        raise UsageError(
            f"-o {path}: holds a run already",
            hint="continue it with --resume, replace it with --overwrite, or choose another folder",
        )
    if mode == "overwrite":
        _delete_own(path)


def _delete_own(path: Path) -> None:
    for name in _OWN_FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
    for name in _OWN_FILES:
        (path / name).unlink(missing_ok=True)
