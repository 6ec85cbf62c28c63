"""Images in tar archives, read in place: nothing is extracted, and no member's name is used as a path."""

from __future__ import annotations

import functools
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from assay.errors import BadImagesError, UndecodableImageError, shorten
from assay.images.forms.class_folders import sort_out_files
from assay.images.forms.imagenet_archives import VAL_ARCHIVE_BYTES, VAL_ARCHIVE_NAME, refuse_other_archives
from assay.images.forms.local_file import LocalFile, describe_file
from assay.images.forms.remote_file import RemoteFile
from assay.images.listing import KnowsName, LabelledImage, Listing
from assay.images.members import Member

_SEEK_POINT_BYTES = 4 * 2**20  # a seek point keeps 32 KiB in memory

MAX_HEADER_BYTES = 2**20
_HEADER_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)

ReadAt = Callable[[int, int], bytes]
"""Gives the bytes at an offset, as many as the second number says; raises OSError where there are fewer."""


@dataclass(frozen=True, kw_only=True)
class TarFiles:
    """The regular members of an archive, the last of each name, in the order they are stored in."""

    files: tuple[LabelledImage, ...]
    other_names: tuple[str, ...]
    notes: tuple[str, ...]


def list_tar(path: Path | RemoteFile, knows_name: KnowsName, *, gzipped: bool) -> Listing:
    """List the images in a tar archive, which may be gzipped.

    An archive that is not compressed is read at random. A gzipped one is read through once to find its
    members, then from points that were noted on the way; its images are read in the order they are
    stored in.

    Raises:
        BadImagesError: It is cut short or damaged, or it is another archive of ImageNet.
    """
    found = read_tar_files(path, gzipped=gzipped)
    container = "tar archive, gzipped" if gzipped else "tar archive"
    listing = sort_out_files(container, found.files, knows_name)
    refuse_other_archives(path, listing)
    return Listing(
        form=listing.form,
        images=listing.images,
        label_source=listing.label_source,
        label_kind=listing.label_kind,
        ignored=tuple(sorted({*listing.ignored, *found.other_names})),
        in_storage_order=gzipped,
        notes=found.notes,
    )


def read_tar_files(path: Path | RemoteFile, *, gzipped: bool = False, prefix: str = "") -> TarFiles:
    """List the regular members of a tar archive; `prefix` is put before their names.

    Links, devices and folders are no members that are read. Where a name comes twice the last one counts,
    as when extracting.

    Raises:
        BadImagesError: It is cut short or damaged.
        SourceError: It changed while it was listed.
    """
    files: dict[str, LabelledImage] = {}  # by name, which the last of several has
    others: list[str] = []
    member_count = 0
    try:
        with (
            _open_whole(path, gzipped=gzipped) as (stream, whole),
            tarfile.open(fileobj=stream, mode="r:", tarinfo=_BoundedTarInfo) as archive,
        ):
            read_packed = _GzipReader(whole).read_at if gzipped and isinstance(whole, LocalFile) else None
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # else it keeps a kilobyte of each
                if member.isreg():
                    member_count += 1
                    image = _make_image(whole, member, prefix, read_packed)
                    files.pop(image.relative_path, None)
                    files[image.relative_path] = image
                elif not member.isdir():
                    others.append(prefix + member.name)
            end_is_marked = _has_end_mark(archive)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise _describe_damage(path, member_count, error) from error
    notes = []
    if len(files) < member_count:
        notes.append(
            f"{path.name}: {member_count - len(files):,} members were replaced by later ones of the same name"
        )
    if not end_is_marked:
        notes.append(f"{path.name}: has no mark at its end: it may be cut short between two members")
    return TarFiles(files=tuple(files.values()), other_names=tuple(others), notes=tuple(notes))


