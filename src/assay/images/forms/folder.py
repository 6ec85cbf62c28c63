"""A folder of images, or of class folders, as a file system holds it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assay.errors import BadImagesError
from assay.images.forms.class_folders import NUMBER, SYNSET, sort_out_files
from assay.images.listing import KnowsName, LabelledImage, Listing


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How a folder is looked through.

    Args:
        knows_name: Tells whether a name without a suffix is an image's.
        any_class_folders: Whether folders of whatever name are class folders, as a label file names them.
        follow_links: Whether links that lead out of the folder are followed.
    """

    knows_name: KnowsName
    any_class_folders: bool = False
    follow_links: bool = False


def list_folder(root: Path, options: FolderOptions) -> Listing:
    """Return the images in a folder and, where it holds class folders, one level deeper.

    Pipes, sockets and devices are passed over: opening them would wait for ever.

    Raises:
        BadImagesError: It cannot be listed, or a class folder is a link that leads out of it.
    """
    tree = root.resolve()
    names = sorted(list_names(root))
    files = list(_list_files(root, "", names, tree, options))
    is_class = _choose_class_test(files, options)
    for name in filter(is_class, names):
        folder = root / name
        if not folder.is_dir():
            continue
        if folder.is_symlink() and not options.follow_links and not _is_inside(folder, tree):
            raise BadImagesError(
                f"--images {root}: the folder {name} is a link to somewhere else",
                hint="--follow-links, if the images there belong to it",
            )
        files += _list_files(root, f"{name}/", list_names(folder), tree, options)
    return sort_out_files(f"--images {root}", "one folder", files, options.knows_name)


def list_names(folder: Path) -> list[str]:
    """Return the names in a folder, in no order.

    Raises:
        BadImagesError: It cannot be listed.
    """
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, not paths: 50,000 of them
    except OSError as error:
        raise BadImagesError(f"folder {folder} cannot be listed: {error.strerror}") from error


def _choose_class_test(files: list[LabelledImage], options: FolderOptions) -> Callable[[str], bool]:
    """Return what tells class folders: by synset always, by number or any name beside no images."""
    if sort_out_files("", "", files, options.knows_name).images:
        return lambda name: bool(SYNSET.fullmatch(name))
    if options.any_class_folders:
        return lambda name: not name.startswith(".")
    return lambda name: bool(SYNSET.fullmatch(name) or NUMBER.fullmatch(name))


def _list_files(
    root: Path, prefix: str, names: list[str], tree: Path, options: FolderOptions
) -> Iterator[LabelledImage]:
    """Yield what is no folder, pipe, socket or device in root/prefix; links keep what is wrong with them."""
    for name in names:
        path = root / prefix / name
        fault = ""
        try:
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                if not options.follow_links and not _is_inside(path, tree):
                    fault = "a link out of the folder: --follow-links reads it"
                status = path.stat()
        except FileNotFoundError:
            yield _make_image(path, prefix + name, 0, "broken link")
            continue
        except OSError as error:  # a loop of links, a stale handle
            yield _make_image(path, prefix + name, 0, f"unreadable: {error.strerror}")
            continue
        if stat.S_ISREG(status.st_mode):
            yield _make_image(path, prefix + name, status.st_size, fault)


def _make_image(path: Path, relative_path: str, size_bytes: int, fault: str) -> LabelledImage:
    return LabelledImage(
        relative_path=relative_path,
        size_bytes=size_bytes,
        read_bytes=partial(Path.read_bytes, path),
        fault=fault,
    )


def _is_inside(path: Path, tree: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(tree)
    except (OSError, RuntimeError):  # broken, or a loop: what reads it says so
        return True
