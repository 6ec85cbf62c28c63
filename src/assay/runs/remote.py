"""A run folder behind a URL: worked on in the user's cache, and copied there file by file, each whole."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from filelock import FileLock
from platformdirs import user_cache_path
from pyarrow import ArrowException, fs

from assay.errors import SourceError, UsageError, quote
from assay.files import is_inner_path, is_unfinished, write_file
from assay.images.forms.object_store import find_url, open_url
from assay.images.read import Patience, try_patiently
from assay.inference.identity import RunIdentity
from assay.runs.locks import is_lock
from assay.runs.place import RunPlace
from assay.runs.results_file import FILE_NAMES, Manifest

Stamps = dict[str, tuple[int, int]]
"""Size and time of change by relative path."""
_UNKNOWN = (-1, -1)


@contextmanager
def stage_run(place: RunPlace, cache: Path | None = None) -> Iterator[RunPlace]:
    """Give a place on this machine for a run whose folder is a URL; at the end, copy it there.

    What the URL holds of the run is fetched first, so that `--resume` continues it. The end may be an error
    or Ctrl-C. Where the copy fails, or the process is killed before it, the results stay on this machine, and
    `--resume` continues with them. One machine at a time may work on such a run: a bucket knows no locks.

    Raises:
        UsageError: The URL cannot be read or written, holds something else, or is shared by `--shard`.
    """
    url = find_url(place.path) if place.path else None
    if url is None:
        yield place
        return
    if place.share is not None:
        raise UsageError(f"-o {url}: --shard needs a folder", hint="give one that all machines share")
    folder = (cache or user_cache_path("assay") / "runs") / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    unpublished = folder.with_suffix(".unpublished")
    with FileLock(folder.with_suffix(".lock")):
        with _reporting(url, "check the URL and the credentials, which the store's own tools find"):
            before = _fetch(url, folder, is_kept=unpublished.exists())
        unpublished.touch()
        try:
            yield dataclasses.replace(place, path=folder)
        finally:
            with _reporting(url, f"the results are kept in {folder}: the command with --resume copies them"):
                _publish(url, folder, before)
            unpublished.unlink()


@contextmanager
def _reporting(url: str, hint: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ArrowException, SourceError) as error:
        cause = error.__cause__ if isinstance(error, SourceError) and error.__cause__ else error
        raise UsageError(f"-o {url}: {str(cause).splitlines()[0]}", hint=hint) from error


def _list_remote(url: str) -> list[str]:
    file_system, root = open_url(url)
    infos = file_system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    return [info.path[len(root) :].lstrip("/") for info in infos if info.type == fs.FileType.File]


def _read_remote(url: str, name: str) -> bytes:
    file_system, root = open_url(url)
    with file_system.open_input_file(f"{root}/{name}") as file:
        content: bytes = file.read()
    return content


def _write_remote(url: str, name: str, content: bytes) -> None:
    file_system, root = open_url(url)
    with file_system.open_output_stream(f"{root}/{name}") as file:
        file.write(content)  # appears whole when it is closed


def _fetch(url: str, folder: Path, *, is_kept: bool) -> Stamps:
    """Make the folder hold what the URL does, and give what the URL holds.

    Args:
        url: The run folder's.
        folder: Its place on this machine.
        is_kept: Whether that holds results that could not be copied; then only what it lacks is fetched.
    """
    patience = Patience()
    names = try_patiently(partial(_list_remote, url), url, patience)
    manifest = FILE_NAMES[Manifest]
    for name in names:
        if not is_inner_path(name):
            raise UsageError(f"-o {url}: holds {quote(name)}, which is no file of a run")
    if names and manifest not in names:
        raise UsageError(f"-o {url}: holds something that is no run of assay: {names[0]}")
    if is_kept and (folder / manifest).is_file() and manifest in names:
        _refuse_other_run(url, folder, try_patiently(partial(_read_remote, url, manifest), url, patience))
    if not is_kept:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    for name in names:
        if not (folder / name).exists():
            write_file(folder / name, try_patiently(partial(_read_remote, url, name), url, patience))
    return dict.fromkeys(names, _UNKNOWN) if is_kept else _stamp(folder)


def _refuse_other_run(url: str, folder: Path, remote_manifest: bytes) -> None:
    """Refuse to continue a run whose results could not be copied where the URL holds another run by now.

    Raises:
        UsageError: What decides the predictions differs.
    """
    here = msgspec.json.decode((folder / FILE_NAMES[Manifest]).read_bytes(), type=_Identified)
    there = msgspec.json.decode(remote_manifest, type=_Identified)
    if here.identity is not None and here.identity != there.identity:
        raise UsageError(
            f"-o {url}: holds another run than the one in {folder}, which could not be copied there",
            hint="choose another URL, or remove that folder if its results are not wanted",
        )


class _Identified(msgspec.Struct):
    identity: RunIdentity | None = None


def _publish(url: str, folder: Path, before: Stamps) -> None:
    """Copy what has changed, the manifest last, and delete what is no longer there."""
    patience = Patience()
    now = _stamp(folder)
    changed = [name for name, stamp in now.items() if before.get(name) != stamp]
    for name in sorted(changed, key=lambda name: name == FILE_NAMES[Manifest]):
        content = (folder / name).read_bytes()
        try_patiently(partial(_write_remote, url, name, content), f"{url}/{name}", patience)
    file_system, root = open_url(url)
    for name in before.keys() - now.keys():
        file_system.delete_file(f"{root}/{name}")


def _stamp(folder: Path) -> Stamps:
    files = [file for file in folder.rglob("*") if file.is_file()]
    kept = [file for file in files if not (is_lock(file.name) or is_unfinished(file.name))]
    stats = {file.relative_to(folder).as_posix(): file.stat() for file in kept}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in stats.items()}