class _BoundedTarInfo(tarfile.TarInfo):
    """A member whose header, long name or pax records, is not read where it is too long to be one."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _HEADER_TYPES and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes, over {MAX_HEADER_BYTES:,}")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]  # it has no other name


@contextmanager
def _open_whole(
    path: Path | RemoteFile, *, gzipped: bool
) -> Iterator[tuple[BinaryIO, LocalFile | RemoteFile]]:
    """Open the tar stream, and give the file as it is; on this machine it is compared at the end."""
    if isinstance(path, RemoteFile):
        with path.open() as remote:
            yield remote, path
        return
    with _open_stream(path, gzipped=gzipped) as stream:
        whole = describe_file(path, os.fstat(stream.fileno()))
        yield stream, whole
        whole.check(os.fstat(stream.fileno()))


def _open_stream(path: Path, *, gzipped: bool) -> BinaryIO:
    """Open the tar stream; indexed_gzip notes points on the way from which it can go on.

    The file stays open: what replaces it under its name is not read.
    """
    if gzipped:
        import indexed_gzip  # with what it imports 3 MiB, which other forms do without

        return indexed_gzip.IndexedGzipFile(path, spacing=_SEEK_POINT_BYTES, drop_handles=False)  # type: ignore[no-any-return]
    return path.open("rb")


def _has_end_mark(archive: tarfile.TarFile) -> bool:
    """Tell whether a block of zeros follows the last member, as tar writes it; False at the file's end.

    Raises:
        tarfile.ReadError: Something else follows, which tarfile takes for the end without a word.
    """
    stream = archive.fileobj
    if stream is None:
        return False
    stream.seek(archive.offset)
    block = stream.read(tarfile.BLOCKSIZE)
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"no member begins at byte {archive.offset:,}")
    return bool(block)


def _describe_damage(path: Path | RemoteFile, member_count: int, error: Exception) -> BadImagesError:
    size = _find_size(path)
    expected = ""
    if path.name == VAL_ARCHIVE_NAME and size != VAL_ARCHIVE_BYTES:
        expected = f"; it has {size:,} bytes, the published one {VAL_ARCHIVE_BYTES:,}"
    return BadImagesError(
        f"--images {path}: cut short or damaged after {max(0, member_count - 1):,} whole members: "
        f"{shorten(error)}{expected}",
        hint="download it again",
    )


def _find_size(path: Path | RemoteFile) -> int:
    if isinstance(path, RemoteFile):
        return path.size_bytes
    return path.stat().st_size if path.exists() else 0


def _make_image(
    whole: LocalFile | RemoteFile, member: tarfile.TarInfo, prefix: str, read_packed: ReadAt | None
) -> LabelledImage:
    read: Callable[[], bytes]
    read, fault = Member(archive=whole, offset=member.offset_data, size_bytes=member.size), ""
    if member.sparse and isinstance(whole, LocalFile):
        read = partial(_read_sparse, whole, member)
    elif member.sparse:
        fault = "stored without its holes in a tar archive behind a URL, which is not read there"
    elif read_packed is not None:
        read = partial(read_packed, member.offset_data, member.size)
    return LabelledImage(
        relative_path=prefix + _clean_name(member.name), size_bytes=member.size, read_bytes=read, fault=fault
    )


def _clean_name(name: str) -> str:
    """Clean a member's name, which is its identity, of any `./` and `/` before it.

    >>> _clean_name("./val/a.JPEG"), _clean_name("/a.JPEG")
    ('val/a.JPEG', 'a.JPEG')
    """
    while name.startswith(("./", "/")):
        name = name.removeprefix(".").lstrip("/")
    return name


def _read_sparse(whole: LocalFile, member: tarfile.TarInfo) -> bytes:
    """Read a member that is stored without its holes.

    Raises:
        UndecodableImageError: It is damaged, in an archive that is as it was when it was listed.
    """
    with whole.path.open("rb") as packed:
        try:
            with tarfile.open(fileobj=packed) as archive:
                file = archive.extractfile(member)
                content = file.read() if file else b""
        except tarfile.TarError as error:
            whole.check(os.fstat(packed.fileno()))
            raise UndecodableImageError(f"damaged in the tar archive: {shorten(error)}") from error
        whole.check(os.fstat(packed.fileno()))
    return content


class _GzipReader:
    """Reads at an offset of the unpacked stream, for one caller at a time.

    Sent to another process, it is opened there once, and unpacks on its way what lies before the offset.
    """

    def __init__(self, whole: LocalFile) -> None:
        self._whole = whole
        self._lock = threading.Lock()
        self._stream: BinaryIO | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self._whole,)

    def read_at(self, offset: int, size: int) -> bytes:
        """See `ReadAt`.

        Raises:
            SourceError: The archive changed since it was listed.
        """
        whole = self._whole
        with self._lock:
            self._stream = stream = self._stream or _open_stream(whole.path, gzipped=True)
            try:
                stream.seek(offset)
                content = stream.read(size)
            except ValueError as error:  # beyond what can be unpacked
                raise OSError(shorten(error)) from error
            finally:
                whole.check(os.fstat(stream.fileno()))
        if len(content) < size:
            raise OSError(f"{whole.path.name} gave {len(content):,} of {size:,} bytes")
        return content


@functools.lru_cache(maxsize=8)
def _reopen(whole: LocalFile) -> _GzipReader:
    """The reader in a process that it was sent to: the same one for every shard."""
    return _GzipReader(whole)
