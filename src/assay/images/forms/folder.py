"""A folder of images, or of class folders, as a file system holds it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from assay.errors import BadImagesError
from assay.images.forms.class_folders import IMAGE_FOLDER, choose_class_test, sort_out_table
from assay.images.forms.local_file import find_status
from assay.images.forms.scan import LinkRules, Scan
from assay.images.listing import (
    LITTER_FOLDERS,
    KnowsName,
    Listing,
    note_deeper_folders,
    note_folders_beside,
)
from assay.images.read import Patience, try_patiently


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """How a folder is looked through.

    Args:
        knows_name: Tells whether a name without a suffix is an image's.
        any_class_folders: Whether folders of whatever name are class folders, as a label file names them.
        beside_images: Whether they are also where images lie beside them.
        follow_links: Whether links that lead out of the folder are followed.
    """

    knows_name: KnowsName
    any_class_folders: bool = False
    beside_images: bool = False
    follow_links: bool = False


def list_folder(root: Path, options: FolderOptions) -> Listing:
    """List the images in a folder and, where it holds class folders, one level deeper.

    Pipes, sockets and devices are passed over: opening them would wait for ever.

    Raises:
        BadImagesError: It must not be listed, or a class folder is a link that leads out of it.
        SourceError: The file system failed.
    """
    rules = LinkRules(tree=root.resolve(), follow_links=options.follow_links)
    scan = Scan()
    folders = sorted(scan.add_folder(root, "", rules), key=lambda name: os.fsencode(f"{name}/"))
    beside_images = not options.beside_images and scan.has_images(0, options.knows_name)
    is_class = choose_class_test(folders, beside_images=beside_images, any_name=options.any_class_folders)
    deeper: list[str] = []
    for name in filter(is_class, folders):
        folder = root / name
        if not _is_folder(folder):
            continue
        if folder.is_symlink() and rules.find_fault(folder):
            raise BadImagesError(
                f"--images {root}: the folder {name} is a link to somewhere else",
                hint="--follow-links, if the images there belong to it",
            )
        deeper += _scan_class_folder(scan, root, name, rules, options.knows_name)
    listing = sort_out_table("one folder", scan.make_table(root), options.knows_name)
    beside = [name for name in folders if not is_class(name)] if beside_images else []
    return replace(listing, notes=(*note_folders_beside(beside), *note_deeper_folders(deeper)))


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


def _scan_class_folder(
    scan: Scan, root: Path, name: str, rules: LinkRules, knows_name: KnowsName
) -> list[str]:
    """Scan a class folder, and the folder `images` in it where it has no images itself (Tiny-ImageNet).

    Gives the paths of its other folders: they are not read.
    """
    begin = len(scan.sizes)
    folders = scan.add_folder(root, f"{name}/", rules)
    inner = root / name / IMAGE_FOLDER
    if IMAGE_FOLDER in folders and not scan.has_images(begin, knows_name) and not inner.is_symlink():
        scan.add_folder(root, f"{name}/{IMAGE_FOLDER}/", rules)
        folders.remove(IMAGE_FOLDER)
    shown = [other for other in sorted(folders) if not other.startswith(".") and other not in LITTER_FOLDERS]
    return [f"{name}/{other}" for other in shown]
