"""A text file of the images' paths, one a line; a label may stand behind each."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from assay.errors import BadImagesError, quote, shorten
from assay.images.forms.local_file import LocalFile, describe_file, find_status, name_fault
from assay.images.listing import LabelledImage, Listing
from assay.images.read import Patience

MAX_LIST_BYTES = 64 * 2**20
_LABEL = re.compile(r"[\s,](?:[0-9]{1,9}|n[0-9]{8})\Z")
_LONGEST_LABEL = 10  # with the character before it: a search in the whole line takes its length squared


def list_paths(path: Path) -> Listing:
    """List the images that a list names: paths from the list's own folder, or absolute ones.

    Raises:
        BadImagesError: It is no list of paths, most of all a label file whose images are elsewhere.
        SourceError: The file system failed.
    """
    lines = [line.strip() for line in _read_lines(path) if line.strip() and not line.startswith("# ")]
    unlabelled = [_take_off_label(line) for line in lines]
    have_labels = bool(lines) and None not in unlabelled
    names = [name or "" for name in unlabelled] if have_labels else lines
    if not any(os.path.isfile(path.parent / name) for name in names[:1000]):  # noqa: PTH113 - False if too long
        _refuse(path, names, have_labels=have_labels)
    if len(set(names)) < len(names):
        raise BadImagesError(f"--images {path}: {len(names) - len(set(names)):,} paths are listed twice")
    return Listing(
        form="list of paths",
        images=tuple(_make_image(path.parent, name) for name in names),
        label_file=path if have_labels else None,
    )


def _take_off_label(line: str) -> str | None:
    """The line without the label behind it; None where there is none."""
    found = _LABEL.search(line, max(0, len(line) - _LONGEST_LABEL))
    if found is None:
        return None
    end = found.start()
    while end and (line[end - 1].isspace() or line[end - 1] == ","):
        end -= 1
    return line[:end]


def _read_lines(path: Path) -> list[str]:
    with path.open("rb") as file:
        content = file.read(MAX_LIST_BYTES + 1)
    if len(content) > MAX_LIST_BYTES or b"\0" in content:
        raise BadImagesError(
            f"--images {path}: begins with {content[:16]!r}: no archive, no Parquet and no list of paths",
            hint="expected a folder, an archive, Parquet files or a list of paths",
        )
    return content.decode("utf-8-sig", "surrogateescape").splitlines()


def _refuse(path: Path, names: list[str], *, have_labels: bool) -> None:
    found = f": {quote(names[0])}" if names else " at all"
    if have_labels:
        raise BadImagesError(
            f"--images {path}: looks like a label file; there is no file {shorten(path.parent / names[0])}",
            hint="give the images with --images and this file with --labels",
        )
    raise BadImagesError(
        f"--images {path}: its lines are no paths of files{found}",
        hint="expected a folder, an archive, or a text file with the path of an image in each line",
    )


def _make_image(folder: Path, name: str) -> LabelledImage:
    path = folder / name
    status = find_status(path, Patience())
    relative_path = name.replace(os.sep, "/")
    if isinstance(status, OSError) or not stat.S_ISREG(status.st_mode):
        reason = status.strerror if isinstance(status, OSError) else "not a file"
        return LabelledImage(
            relative_path=relative_path,
            size_bytes=0,
            read_bytes=LocalFile(path=path, size_bytes=0, modified_ns=None).read_bytes,
            fault=f"unreadable: {reason}",
        )
    return LabelledImage(
        relative_path=relative_path,
        size_bytes=status.st_size,
        read_bytes=describe_file(path, status).read_bytes,
        fault=name_fault(path, status),
    )
