"""A run folder behind a URL: worked on in the user's cache, and copied there meanwhile, file by file."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout
from platformdirs import user_cache_path
from pyarrow import ArrowException

from assay.errors import AssayError, SourceError, UsageError
from assay.files import decode_json
from assay.images.forms.object_store import find_url
from assay.inference.identity import RunIdentity
from assay.runs.listener import SILENT, Listener
from assay.runs.place import RunPlace
from assay.runs.remote_store import MANIFEST, RemoteRun


@contextmanager
def stage_run(place: RunPlace, cache: Path | None = None, listener: Listener = SILENT) -> Iterator[RunPlace]:
    """Give a place on this machine for a run whose folder is a URL, which is copied there as it grows.

    The URL is written to first. What it holds of the run is fetched, so that `--resume` continues it. The end
    may be an error or Ctrl-C. Where the copy fails, or the process is killed before it, the results stay on
    this machine too, and `--resume` continues with them.

    Raises:
        UsageError: The URL cannot be read or written, holds something else, or another process works there.
        SourceError: The store failed at the end.
    """
    url = find_url(place.path) if place.path else None
    if url is None:
        yield place
        return
    key = f"{url}\0{place.share}" if place.share else url
    folder = (cache or user_cache_path("assay") / "runs") / hashlib.sha256(key.encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    unpublished = folder.with_suffix(".unpublished")
    with _hold(folder.with_suffix(".lock"), url):
        remote = RemoteRun(url, folder, place.share)
        with _reporting(url, "check the URL and the credentials, which the store's own tools find"):
            remote.list_files()  # which refuses what is no run, before anything is written there
            remote.claim(listener)
            with _releasing(remote):
                _fetch(url, remote, folder, remote.list_files(), is_kept=unpublished.exists())
        unpublished.touch()
        remote.follow()
        try:
            yield dataclasses.replace(place, path=folder, remote=remote)
        except AssayError as error:
            error.message, error.hint = (
                text.replace(str(folder), url) for text in (error.message, error.hint)
            )
            raise
        finally:
            hint = f"the results are kept in {folder}: the command with --resume copies them"
            with _reporting(url, hint, SourceError):
                remote.end()
            unpublished.unlink()


@contextmanager
def _hold(lock: Path, url: str) -> Iterator[None]:
    """Hold this machine's copy of the run; raises UsageError where another process does."""
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            f"-o {url}: another process of this machine works on this run",
            hint="wait for it, or choose another URL; --shard 1/2 and --shard 2/2 work side by side",
        ) from error
    try:
        yield
    finally:
        held.release()


@contextmanager
def _releasing(remote: RemoteRun) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(SourceError, OSError):
            remote.release()
        raise


@contextmanager
def _reporting(url: str, hint: str, kind: type[UsageError | SourceError] = UsageError) -> Iterator[None]:
    try:
        yield
    except (OSError, ArrowException, SourceError) as error:
        cause = error.__cause__ if isinstance(error, SourceError) and error.__cause__ else error
        raise kind(f"-o {url}: {str(cause).splitlines()[0]}", hint=hint) from error


def _fetch(url: str, remote: RemoteRun, folder: Path, names: list[str], *, is_kept: bool) -> None:
    """Make the folder hold what the URL does; where it holds results that were not copied, what it lacks."""
    if is_kept and (folder / MANIFEST).is_file() and MANIFEST in names:
        _refuse_other_run(url, folder, remote.read_manifest())
    if not is_kept:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    remote.fetch(names, is_kept=is_kept)


def _refuse_other_run(url: str, folder: Path, remote_manifest: bytes) -> None:
    """Refuse to continue a run whose results could not be copied where the URL holds another run by now.

    Raises:
        UsageError: What decides the predictions differs.
    """
    here = decode_json((folder / MANIFEST).read_bytes(), kind=_Identified)
    there = decode_json(remote_manifest, kind=_Identified)
    if here.identity is not None and here.identity != there.identity:
        raise UsageError(
            f"-o {url}: holds another run than the one in {folder}, which could not be copied there",
            hint="choose another URL, or remove that folder if its results are not wanted",
        )


class _Identified(msgspec.Struct):
    identity: RunIdentity | None = None
