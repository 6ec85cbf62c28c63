"""What an index says of the place that its images are read from, and whether that is as it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import numpy as np

from assay.errors import BadImagesError, SourceError
from assay.images.forms.local_file import LocalFile
from assay.images.forms.object_store import find_url
from assay.images.forms.remote_archives import list_remote_files
from assay.images.forms.remote_file import RemoteFile
from assay.images.forms.scan import READABLE, FolderSource, find_settled_time
from assay.images.listing import is_image_path
from assay.images.members import ArchiveSource
from assay.images.rows import ImageRows, ImageSource, Stretch

_EMPTY = "not decodable: empty file"
_TAR = ".tar"


class StoredFolder(msgspec.Struct, frozen=True, kw_only=True, tag="folder"):
    """As `FolderSource`."""

    root: Path
    folder_times: tuple[tuple[str, int], ...]

    def make(self) -> FolderSource:
        """What opens its images."""
        return FolderSource(root=self.root, folder_times=self.folder_times)

    def is_unchanged(self, images: ImageRows, *, looks_at_files: bool) -> bool:
        """Whether the folders, and the images where they are looked at, are as when they were listed."""
        try:
            if any((self.root / folder).stat().st_mtime_ns != when for folder, when in self.folder_times):
                return False
        except OSError:
            return False
        if set(images.texts.faults) - {"", _EMPTY}:
            return False  # what could not be read may be readable by now
        return not looks_at_files or all(self._are_unchanged(images, one) for one in images.stretches())

    def _are_unchanged(self, images: ImageRows, stretch: Stretch) -> bool:
        folders = [
            os.path.join(os.fsencode(self.root), os.fsencode(folder))  # noqa: PTH118
            for folder in images.texts.folders
        ]
        names = stretch.names.to_pylist()
        sizes, times = np.empty(len(names), dtype=np.int64), np.empty(len(names), dtype=np.int64)
        for number, (folder, name) in enumerate(zip(stretch.folders.tolist(), names, strict=True)):
            try:
                status = os.stat(folders[folder] + name)  # noqa: PTH116 - a million of them
            except OSError:
                return False
            if status.st_mode & READABLE != READABLE or not stat.S_ISREG(status.st_mode):
                return False
            sizes[number], times[number] = status.st_size, status.st_mtime_ns
        return bool((sizes == stretch.sizes).all() and (times == stretch.places).all())


class StoredArchives(msgspec.Struct, frozen=True, kw_only=True, tag="archives"):
    """The archives of an `ArchiveSource`: all on this machine, or all behind one URL.

    Args:
        where: The archive, the folder of archives, or the URL of either.
        folder_time: When the folder was last written to; None for one archive, or a URL.
        local: Archives on this machine.
        remote: Archives behind a URL.
        beside: What else is behind it.
    """

    where: Path
    folder_time: int | None = None
    local: tuple[LocalFile, ...] = ()
    remote: tuple[RemoteFile, ...] = ()
    beside: tuple[RemoteFile, ...] = ()

    def make(self) -> ArchiveSource:
        """What opens their members."""
        return ArchiveSource(archives=self.local or self.remote)

    def is_unchanged(self, _images: ImageRows, *, looks_at_files: bool) -> bool:  # noqa: ARG002 - there are few
        """Whether the archives, and those beside them, are as when they were listed."""
        try:
            if url := find_url(self.where):
                return {*list_remote_files(url)} == {*self.remote, *self.beside}
            if self.folder_time is not None and self.where.stat().st_mtime_ns != self.folder_time:
                return False
            for archive in self.local:
                archive.check(archive.path.stat())
        except (OSError, SourceError, BadImagesError):
            return False
        return True


def store_source(where: Path, source: ImageSource) -> StoredFolder | StoredArchives | None:
    """What an index says of the place that images are read from; None where it cannot tell of changes there.

    Args:
        where: The data set.
        source: What opens its images.
    """
    if isinstance(source, FolderSource) and source.root == where and source.folder_times:
        return StoredFolder(root=source.root, folder_times=source.folder_times)
    if isinstance(source, ArchiveSource):
        return _store_archives(where, source)
    return None


def _store_archives(where: Path, source: ArchiveSource) -> StoredArchives | None:
    if url := find_url(where):
        return _store_remote(where, url, [file for file in source.archives if isinstance(file, RemoteFile)])
    local = tuple(archive for archive in source.archives if isinstance(archive, LocalFile))
    if [archive.path for archive in local] == [where]:
        return StoredArchives(where=where, local=local)
    if {archive.path.parent for archive in local} != {where}:
        return None
    folder_time = find_settled_time(where)
    names = {name for name in os.listdir(where) if name.endswith(_TAR) and not name.startswith(".")}  # noqa: PTH208
    if not folder_time or names != {archive.path.name for archive in local}:
        return None
    return StoredArchives(where=where, folder_time=folder_time, local=local)


def _store_remote(where: Path, url: str, archives: list[RemoteFile]) -> StoredArchives | None:
    beside = {*list_remote_files(url)} - {*archives}
    is_uncertain = any(file.modified_s is None for file in archives) or any(
        file.name.endswith(_TAR) or is_image_path(file.name, lambda _: False) for file in beside
    )
    if is_uncertain:
        return None  # what came since it was listed, or a change to come, is not told
    return StoredArchives(where=where, remote=tuple(archives), beside=tuple(beside))
