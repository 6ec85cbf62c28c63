"""Images behind a URL: `s3://bucket/folder`, `gs://bucket/folder`, `file:///folder`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, fs

from assay.errors import BadImagesError
from assay.images.forms.class_folders import NUMBER, SYNSET, sort_out_files
from assay.images.forms.folder import FolderOptions
from assay.images.listing import LabelledImage, Listing

# A Path has one slash where the URL had two: `Path("s3://bucket")` is `s3:/bucket`.
_URL = re.compile(r"(s3|gs|gcs|file):/+(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ObjectFolder:
    """A place of a file system: sent to another process, it is opened again there, by its URL."""

    url: str
    path: str

    def read_bytes(self, relative_path: str) -> bytes:
        """Return the content of an object; OSError where it cannot be read."""
        try:
            with open_url(self.url)[0].open_input_file(f"{self.path}/{relative_path}") as file:
                content: bytes = file.read()
        except ArrowException as error:
            raise OSError(str(error)) from error
        return content


def find_url(path: Path) -> str | None:
    """Return the URL that a path is, or None where it is an ordinary one.

    >>> find_url(Path("s3://bucket/val?region=eu-west-1"))
    's3://bucket/val?region=eu-west-1'
    >>> find_url(Path("images/val"))
    """
    found = _URL.fullmatch(str(path))
    if found is None:
        return None
    scheme, rest = found.groups()
    return f"file:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def list_objects(url: str, options: FolderOptions) -> Listing:
    """Return the images in a folder behind a URL and, where it holds class folders, one level deeper.

    Raises:
        BadImagesError: It cannot be listed, or nothing is there.
    """
    try:
        file_system, path = open_url(url)
        infos = file_system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ArrowException) as error:
        raise BadImagesError(
            f"--images {url}: cannot be listed: {str(error).splitlines()[0]}",
            hint="check the URL and the credentials, which are found as the store's own tools find them",
        ) from error
    place = ObjectFolder(url=url, path=path)
    files = [_make_image(place, info) for info in infos if info.type == fs.FileType.File]
    flat = [file for file in files if "/" not in file.relative_path]
    has_flat = bool(sort_out_files("", "", flat, options.knows_name).images)
    chosen = [file for file in files if _is_listed(file.relative_path, options, has_flat=has_flat)]
    return sort_out_files(f"--images {url}", "objects behind a URL", chosen, options.knows_name)


def _is_listed(relative_path: str, options: FolderOptions, *, has_flat: bool) -> bool:
    """Return whether a file lies in the folder itself or in a class folder, as `list_folder` has it."""
    folder, slash, _ = relative_path.rpartition("/")
    if not slash:
        return True
    if "/" in folder:
        return False
    if SYNSET.fullmatch(folder):
        return True
    if has_flat:
        return False
    if options.any_class_folders:
        return not folder.startswith(".")
    return bool(NUMBER.fullmatch(folder))


def _make_image(place: ObjectFolder, info: fs.FileInfo) -> LabelledImage:
    relative_path = info.path[len(place.path) :].lstrip("/")
    return LabelledImage(
        relative_path=relative_path,
        size_bytes=info.size,
        read_bytes=partial(place.read_bytes, relative_path),
    )


@cache
def open_url(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, which finds its credentials by itself, and the path in it."""
    file_system, path = fs.FileSystem.from_uri(url)
    return file_system, path.rstrip("/")
