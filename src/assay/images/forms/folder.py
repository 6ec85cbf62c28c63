"""A folder of images, or of class folders, as a file system holds it."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assay.errors import BadImagesError, SourceError
from assay.images.forms.class_folders import IMAGE_FOLDER, choose_class_test, sort_out_files
from assay.images.forms.local_file import describe_file, find_status, name_fault
from assay.images.listing import LITTER_FOLDERS, KnowsName, LabelledImage, Listing, note_deeper_folders
from assay.images.read import Patience, try_patiently


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
    """List the images in a folder and, where it holds class folders, one level deeper.

    Pipes, sockets and devices are passed over: opening them would wait for ever.

    Raises:
        BadImagesError: It must not be listed, or a class folder is a link that leads out of it.
        SourceError: The file system failed.
    """
    tree = root.resolve()
    names = sorted(list_names(root))
    files = list(_list_files(root, "", names, tree, options))
    beside_images = bool(sort_out_files("", files, options.knows_name).images)
    folders = names if beside_images else [name for name in names if _is_folder(root / name)]
    is_class = choose_class_test(folders, beside_images=beside_images, any_name=options.any_class_folders)
    deeper: list[str] = []
    for name in filter(is_class, folders):
        folder = root / name
        if not _is_folder(folder):
            continue
        if folder.is_symlink() and not options.follow_links and not _is_inside(folder, tree):
            raise BadImagesError(
                f"--images {root}: the folder {name} is a link to somewhere else",
                hint="--follow-links, if the images there belong to it",
            )
        inside, unread = _list_class_folder(root, name, tree, options)
        files += inside
        deeper += unread
    listing = sort_out_files("one folder", files, options.knows_name)
    return dataclasses.replace(listing, notes=note_deeper_folders(deeper))


def list_names(folder: Path) -> list[str]:
    """List the names in a folder, in no order.

    Raises:
        BadImagesError: It is none, or must not be listed.
        SourceError: The file system failed.
    """

    def list_them() -> list[str]:
        try:
            return os.listdir(folder)  # noqa: PTH208 - names, not paths: 50,000 of them
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise BadImagesError(f"folder {folder} cannot be listed: {error.strerror}") from error

    return try_patiently(list_them, f"folder {folder}", Patience())


def _is_folder(path: Path) -> bool:
    """Tell whether a path leads to a folder; a failing file system is an error, not a no."""
    status = find_status(path, Patience())
    return not isinstance(status, OSError) and stat.S_ISDIR(status.st_mode)


def _list_class_folder(
    root: Path, name: str, tree: Path, options: FolderOptions
) -> tuple[list[LabelledImage], list[str]]:
    """List a class folder, and the folder `images` in it where it has no images itself (Tiny-ImageNet).

    The paths of its other folders come beside the files: they are not read.
    """
    names = list_names(root / name)
    files = list(_list_files(root, f"{name}/", names, tree, options))
    inner = root / name / IMAGE_FOLDER
    has_images = bool(sort_out_files("", files, options.knows_name).images)
    if IMAGE_FOLDER in names and not has_images and _is_folder(inner) and not inner.is_symlink():
        files += _list_files(root, f"{name}/{IMAGE_FOLDER}/", list_names(inner), tree, options)
        names.remove(IMAGE_FOLDER)
    others = {*names} - {file.name for file in files}
    is_shown = [
        other for other in sorted(others) if not other.startswith(".") and other not in LITTER_FOLDERS
    ]
    return files, [f"{name}/{other}" for other in is_shown if _is_folder(root / name / other)]


def _list_files(
    root: Path, prefix: str, names: list[str], tree: Path, options: FolderOptions
) -> Iterator[LabelledImage]:
    """Yield what is no folder, pipe, socket or device in root/prefix; links keep what is wrong with them."""
    patience = Patience()
    for name in names:
        path = root / prefix / name
        status = find_status(path, patience)
        if isinstance(status, OSError):
            yield _make_faulty(path, prefix + name, status)
        elif stat.S_ISREG(status.st_mode):
            leads_out = not options.follow_links and path.is_symlink() and not _is_inside(path, tree)
            fault = "a link out of the folder: --follow-links reads it" if leads_out else ""
            yield LabelledImage(
                relative_path=prefix + name,
                size_bytes=status.st_size,
                read_bytes=describe_file(path, status).read_bytes,
                fault=fault or name_fault(path, status),
            )


def _make_faulty(path: Path, relative_path: str, error: OSError) -> LabelledImage:
    """Make the image of a path that leads nowhere: a broken link, a loop of links.

    Raises:
        SourceError: It is gone since the folder was listed.
    """
    if isinstance(error, FileNotFoundError) and not path.is_symlink():
        raise SourceError(f"{path}: vanished while its folder was listed", hint="try again")
    fault = "broken link" if isinstance(error, FileNotFoundError) else f"unreadable: {error.strerror}"
    return LabelledImage(relative_path=relative_path, size_bytes=0, read_bytes=path.read_bytes, fault=fault)


def _is_inside(path: Path, tree: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(tree)
    except (OSError, RuntimeError):  # broken, or a loop: what reads it says so
        return True
