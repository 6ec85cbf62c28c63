"""A file behind a URL, read by ranges; what changed since it was listed is not read in silence."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from pyarrow import ArrowException

from assay.errors import shorten
from assay.images.forms.object_store import forget_url, open_url, refuse_change
from assay.images.read import Patience, try_patiently

_BLOCK_BYTES = 16 * 2**10  # headers of archives are small, what lies between them is not read


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file of a store as it was when it was listed; sent to another process, it is opened again there.

    Args:
        url: Of its folder, or its own.
        path: Where it is in the file system of the URL.
        size_bytes: Its size.
        modified_s: When it was last written to, seconds since 1970; None if the store does not tell.
    """

    url: str
    path: str
    size_bytes: int
    modified_s: float | None

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on.

        Raises:
            SourceError: The file was written to since it was listed.
            OSError: It cannot be read, or gives fewer bytes.
        """
        try:
            with open_url(self.url)[0].open_input_file(self.path) as file:
                written = file.metadata().get("Last-Modified", b"").decode()
                content: bytes = file.read_at(size, offset)
        except ArrowException as error:
            raise OSError(shorten(error)) from error
        except OSError:
            forget_url(self.url)
            raise
        if written and self.modified_s is not None:
            refuse_change(self.path, written, self.modified_s)
        if len(content) < size:
            raise OSError(f"{self.name} gave {len(content):,} of {size:,} bytes")
        return content

    def open(self) -> io.BufferedReader:
        """Open it as a stream that can be sought in; reads blocks as they are wanted, patiently."""
        return io.BufferedReader(_Blocks(self), _BLOCK_BYTES)


class _Blocks(io.RawIOBase):
    """The raw stream of a remote file."""

    def __init__(self, file: RemoteFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), max(0, self._file.size_bytes - self._at))
        if size:
            content = try_patiently(lambda: self._file.read_at(self._at, size), self._file.path, Patience())
            buffer[:size] = content
            self._at += size
        return size
