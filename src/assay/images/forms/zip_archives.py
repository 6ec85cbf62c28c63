"""Images in zip archives, read in place: nothing is extracted, and no member's name is used as a path."""

from __future__ import annotations

import dataclasses
import functools
import lzma
import os
import struct
import threading
import zipfile
import zlib
from functools import partial
from pathlib import Path

from assay.errors import BadImagesError, UndecodableImageError, shorten
from assay.images.forms.class_folders import sort_out_files
from assay.images.forms.imagenet_archives import refuse_other_archives
from assay.images.forms.local_file import LocalFile, describe_file
from assay.images.forms.remote_file import RemoteFile
from assay.images.listing import KnowsName, LabelledImage, Listing

# What zipfile raises on damaged archives, found by fuzzing; RuntimeError includes what it does not implement
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    RuntimeError,
)
_ENCRYPTED = 1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})


def list_zip(path: Path | RemoteFile, knows_name: KnowsName) -> Listing:
    """List the images in a zip archive; where a name comes twice the last one counts.

    Raises:
        BadImagesError: It is cut short or damaged, or it is another archive of ImageNet.
    """
    try:
        source = path if isinstance(path, RemoteFile) else describe_file(path, path.stat())
        archive = _open_archive(source)
    except _DAMAGE as error:
        raise BadImagesError(
            f"--images {path}: cut short or damaged: {shorten(error)}", hint="download it again"
        ) from error
    members = [member for member in archive.infolist() if not member.filename.endswith("/")]
    last = {member.filename: member for member in members}
    opened = _OpenZip(source, archive)
    files = [_make_image(opened, member) for member in last.values()]
    listing = sort_out_files("zip archive", files, knows_name)
    refuse_other_archives(path, listing)
    replaced_count = len(members) - len(last)
    note = f"{path.name}: {replaced_count:,} members were replaced by later ones of the same name"
    return dataclasses.replace(listing, notes=(note,) if replaced_count else ())


class _OpenZip:
    """An archive that is read from; sent to another process, it is opened there once.

    Args:
        source: Its file as it was when it was listed; reads of one behind a URL are checked one by one.
        archive: The archive, where it is open already.
    """

    def __init__(self, source: LocalFile | RemoteFile, archive: zipfile.ZipFile | None = None) -> None:
        self._source = source
        self._archive = archive
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self._source,)

    def read_member(self, member: zipfile.ZipInfo) -> bytes:
        """Read a member, never more than the archive's directory says it has.

        Raises:
            UndecodableImageError: It is damaged, in an archive that is as it was when it was listed.
            SourceError: The archive changed.
            OSError: It cannot be read.
        """
        try:
            with self._lock:
                self._archive = archive = self._archive or _open_archive(self._source)
            content = archive.read(member)
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno is not None:  # the system's, not bzip2's
                raise
            self._check()
            raise UndecodableImageError(f"damaged in the zip archive: {shorten(error)}") from error
        self._check()
        return content

    def _check(self) -> None:
        """Compare the file that is open with what was listed; what replaces it under its name is not read."""
        source, archive = self._source, self._archive
        if isinstance(source, RemoteFile):
            return
        source.check(os.fstat(archive.fp.fileno()) if archive and archive.fp else source.path.stat())


@functools.lru_cache(maxsize=8)
def _reopen(source: LocalFile | RemoteFile) -> _OpenZip:
    """The archive in a process that it was sent to: the same one for every shard."""
    return _OpenZip(source)


def _open_archive(source: LocalFile | RemoteFile) -> zipfile.ZipFile:
    """Open the archive; it stays open as long as its members are wanted."""
    return zipfile.ZipFile(source.open() if isinstance(source, RemoteFile) else source.path)


def _make_image(opened: _OpenZip, member: zipfile.ZipInfo) -> LabelledImage:
    fault = ""
    if member.flag_bits & _ENCRYPTED:
        fault = "encrypted in the zip archive"
    elif member.compress_type not in _METHODS:
        fault = f"packed in the zip archive by method {member.compress_type}, which is not known"
    return LabelledImage(
        relative_path=member.filename.lstrip("/"),
        size_bytes=member.file_size,
        read_bytes=partial(opened.read_member, member),
        fault=fault,
    )
