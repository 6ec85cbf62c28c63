"""A run's folder behind a URL: its files appear there as they are made, each whole, by one writer."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pyarrow import ArrowException, fs

from assay.errors import SourceError, UsageError
from assay.files import is_inner_path, is_unfinished, write_file
from assay.images.forms.object_store import forget_url, open_url
from assay.images.read import Patience, Result, try_patiently
from assay.runs.listener import Listener
from assay.runs.locks import Share, is_lock
from assay.runs.results_file import FILE_NAMES, Manifest

MANIFEST = FILE_NAMES[Manifest]
Stamps = dict[str, tuple[int, int]]
"""Size and time of change by relative path."""
_UNKNOWN = (-1, -1)
_PART = re.compile(r"(?:.*/)?part-([0-9]+)\.parquet")
_CLAIM = ".claim-"
_ASKS, _HOLDS = b"asks", b""
_RENEWS_S = 10.0
_ABANDONED_S = 45.0
_LOOKS_S = 2.0
_SHORT_WAIT_S = 120.0


class StoredFile(NamedTuple):
    """When a file was last written, seconds since 1970 by the store's clock, and its size."""

    written_s: float
    size_bytes: int


class RemoteStore:
    """The files of a run behind a URL, by their paths in its folder; waits where the store fails for a while.

    Every method raises SourceError where the store goes on failing.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def list_files(self) -> dict[str, StoredFile]:
        """The files by their paths; claims are among them."""
        return self._try(self._list, "")

    def read(self, name: str) -> bytes:
        """Read a file."""
        return self._try(partial(self._read, name), name)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears whole when it is there, in place of one of that name."""
        self._try(partial(self._write, name, content), name)

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""
        self._try(partial(self._delete, name), name)

    def _try(self, act: Callable[[], Result], name: str) -> Result:
        def attempt() -> Result:
            try:
                return act()
            except (OSError, ArrowException) as error:
                forget_url(self.url)  # the credentials it was opened with may have expired
                if isinstance(error, OSError):
                    raise
                raise OSError(str(error)) from error

        return try_patiently(attempt, f"{self.url}/{name}".rstrip("/"), Patience())

    def _list(self) -> dict[str, StoredFile]:
        file_system, root = open_url(self.url)
        infos = file_system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        return {
            info.path[len(root) :].lstrip("/"): StoredFile(
                info.mtime.timestamp() if info.mtime else 0.0, info.size
            )
            for info in infos
            if info.type == fs.FileType.File
        }

    def _read(self, name: str) -> bytes:
        file_system, root = open_url(self.url)
        with file_system.open_input_file(f"{root}/{name}") as file:
            content: bytes = file.read()
        return content

    def _write(self, name: str, content: bytes) -> None:
        file_system, root = open_url(self.url)
        with file_system.open_output_stream(f"{root}/{name}") as file:
            file.write(content)  # appears whole when it is closed

    def _delete(self, name: str) -> None:
        file_system, root = open_url(self.url)
        with suppress(FileNotFoundError):
            file_system.delete_file(f"{root}/{name}")


