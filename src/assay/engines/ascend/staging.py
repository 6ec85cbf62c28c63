"""Puts models and inputs where the inference tool accepts them: its newest generation has rules for paths."""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path

FOLDER_MODE = 0o750
FILE_MODE = 0o640
LEGAL_PATH = re.compile(r"[A-Za-z0-9_\-./]+")


def find_objection(path: Path) -> str:
    """Why the tool would refuse to read the file at `path`; empty where it would not."""
    if not LEGAL_PATH.fullmatch(str(path.absolute())):
        return "the path holds more than letters, digits and _ - / ."
    if path.is_symlink():
        return "it is a symbolic link"
    if stat.S_IMODE(path.stat().st_mode) & 0o022:
        return "others may write it"
    if path.stat().st_uid != os.getuid() and path.stat().st_gid not in os.getgroups():
        return "it is neither this user's nor this group's"
    return ""


def make_folder(path: Path) -> Path:
    """Make a folder that the tool accepts, and return it."""
    path.mkdir(parents=True)
    path.chmod(FOLDER_MODE)  # whatever the umask is
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a file that the tool accepts."""
    path.write_bytes(content)
    path.chmod(FILE_MODE)


def stage_model(path: Path, folder: Path) -> Path:
    """Return a path of the model that the tool accepts: its own, else that of a copy in `folder`."""
    if not find_objection(path):
        return path.absolute()
    copy = folder / path.name
    shutil.copyfile(path, copy)
    copy.chmod(FILE_MODE)
    return copy
