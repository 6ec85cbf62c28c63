"""Where a run's results go: nothing foreign is touched, a failure before any work leaves no trace."""

from __future__ import annotations

import datetime
import itertools
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assay.errors import UsageError
from assay.files import PART_SUFFIX, is_unfinished, refuse_same_file
from assay.images.forms.object_store import find_url
from assay.images.request import StoredPlace
from assay.images.stored_index import INDEX_FILE
from assay.runs.locks import Share, is_lock, lock_manifest
from assay.runs.remote_store import RemoteRun
from assay.runs.results_file import FILE_NAMES, Manifest, read_result

Mode = Literal["new", "resume", "overwrite"]
LOG_FILE = "log.jsonl"
PREDICTIONS_FOLDER = "predictions"
REFERENCE_FOLDER = "reference"
SAMPLE_FOLDER = "sample"
BATCHES_FOLDER = "batches"
COMPILED_FOLDER = "compiled"
FLOAT_FOLDER = "float"
CASCADE_FOLDER = "cascade"
FAST_FOLDER = "fast"
ONNX_FILE = "model.onnx"
INT8_FILE = "model_int8.onnx"
CALIBRATION_FILE = "model_int8.json"
REPORT_FILE = "report.md"
PAGE_FILE = "report.html"
_RECORD_FILES = (FILE_NAMES[Manifest], LOG_FILE, INDEX_FILE)  # of what happens, whatever does
_OWN_FOLDERS = (
    PREDICTIONS_FOLDER,
    REFERENCE_FOLDER,
    FAST_FOLDER,
    SAMPLE_FOLDER,
    BATCHES_FOLDER,
    COMPILED_FOLDER,
    FLOAT_FOLDER,
    CASCADE_FOLDER,
)
_OWN_FILES = (
    LOG_FILE,
    INDEX_FILE,
    ONNX_FILE,
    INT8_FILE,
    CALIBRATION_FILE,
    REPORT_FILE,
    PAGE_FILE,
    *FILE_NAMES.values(),
)
# the manifest last: a run that is moved is whole in its new place when that is there
_OWN = (*_OWN_FOLDERS, *sorted(_OWN_FILES, key=lambda name: name == FILE_NAMES[Manifest]))


