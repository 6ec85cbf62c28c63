"""Members of archives that are read in place, by where they begin and how long they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from assay.images.rows import Int64s

_OFFSET_BITS = 48  # of a place: an archive has less than 256 TiB, and there are at most 32,768
_MOST_ARCHIVES = 2 ** (63 - _OFFSET_BITS)


class Archive(Protocol):
    """A file that is read at random, and tells where it changed."""

    def read_at(self, offset: int, size: int, /) -> bytes:
        """Read `size` bytes from `offset` on."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """Reads a member of an archive that is stored as it is."""

    archive: Archive
    offset: int
    size_bytes: int

    def __call__(self) -> bytes:
        """The bytes of the member."""
        return self.archive.read_at(self.offset, self.size_bytes)


@dataclass(frozen=True, kw_only=True)
class ArchiveSource:
    """Opens members of archives; the place of one is the number of its archive, and where it begins there."""

    archives: tuple[Archive, ...]

    def open(self, _relative_path: str, size_bytes: int, place: int) -> Callable[[], bytes]:
        """See `ImageSource.open`."""
        number, offset = divmod(place, 2**_OFFSET_BITS)
        return Member(archive=self.archives[number], offset=offset, size_bytes=size_bytes)


def gather_members(readers: Sequence[Callable[[], bytes]]) -> tuple[ArchiveSource, Int64s] | None:
    """What opens the images that are read so, and the place of each; None where not all are such members."""
    numbers: dict[int, int] = {}
    archives: list[Archive] = []
    places = np.empty(len(readers), dtype=np.int64)
    for row, reader in enumerate(readers):
        if not isinstance(reader, Member) or reader.offset >> _OFFSET_BITS:
            return None
        number = numbers.setdefault(id(reader.archive), len(numbers))
        if number == _MOST_ARCHIVES:
            return None
        if number == len(archives):
            archives.append(reader.archive)
        places[row] = (number << _OFFSET_BITS) + reader.offset
    return ArchiveSource(archives=tuple(archives)), places
