"""Who works on a run folder: one process alone, or several that share its shards among them."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from assay.errors import UsageError

_LOCK_FILE = ".lock"
_SHARE_LOCK = re.compile(r"\.lock-[0-9]+-of-[0-9]+")
# What systems say where a file system has no locks; filelock makes NotImplementedError of the first
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL})
_SHORT_WAIT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which shards of a run a process computes: every `count`-th, from the `number`-th on.

    Args:
        number: From 1 to `count`.
        count: How many processes share the run.
    """

    number: int
    count: int

    def holds(self, shard_number: int) -> bool:
        """Whether the shard of that number, from 0, is among them."""
        return shard_number % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def is_lock(name: str) -> bool:
    """Whether a file of that name is a lock of a run folder."""
    return name == _LOCK_FILE or bool(_SHARE_LOCK.fullmatch(name))


@contextmanager
def lock_run(folder: Path, share: Share | None) -> Iterator[None]:
    """Hold the run folder for this process, or for its share of the run.

    The locks are the operating system's: a process that is killed holds none.

    Raises:
        UsageError: Another process works on the run, or on the same share of it.
    """
    with ExitStack() as held:
        if share is not None:
            _take(held, folder / f".lock-{share.number}-of-{share.count}", 0, folder)
            yield
            return
        _take(held, folder / _LOCK_FILE, 0, folder)
        with ExitStack() as shares:
            for path in folder.iterdir():
                if _SHARE_LOCK.fullmatch(path.name):
                    _take(shares, path, 0, folder)
        yield


@contextmanager
def lock_manifest(folder: Path, share: Share | None) -> Iterator[None]:
    """Hold what the shares of a run have in common, for a moment; alone, the run is held anyway.

    Raises:
        UsageError: A process that works on the whole run holds it.
    """
    with ExitStack() as held:
        if share is not None:
            _take(held, folder / _LOCK_FILE, _SHORT_WAIT_S, folder)
        yield


def _take(held: ExitStack, path: Path, timeout_s: float, folder: Path) -> None:
    try:
        held.enter_context(FileLock(path, timeout=timeout_s))
    except Timeout as error:
        raise UsageError(
            f"{folder}: another process works on this run",
            hint="wait for it, or choose another folder; --shard 1/2 and --shard 2/2 work side by side",
        ) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise UsageError(
            f"{folder}: its file system has no locks (flock), so that nothing keeps a second process out",
            hint="write to a local disk, or mount it with locks, and copy the run there afterwards",
        ) from error
