"""Files that appear whole or not at all, their sha256, and values as JSON."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from assay.errors import UsageError
from assay.interrupts import on_forced_exit

Decoded = TypeVar("Decoded")
SCHEMA_VERSION = 1  # the first, of result files and of what --json shows
PART_SUFFIX = ".part"
"""How the hidden name of a file or folder ends that is still being written."""
_TEMPORARY = "assay-"
_HELD = ".held"
_HELD_AFTER_S = 60.0  # a lock that is younger may not be taken yet


def hash_file(path: Path) -> str:
    """The sha256 of a file as 64 lower-case hex digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` whole or not at all; a file of that name is replaced.

    The bytes go to a temporary file beside it, are forced to disk and renamed.
    """
    with write_in_place_of(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def write_in_place_of(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it is synced and renamed to it.

    When the block raises or the process is ended, the temporary file is removed and `path` is as it was, its
    folders too.
    """
    mark = os.urandom(4).hex()  # two machines that share the folder may have the same process number
    temporary = path.with_name(f".{path.name}.{mark}{PART_SUFFIX}")
    with _make_folders(path.parent):
        try:
            with on_forced_exit(lambda: temporary.unlink(missing_ok=True)):
                yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _make_folders(folder: Path) -> Iterator[None]:
    """Make the folder and those above it; when the block raises, those that were made go, where empty."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something else has been put there
            for each in made:
                each.rmdir()
        raise


@contextmanager
def write_folder_in_place_of(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`; when the block ends well, it is renamed to it.

    A folder of that name is replaced only then. When the block raises or the process is ended, nothing has
    changed.
    """
    folder = folder.resolve()  # a link stays, what it points to is replaced
    with _make_folders(folder.parent), make_draft_folder(folder) as temporary:
        temporary.chmod(0o755)  # it is made private; the result is an ordinary folder
        yield temporary
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)


@contextmanager
def make_draft_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder beside `path` for what is being made, and remove it when the block ends.

    For drafts whose own names matter, or that are several files. What a killed process leaves of it is
    recognised by `is_unfinished`.
    """
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PART_SUFFIX, dir=path.parent))
    try:
        with on_forced_exit(lambda: shutil.rmtree(folder, ignore_errors=True)):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def make_temporary_folder(purpose: str) -> Iterator[Path]:
    """Give an empty folder among the system's temporary files, and remove it at the block's or process's end.

    Folders of killed processes, whose locks nobody holds any more, are removed when the next one is made.

    Args:
        purpose: Stands in its name.
    """
    from filelock import FileLock

    place = Path(tempfile.gettempdir())
    _remove_left_folders(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{purpose}-", dir=place))
    lock, inner = FileLock(folder / _HELD), folder / "files"
    try:
        with on_forced_exit(lambda: shutil.rmtree(folder, ignore_errors=True)):
            with suppress(OSError, NotImplementedError):  # no locks there: a killed process leaves its folder
                lock.acquire()
            inner.mkdir()
            yield inner
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_folders(place: Path) -> None:
    from filelock import FileLock, Timeout

    for held in place.glob(f"{_TEMPORARY}*/{_HELD}"):
        with suppress(OSError, NotImplementedError, Timeout):  # another's, or in use
            if time.time() - held.stat().st_mtime > _HELD_AFTER_S:
                with FileLock(held, timeout=0):
                    shutil.rmtree(held.parent, ignore_errors=True)


def refuse_same_file(output: Path, *inputs: Path | None) -> None:
    """Refuse to write over what a command reads, however its path is spelled and whatever links lead to it.

    Args:
        output: What will be written: a file, or a folder that is replaced with all that is in it.
        inputs: Files and folders that are read; None stands for one that was not given.

    Raises:
        UsageError: The output is one of the inputs, or a folder that holds one.
    """
    written, is_folder = _identify(output), output.is_dir()
    for path in inputs:
        if path is None:
            continue
        if _identify(path) == written:
            raise UsageError(
                f"{output} is the input {path} itself, which would be lost", hint="write to another name"
            )
        if is_folder and written in {
            _identify(parent) for parent in (*path.absolute().parents, *path.resolve().parents)
        }:
            raise UsageError(
                f"{output} holds the input {path}, which would be lost", hint="write to another folder"
            )


def _identify(path: Path) -> tuple[int, int] | Path:
    """What two paths of one file have in common: its number on its device; before it is there, its path."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return path.resolve()
    return found.st_dev, found.st_ino


def escape_name(name: str) -> str:
    r"""A file's name or path with the bytes that are no UTF-8 escaped, so that it can be stored.

    >>> print(escape_name("caf\udce9.jpg"))
    caf\udce9.jpg
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def is_inner_path(name: str) -> bool:
    r"""Whether a name that came from outside leads to a file inside the folder that it is put behind.

    >>> is_inner_path("predictions/part-00000.parquet"), is_inner_path("../x"), is_inner_path("/etc/x")
    (True, False, False)
    """
    parts = re.split(r"[/\\]", name)
    return name.isprintable() and ":" not in parts[0] and not {"", ".", ".."} & {*parts}


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of that name was left by a process that was killed while writing."""
    return name.startswith(".") and name.endswith(PART_SUFFIX)


def decode_json(content: bytes | str, kind: type[Decoded]) -> Decoded:
    """A JSON document from outside as a value of that kind.

    Raises:
        msgspec.DecodeError: It is none, or is no UTF-8, or is nested too deep.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_toml(content: bytes | str) -> Any:
    """A TOML document from outside.

    Raises:
        msgspec.DecodeError: It is none, or is no UTF-8, or is nested too deep, or a number is too long.
    """
    try:
        return msgspec.toml.decode(content)
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def encode_json(value: object) -> bytes:
    """Return the value as indented JSON with a newline at the end; bytes that are no UTF-8 are escaped."""
    try:
        encoded = msgspec.json.encode(value, enc_hook=_encode_path)
    except UnicodeEncodeError:  # a path, say
        encoded = msgspec.json.encode(_escape(msgspec.to_builtins(value, enc_hook=_encode_path)))
    return msgspec.json.format(encoded, indent=2) + b"\n"


def _encode_path(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _escape(value: object) -> object:
    if isinstance(value, str):
        return escape_name(value)
    if isinstance(value, dict):
        return {_escape(key): _escape(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escape(content) for content in value]
    return value