class Claim:
    """Says behind the URL who writes there, in a small file that is renewed as long as that is so.

    pyarrow has no conditional put. So everybody first writes that it asks for the place, then looks for
    others, as stores list what was written before: of two at once, at least one sees the other. Who asks
    gives way to who holds the place, and of those that ask to the first by name. A claim that is not renewed
    was left by a process that was killed. One place on one machine has one name, which a local lock guards.
    """

    def __init__(self, store: RemoteStore, what: str, owner: str) -> None:
        self._store = store
        self._what = what
        self._name = f"{_CLAIM}{what}-{owner}"
        self._renewed = time.monotonic()

    def take(self, conflicts: Callable[[str], bool], listener: Listener) -> None:
        """Ask for the place and look at others' claims; wait for those that may be left over.

        Args:
            conflicts: Tells of what another claims whether both cannot be.
            listener: Hears that it is waited for.

        Raises:
            UsageError: Another process writes there.
        """
        self._store.write(self._name, _ASKS)
        seen = self._list_others(conflicts)
        until = time.monotonic() + _ABANDONED_S
        if seen:
            listener.announce(
                f"{self._store.url} is claimed by another process: waiting to see if it is there"
            )
        while seen and time.monotonic() < until:
            time.sleep(_LOOKS_S)
            self._store.write(self._name, _ASKS)
            now = self._list_others(conflicts)
            if any(seen.get(name) != file and self._gives_way(name, file) for name, file in now.items()):
                self.release()
                raise UsageError(
                    f"-o {self._store.url}: another process works on this run",
                    hint="wait for it, or choose another URL; --shard 1/2 and --shard 2/2 work side by side",
                )
            if any(seen.get(name) != file for name, file in now.items()):
                until = time.monotonic() + _ABANDONED_S  # it is there, and will give way
            seen = now
        for name in seen:
            self._store.delete(name)
        self._renew()

    def _gives_way(self, name: str, other: StoredFile) -> bool:
        """Whether this process, which asks, is to leave the place to another that is there."""
        return other.size_bytes != len(_ASKS) or name < self._name

    @contextmanager
    def hold_for_a_moment(self) -> Iterator[None]:
        """Hold what the shares of a run have in common; waits for the others' turns."""
        until = time.monotonic() + _SHORT_WAIT_S
        while True:
            self._store.write(self._name, _HOLDS)
            files = self._store.list_files()
            others = self._select(files, lambda what: what == self._what)
            now = files[self._name].written_s
            for name in [name for name in others if now - others[name].written_s > _ABANDONED_S]:
                self._store.delete(name)
                del others[name]
            if not others:
                break
            self._store.delete(self._name)
            if time.monotonic() > until:
                raise UsageError(f"-o {self._store.url}: another process holds {', '.join(others)}")
            time.sleep(random.uniform(0.1, 1.0))
        try:
            yield
        finally:
            self._store.delete(self._name)

    def renew(self) -> None:
        """Write it again, where the last time is long ago."""
        if time.monotonic() - self._renewed > _RENEWS_S:
            self._renew()

    def _renew(self) -> None:
        self._store.write(self._name, _HOLDS)
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Take it away."""
        self._store.delete(self._name)

    def _list_others(self, conflicts: Callable[[str], bool]) -> dict[str, StoredFile]:
        return self._select(self._store.list_files(), conflicts)

    def _select(
        self, files: dict[str, StoredFile], conflicts: Callable[[str], bool]
    ) -> dict[str, StoredFile]:
        return {
            name: file
            for name, file in files.items()
            if is_claim(name) and name != self._name and conflicts(name[len(_CLAIM) :].rpartition("-")[0])
        }


def is_claim(name: str) -> bool:
    """Whether a file of that name behind the URL says who writes there."""
    return name.startswith(_CLAIM)


def name_owner(folder: Path) -> str:
    """What a folder of this machine is called among the writers of a run, 16 hex digits."""
    return hashlib.sha256(f"{socket.gethostname()}\0{folder}".encode()).hexdigest()[:16]


class RemoteRun:
    """A run that is worked on in a folder and copied behind its URL meanwhile.

    Args:
        url: Where it is.
        folder: Where it is worked on.
        share: Which shards of it are this process's; None means all, and that nobody else writes there.
    """

    def __init__(self, url: str, folder: Path, share: Share | None) -> None:
        self._store = RemoteStore(url)
        self._folder = folder
        self._share = share
        self._copied: Stamps = {}
        self._is_last = False  # of the shares to end: it writes what they have in common
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        owner = name_owner(folder)
        self._claim = Claim(self._store, str(share).replace("/", "-of-") if share else "all", owner)
        self._manifest_claim = Claim(self._store, "manifest", owner)

    def claim(self, listener: Listener) -> None:
        """Take the place, which is written to so; raises UsageError where another process has it."""
        own = str(self._share).replace("/", "-of-")
        shares = self._share is not None
        self._claim.take(lambda what: what in ("all", own) if shares else what != "manifest", listener)

    def release(self) -> None:
        """Give the place back."""
        self._claim.release()

    def list_files(self) -> list[str]:
        """The files of the run, sorted.

        Raises:
            UsageError: Something else is there.
        """
        names = sorted(name for name in self._store.list_files() if not is_claim(name))
        for name in names:
            if not is_inner_path(name):
                raise UsageError(f"-o {self._store.url}: holds {name!r}, which is no file of a run")
        if names and MANIFEST not in names:
            raise UsageError(f"-o {self._store.url}: holds something that is no run of assay: {names[0]}")
        return names

    def read_manifest(self) -> bytes:
        """The manifest behind the URL."""
        return self._store.read(MANIFEST)

    def fetch(self, names: Sequence[str], *, is_kept: bool) -> None:
        """Fetch those of the files that are this process's and that the folder lacks.

        Args:
            names: The files behind the URL.
            is_kept: Whether the folder holds results that could not be copied.
        """
        for name in filter(self._is_own, names):
            if not (self._folder / name).exists():
                self._fetch_file(name)
        if is_kept:
            self._copied = dict.fromkeys(filter(self._is_own, names), _UNKNOWN)
        else:
            self._copied = self._stamp()

    def _fetch_file(self, name: str) -> None:
        write_file(self._folder / name, self._store.read(name))

    @contextmanager
    def hold_manifest(self) -> Iterator[None]:
        """Hold the manifest that the shares have in common: the newest in the block, and copied after."""
        if self._share is None:
            yield
            return
        with self._lock, self._manifest_claim.hold_for_a_moment():
            if MANIFEST in self._store.list_files():
                self._fetch_file(MANIFEST)
            yield
            self._store.write(MANIFEST, (self._folder / MANIFEST).read_bytes())

    def gather(self, names: Sequence[str]) -> bool:
        """Fetch the files of the other shares, where all are there; tells whether they are.

        Args:
            names: The files of all shares.
        """
        self.copy()  # so that of two shares that end at once, one sees both
        there = self._store.list_files()
        absent = [name for name in names if not (self._folder / name).exists()]
        if any(name not in there for name in absent):
            return False
        for name in absent:
            self._fetch_file(name)
            self._copied[name] = self._stamp_file(self._folder / name)
        self._is_last = True
        return True

    def follow(self) -> None:
        """Copy what changes until `end`, and renew the claim, each from a thread of its own.

        What fails is tried again, and said at the end, if it lasts.
        """
        self._threads = [
            threading.Thread(target=self._repeat, args=(act,), name=f"{act.__name__}s the run", daemon=True)
            for act in (self.copy, self._claim.renew)
        ]
        for thread in self._threads:
            thread.start()

    def _repeat(self, act: Callable[[], None]) -> None:
        while not self._ended.wait(_LOOKS_S):
            with suppress(SourceError, OSError):
                act()

    def end(self) -> None:
        """Copy what is left, and say that the run is not worked on any more."""
        try:
            self.copy()
        finally:
            self._ended.set()
        for thread in self._threads:
            thread.join()
        self._claim.release()

    def copy(self) -> None:
        """Copy what has changed, the manifest first where there is none, else last; delete what is gone."""
        with self._lock:
            now = self._stamp()
            changed = [name for name, stamp in now.items() if self._copied.get(name) != stamp]
            is_first = MANIFEST not in self._copied
            for name in sorted(changed, key=lambda name: (name == MANIFEST) != is_first):
                self._store.write(name, (self._folder / name).read_bytes())
                self._copied[name] = now[name]
            for name in [name for name in self._copied if name not in now]:
                self._store.delete(name)
                del self._copied[name]

    def _stamp(self) -> Stamps:
        files = [file for file in self._folder.rglob("*") if file.is_file()]
        kept = [file for file in files if not (is_lock(file.name) or is_unfinished(file.name))]
        return {
            name: self._stamp_file(file)
            for file in kept
            if self._is_copied(name := file.relative_to(self._folder).as_posix())
        }

    def _stamp_file(self, file: Path) -> tuple[int, int]:
        status = file.stat()
        return status.st_size, status.st_mtime_ns

    def _is_own(self, name: str) -> bool:
        """Whether a file is fetched at the beginning: all of them, or those that are of this share."""
        found = _PART.fullmatch(name)
        return self._share is None or name == MANIFEST or bool(found and self._share.holds(int(found[1])))

    def _is_copied(self, name: str) -> bool:
        """A share's log is its own; the manifest of shares is copied while it is held."""
        return self._share is None or self._is_last or name not in (MANIFEST, "log.jsonl")
