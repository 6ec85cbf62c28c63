"""A file on this machine as it was when it was listed: what changed since is not read in silence."""

from __future__ import annotations

import contextlib
import datetime
import errno
import functools
import io
import os
import platform
import stat
from dataclasses import dataclass
from pathlib import Path

from assay.errors import SourceError
from assay.images.read import Patience, try_patiently

_FAULTS_OF_THE_PATH = frozenset(
    {errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A file, with its size and the time of its last change when it was listed.

    Sent to another machine or container it loses that time: they may hold a copy of their own.

    Args:
        path: Where it is.
        size_bytes: Its size.
        modified_ns: When it was last written to, nanoseconds since 1970; None where that does not count.
    """

    path: Path
    size_bytes: int
    modified_ns: int | None

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (self.path, self.size_bytes, self.modified_ns, name_machine())

    def read_bytes(self) -> bytes:
        """Read the whole file.

        Raises:
            SourceError: It changed since it was listed.
            OSError: It cannot be read.
        """
        with self._open() as file:
            content = file.read(self.size_bytes + 1)  # a file that grew is not read whole
            self.check(os.fstat(file.fileno()))
        return content

    def read_at(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on.

        Raises:
            SourceError: The file changed since it was listed.
            OSError: It cannot be read, or gives fewer bytes.
        """
        with self._open() as file:
            content = os.pread(file.fileno(), size, offset)
            self.check(os.fstat(file.fileno()))
        if len(content) < size:
            raise OSError(f"{self.path.name} gave {len(content):,} of {size:,} bytes")
        return content

    def _open(self) -> io.BufferedReader:
        """Open the file; what was put in its place, a pipe say, is not waited for."""
        file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
        try:
            self.check(os.fstat(file.fileno()))
        except BaseException:
            file.close()
            raise
        return file

    def check(self, status: os.stat_result) -> None:
        """Compare the file, as its status says it is now, with what was listed.

        Raises:
            SourceError: It has another size, or was written to.
        """
        if not stat.S_ISREG(status.st_mode):
            found = "it is no file any more"
        elif status.st_size != self.size_bytes:
            found = f"expected {self.size_bytes:,} bytes, found {status.st_size:,}"
        elif self.modified_ns not in (None, status.st_mtime_ns):
            written = datetime.datetime.fromtimestamp(status.st_mtime)
            found = f"written to at {written:%Y-%m-%d %H:%M:%S}"
        else:
            return
        raise SourceError(
            f"{self.path}: changed since it was listed: {found}",
            hint="try again when nothing writes to it any more",
        )


def describe_file(path: Path, status: os.stat_result) -> LocalFile:
    """Describe a file by its path and its status."""
    return LocalFile(path=path, size_bytes=status.st_size, modified_ns=status.st_mtime_ns)


def _remake(path: Path, size_bytes: int, modified_ns: int | None, machine: str) -> LocalFile:
    is_here = machine == name_machine()
    return LocalFile(path=path, size_bytes=size_bytes, modified_ns=modified_ns if is_here else None)


@functools.cache
def name_machine() -> str:
    """What two processes have in common if a path leads both to the same file: machine and container."""
    with contextlib.suppress(OSError):  # Linux alone has it
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/mnt').stat().st_ino}"
    return platform.node()


def find_status(path: Path, patience: Patience) -> os.stat_result | OSError:
    """Find the status of what a path leads to, again after pauses where the file system fails.

    Returns:
        The status; or the error where the path itself is at fault: a broken link, a loop of links, no
        permission.

    Raises:
        SourceError: The file system failed.
    """

    def look() -> os.stat_result | OSError:
        try:
            return path.stat()
        except OSError as error:
            if error.errno in _FAULTS_OF_THE_PATH:
                return error
            raise

    return try_patiently(look, str(path), patience)


def name_fault(path: Path, status: os.stat_result) -> str:
    """Say why a file cannot be scored, whatever is tried: it is empty, or must not be read; mostly empty.

    Only where its mode says that it must not be read is the system asked, which costs time.
    """
    if not status.st_size:
        return "not decodable: empty file"
    readers = stat.S_IRUSR if status.st_uid == os.geteuid() else stat.S_IROTH
    if not status.st_mode & readers and not os.access(path, os.R_OK):
        return f"unreadable: {os.strerror(errno.EACCES)}"
    return ""