@dataclass(frozen=True, kw_only=True)
class RunPlace:
    """Where a run's results go.

    Args:
        path: The run folder; None means a new one, `runs/TIME-MODEL-ENGINE`, the time in UTC.
        mode: Whether a run that is there already is an error, is continued or is deleted.
        arguments: The command as it was given, for the manifest.
        supplied: Flags that came from elsewhere, each with its value and source, for the manifest.
        share: Which shards of the run this process computes; None means all. A run that is there is
            joined then, whatever the mode.
        remote: What copies the run behind a URL; None where the run folder is what it is for.
    """

    path: Path | None = None
    mode: Mode = "new"
    arguments: tuple[str, ...] = ()
    supplied: tuple[str, ...] = ()
    share: Share | None = None
    remote: RemoteRun | None = None

    @contextmanager
    def hold_manifest(self, folder: Path) -> Iterator[None]:
        """Hold what the shares of a run have in common, for a moment."""
        with lock_manifest(folder, self.share), self.remote.hold_manifest() if self.remote else nullcontext():
            yield

    @property
    def index(self) -> StoredPlace | None:
        """Where the index of the run that is continued or shared is stored; None for a new run."""
        if self.path is None or find_url(self.path) or (self.mode != "resume" and self.share is None):
            return None
        return StoredPlace(path=self.path / INDEX_FILE, is_shared=self.share is not None)

    def refuse_inputs(self, *inputs: Path | None) -> None:
        """Refuse to replace a run folder that holds what the run reads.

        Raises:
            UsageError: One of the files and folders lies in it.
        """
        if self.path is not None and self.mode == "overwrite":
            refuse_same_file(self.path, *inputs)

    def choose_path(self, model_name: str, engine_name: str) -> Path:
        """Return the path of the run folder, if it has no other of that name yet."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        model = re.sub(r"[/:@]", "-", model_name)  # timm/resnet50.a1_in1k@288 and so on
        return self.path or Path("runs") / f"{stamp}-{model}-{engine_name}"


def make_run_folder(path: Path, place: RunPlace) -> tuple[Path, list[Path]]:
    """Make the run folder, and return it and which folders were made, the innermost first.

    Where nobody named it, a number is put behind the name of one that is there already.
    """
    if url := find_url(path):
        raise UsageError(
            f"-o {url}: expected a folder, found a URL",
            hint="assay evaluate takes one; here, mount it or copy the run",
        )
    if path.exists() and not path.is_dir():
        raise UsageError(f"-o {path}: expected a folder, found a file")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen, is_new = _make_folder(path, is_named=place.path is not None)
    except OSError as error:
        raise UsageError(f"-o {path}: cannot be made: {error.strerror}") from error
    _check_folder(chosen, place)
    return chosen, [chosen, *made] if is_new else made


def _make_folder(path: Path, *, is_named: bool) -> tuple[Path, bool]:
    """Make a folder where there is none, which of several processes one alone does; tells whether it did."""
    for number in itertools.chain([""], (f"-{number}" for number in itertools.count(2))):
        chosen = path.with_name(path.name + number)
        try:
            chosen.mkdir()
        except FileExistsError:
            if is_named:
                break
        else:
            return chosen, True
    return path, False


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


@contextmanager
def undo_without_work(path: Path, made: Sequence[Path], place: RunPlace) -> Iterator[None]:
    """Set aside the run that is replaced; where the new one fails before any work, all is as it was.

    Args:
        path: The run folder, which is this process's.
        made: Folders that were made for it, the innermost first.
        place: What happens to a run that is there.
    """
    aside = path / f".replaced{PART_SUFFIX}"
    if place.share is None:
        _clean_up(path, aside)
    _check_folder(path, place)
    had_run = (path / FILE_NAMES[Manifest]).exists()
    if place.mode == "overwrite":
        _move_own(path, aside, _OWN)
    try:
        yield
    except BaseException as error:
        was_kept = had_run and place.mode != "overwrite"
        is_interrupted_first = not had_run and not isinstance(error, Exception)
        if not (was_kept or is_interrupted_first or place.share or _has_work(path)):
            _delete_own(path)
            _move_own(aside, path, reversed(_OWN))
            if not had_run:
                _remove_folders(path, made)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _has_work(path: Path) -> bool:
    """Whether the run folder holds anything that took work, or says of a shard that it failed."""
    manifest = read_result(path, Manifest)
    if manifest is not None and manifest.failed_shards:
        return True
    files = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return any(
        file.name not in _RECORD_FILES and not any(_is_passing(part) for part in file.parts) for file in files
    )


def _clean_up(path: Path, aside: Path) -> None:
    """Clean up after processes that were killed: the run is this process's alone.

    What they had begun to write goes; a run that was set aside comes back where nothing was done instead.
    """
    if aside.is_dir():
        is_whole = (aside / FILE_NAMES[Manifest]).exists()  # it is moved last, and comes back first
        if is_whole and not _has_work(path):
            _delete_own(path)
        if not is_whole or not _has_work(path):
            _move_own(aside, path, reversed(_OWN))
    for folder in (path, *(path / name for name in _OWN_FOLDERS)):
        for entry in folder.iterdir() if folder.is_dir() else ():
            if is_unfinished(entry.name) and entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif is_unfinished(entry.name):
                entry.unlink(missing_ok=True)


def _remove_folders(path: Path, made: Sequence[Path]) -> None:
    """Remove the locks of the run folder, and the folders that were made for it where they are empty."""
    for entry in path.iterdir():
        if is_lock(entry.name):
            entry.unlink()
    with suppress(OSError):  # another process has put something there
        for folder in made:
            folder.rmdir()


def _is_passing(name: str) -> bool:
    return is_unfinished(name) or is_lock(name)


def _move_own(source: Path, target: Path, names: Iterable[str]) -> None:
    """Move a run's files and folders; nothing where there are none."""
    for name in names:
        if (source / name).exists():
            target.mkdir(exist_ok=True)
            (source / name).rename(target / name)


def _delete_own(path: Path) -> None:
    for name in _OWN_FOLDERS:
        shutil.rmtree(path / name, ignore_errors=True)
    for name in _OWN_FILES:
        (path / name).unlink(missing_ok=True)
