"""A run folder behind a URL: worked on in the user's cache, and copied there file by file, each whole."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from platformdirs import user_cache_path
from pyarrow import ArrowException, fs

from assay.errors import UsageError
from assay.files import is_unfinished, write_file
from assay.images.forms.object_store import find_url, open_url
from assay.runs.folder import RunPlace
from assay.runs.locks import is_lock
from assay.runs.results_file import FILE_NAMES, Manifest

Stamps = dict[str, tuple[int, int]]
"""Size and time of change by relative path."""


@contextmanager
def stage_run(place: RunPlace, cache: Path | None = None) -> Iterator[RunPlace]:
    """Give a place on this machine for a run whose folder is a URL; at the end, copy it there.

    What the URL holds of the run is fetched first, so that `--resume` goes on with it. The end may be
    an error or Ctrl-C. One machine at a time may work on such a run: a bucket knows no locks.

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
    with FileLock(folder.with_suffix(".lock")):
        before = _reporting(url, _fetch, folder)
        try:
            yield dataclasses.replace(place, path=folder)
        finally:
            _reporting(url, _publish, folder, before)


def _reporting(url: str, action: Any, *arguments: Any) -> Any:
    try:
        return action(*open_url(url), *arguments)
    except (OSError, ArrowException) as error:
        raise UsageError(
            f"-o {url}: {str(error).splitlines()[0]}",
            hint="check the URL and the credentials, which are found as the store's own tools find them",
        ) from error


def _list_remote(file_system: Any, root: str) -> list[str]:
    infos = file_system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
    return [info.path[len(root) :].lstrip("/") for info in infos if info.type == fs.FileType.File]


def _fetch(file_system: Any, root: str, folder: Path) -> Stamps:
    """Make the folder hold what the URL does, and return what it holds."""
    names = _list_remote(file_system, root)
    if names and FILE_NAMES[Manifest] not in names:
        raise UsageError(f"-o {root}: holds something that is no run of assay: {names[0]}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in names:
        with file_system.open_input_file(f"{root}/{name}") as file:
            write_file(folder / name, file.read())
    return _stamp(folder)


def _publish(file_system: Any, root: str, folder: Path, before: Stamps) -> None:
    """Copy what has changed, the manifest last, and delete what is no longer there."""
    now = _stamp(folder)
    changed = [name for name, stamp in now.items() if before.get(name) != stamp]
    for name in sorted(changed, key=lambda name: name == FILE_NAMES[Manifest]):
        content = (folder / name).read_bytes()
        with file_system.open_output_stream(f"{root}/{name}") as file:
            file.write(content)  # appears whole when it is closed
    for name in before.keys() - now.keys():
        file_system.delete_file(f"{root}/{name}")


def _stamp(folder: Path) -> Stamps:
    files = [file for file in folder.rglob("*") if file.is_file()]
    kept = [file for file in files if not (is_lock(file.name) or is_unfinished(file.name))]
    stats = {file.relative_to(folder).as_posix(): file.stat() for file in kept}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in stats.items()}
