"""The files of a folder in columns: one call of the system for each, and no object that stays."""

from __future__ import annotations

import itertools
import os
import stat
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow

from assay.errors import BadImagesError, SourceError
from assay.images.forms.local_file import LocalFile, find_status, name_fault
from assay.images.listing import KnowsName, is_image_path
from assay.images.read import Patience, try_patiently
from assay.images.rows import Texts
from assay.images.table import Columns, ImageTable

READABLE = stat.S_IRUSR | stat.S_IROTH
"""What the mode of a file says that anybody may read."""
_SETTLED_NS = 2 * 10**9
_SORTED_AT_ONCE = 2**16
_File = tuple[bytes, int, int, str]
"""Name, size, when it was last written to, and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Opens images by their paths in a folder; their places are when they were last written to.

    Args:
        root: The folder.
        folder_times: The folders that were listed, and when each was last written to, nanoseconds since 1970;
            0 where that was so short before it was listed that more may have been written at the same time.
    """

    root: Path
    folder_times: tuple[tuple[str, int], ...] = ()

    def open(self, relative_path: str, size_bytes: int, place: int) -> Callable[[], bytes]:
        """See `ImageSource.open`."""
        path = self.root / relative_path
        return LocalFile(path=path, size_bytes=size_bytes, modified_ns=place).read_bytes


@dataclass(frozen=True, kw_only=True)
class LinkRules:
    """Which links are read: those that stay in `tree`, or all."""

    tree: Path
    follow_links: bool

    def find_fault(self, path: Path) -> str:
        """Why the link is not read; mostly empty."""
        if self.follow_links or _is_inside(path, self.tree):
            return ""
        return "a link out of the folder: --follow-links reads it"


@dataclass(kw_only=True)
class Scan:
    """Files as they are found, a folder after the other.

    Args:
        folders: The folders that were scanned, each with the `/` at its end.
        ends: Where in `names` the name of each file ends.
        counts: How many files each folder has.
        times_of_folders: See `FolderSource`.
        faults: What is wrong with a file, by its number.
    """

    folders: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    times_of_folders: list[int] = field(default_factory=list)
    names: bytearray = field(default_factory=bytearray)
    ends: array[int] = field(default_factory=lambda: array("q", [0]))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    times: array[int] = field(default_factory=lambda: array("q"))
    faults: dict[int, str] = field(default_factory=dict)

    def add_folder(self, root: Path, prefix: str, rules: LinkRules) -> list[str]:
        """Add the files in root/prefix that are no pipe, socket or device; gives the names of the folders.

        Links that lead nowhere, and files that must not be read, keep what is wrong with them.

        Raises:
            BadImagesError: It is no folder, or must not be listed.
            SourceError: The file system failed.
        """
        begin, modified_ns = len(self.sizes), 0

        def scan_again() -> list[str]:
            nonlocal modified_ns
            self._cut(begin)
            try:
                modified_ns = find_settled_time(root / prefix)
                return list(self._add_entries(root / prefix, rules))
            except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
                raise BadImagesError(f"folder {root / prefix} cannot be listed: {error.strerror}") from error

        folders = try_patiently(scan_again, f"folder {root / prefix}", Patience())
        self.folders.append(prefix)
        self.times_of_folders.append(modified_ns)
        self.counts.append(len(self.sizes) - begin)
        return folders

    def _add_entries(self, folder: Path, rules: LinkRules) -> Iterator[str]:
        """Add the files of a folder, sorted unless there are very many; yields the names of its folders."""
        patience = Patience()
        files: list[_File] = []
        with os.scandir(os.fsencode(folder)) as entries:
            for entry in entries:
                try:
                    status = entry.stat()
                except OSError:
                    path = folder / os.fsdecode(entry.name)
                    found = find_status(path, patience)
                    if isinstance(found, OSError):
                        files.append((entry.name, 0, 0, _explain(path, found)))
                        continue
                    status = found
                if not stat.S_ISREG(status.st_mode):
                    if stat.S_ISDIR(status.st_mode):
                        yield os.fsdecode(entry.name)
                    continue
                fault = ""
                if not status.st_size or status.st_mode & READABLE != READABLE or entry.is_symlink():
                    fault = _find_fault(folder / os.fsdecode(entry.name), status, rules)
                files.append((entry.name, status.st_size, status.st_mtime_ns, fault))
                if len(files) == _SORTED_AT_ONCE:
                    self._add_files(files)
                    files = []
        self._add_files(files)

    def _add_files(self, files: list[_File]) -> None:
        if not files:
            return
        files.sort()
        begin = len(self.sizes)
        names, sizes, times, faults = zip(*files, strict=True)
        if any(faults):
            self.faults.update((begin + row, fault) for row, fault in enumerate(faults) if fault)
        self.ends.extend(itertools.accumulate(map(len, names), initial=self.ends.pop()))
        self.names += b"".join(names)
        self.sizes.extend(sizes)
        self.times.extend(times)

    def _cut(self, count: int) -> None:
        """Forget all files but the first `count`."""
        del self.names[self.ends[count] :], self.ends[count + 1 :], self.sizes[count:], self.times[count:]
        for number in [number for number in self.faults if number >= count]:
            del self.faults[number]

    def list_names(self, begin: int = 0) -> Iterator[str]:
        """The names of the files from that number on."""
        for number in range(begin, len(self.sizes)):
            yield os.fsdecode(bytes(self.names[self.ends[number] : self.ends[number + 1]]))

    def has_images(self, begin: int, knows_name: KnowsName) -> bool:
        """Whether one of the files from that number on is an image."""
        return any(is_image_path(name, knows_name) for name in self.list_names(begin))

    def make_table(self, root: Path) -> ImageTable:
        """All files as a table, in the order in which they were found."""
        count = len(self.sizes)
        buffers = [None, pyarrow.py_buffer(self.ends), pyarrow.py_buffer(self.names)]
        columns = Columns(
            names=pyarrow.Array.from_buffers(pyarrow.large_binary(), count, buffers),
            folders=np.repeat(np.arange(len(self.folders), dtype=np.int32), self.counts),
            sizes=np.frombuffer(self.sizes, dtype=np.int64),
            places=np.frombuffer(self.times, dtype=np.int64),
        )
        times = tuple(zip(self.folders, self.times_of_folders, strict=True))
        source = FolderSource(root=root, folder_times=times)
        table = ImageTable(columns, Texts(folders=tuple(self.folders)), source)
        return _mark_faults(table, self.faults) if self.faults else table


def find_settled_time(folder: Path) -> int:
    """When a folder was last written to; see `FolderSource`."""
    modified_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116 - its errors are those of listing it
    return modified_ns if time.time_ns() - modified_ns > _SETTLED_NS else 0


def _find_fault(path: Path, status: os.stat_result, rules: LinkRules) -> str:
    """What is wrong with a file; mostly empty."""
    return (rules.find_fault(path) if path.is_symlink() else "") or name_fault(path, status)


def _mark_faults(table: ImageTable, faults: dict[int, str]) -> ImageTable:
    return table.with_faults(faults.get(number, "") for number in range(len(table)))


def _explain(path: Path, error: OSError) -> str:
    """Why a path leads nowhere: a broken link, a loop of links.

    Raises:
        SourceError: It is gone since the folder was listed.
    """
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        raise SourceError(f"{path}: vanished while its folder was listed", hint="try again")
    return "broken link" if isinstance(error, FileNotFoundError) else f"unreadable: {error.strerror}"


def _is_inside(path: Path, tree: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(tree)
    except (OSError, RuntimeError):  # broken, or a loop: what reads it says so
        return True
