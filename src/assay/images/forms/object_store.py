"""Images behind a URL: `s3://bucket/folder`, `gs://bucket/folder`, `file:///folder`."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import ArrowException, ArrowInvalid

from assay.errors import BadImagesError, SourceError, UsageError, hide_credentials, shorten
from assay.images.forms.class_folders import IMAGE_FOLDER, choose_class_test, sort_out_files
from assay.images.forms.folder import FolderOptions
from assay.images.forms.local_file import LocalFile
from assay.images.listing import (
    LabelledImage,
    Listing,
    find_inner_folder,
    note_deeper_folders,
    note_inner_folder,
)
from assay.images.read import Patience, try_patiently

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

# A Path has one slash where the URL had two: `Path("s3://bucket")` is `s3:/bucket`.
_URL = re.compile(r"(s3|gs|gcs|file):/+(.*)", re.DOTALL)
# What waiting does not mend: stores that answer so are not asked again when they are listed
_REFUSALS = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|NO_SUCH_BUCKET|not found", re.IGNORECASE)
_CLOCK_STEP_S = 1  # stores give the time of a change in a listing more finely than with the object


@dataclass(frozen=True, kw_only=True)
class ObjectFolder:
    """A place of a file system: sent to another process, it is opened again there, by its URL."""

    url: str
    path: str

    def read_bytes(self, relative_path: str, modified_s: float | None) -> bytes:
        """Read an object.

        Args:
            relative_path: Its path in this place.
            modified_s: When it was last written as the listing has it, seconds since 1970; None if unknown.

        Raises:
            SourceError: It was written to since it was listed.
            OSError: It cannot be read.
        """
        try:
            with open_url(self.url)[0].open_input_file(f"{self.path}/{relative_path}") as file:
                written = file.metadata().get("Last-Modified", b"").decode()
                content: bytes = file.read()
        except ArrowException as error:
            raise OSError(shorten(error)) from error
        except OSError:
            forget_url(self.url)  # the credentials it was opened with may have expired
            raise
        if written and modified_s is not None:
            refuse_change(f"{self.path}/{relative_path}", written, modified_s)
        return content


def refuse_change(path: str, written: str, modified_s: float) -> None:
    """Compare when an object was last written, as the store says now, with what was listed.

    Raises:
        SourceError: It was written to since.
    """
    if abs(datetime.datetime.fromisoformat(written).timestamp() - modified_s) > _CLOCK_STEP_S:
        raise SourceError(
            f"{path}: changed since it was listed: written to at {written}",
            hint="try again when nothing writes to it any more",
        )


def find_url(path: Path) -> str | None:
    """Find the URL that a path is; None where it is an ordinary one.

    Raises:
        UsageError: It holds credentials, which would be stored and printed with it.

    >>> find_url(Path("s3://bucket/val?region=eu-west-1"))
    's3://bucket/val?region=eu-west-1'
    >>> find_url(Path("images/val"))
    """
    found = _URL.fullmatch(str(path))
    if found is None:
        return None
    scheme, rest = found.groups()
    if hide_credentials(str(path)) != str(path):
        raise UsageError(
            f"{path}: a URL with credentials is not taken: shells and process lists keep it",
            hint="give them as the store's own tools take them: AWS_ACCESS_KEY_ID and so on",
        )
    return f"file:///{rest}" if scheme == "file" else f"{scheme}://{rest}"


def is_remote(path: Path) -> bool:
    """Whether a path is a URL that leads to another machine.

    >>> is_remote(Path("s3://bucket/val")), is_remote(Path("file:///val"))
    (True, False)
    """
    url = find_url(path)
    return url is not None and not url.startswith("file:")


def list_objects(url: str, options: FolderOptions) -> Listing:
    """List the images in a folder behind a URL and, where it holds class folders, one level deeper.

    Raises:
        BadImagesError: Nothing is there, or the store refuses to list it.
        SourceError: The store failed.
    """
    files = list_files(url)
    return _sort_out(ObjectFolder(url=url, path=open_url(url)[1]), files, options)


def _sort_out(place: ObjectFolder, infos: Sequence[FileInfo], options: FolderOptions) -> Listing:
    """List the images among the files at a place, or in its only folder where it holds none itself."""
    files = [_make_image(place, info) for info in infos]
    flat = [file for file in files if "/" not in file.relative_path]
    folders = {folder for file in files if (folder := _get_first_folder(file))}
    has_images = bool(sort_out_files("", flat, options.knows_name).images)
    is_class = choose_class_test(
        folders,
        beside_images=has_images and not options.beside_images,
        any_name=options.any_class_folders,
    )
    chosen = [file for file in files if _is_listed(file.relative_path, is_class)]
    listing = sort_out_files("objects behind a URL", chosen, options.knows_name)
    listing = dataclasses.replace(listing, notes=note_deeper_folders(_list_deeper(files, chosen, is_class)))
    inner = find_inner_folder(folders)
    if listing.images or inner is None:
        return listing
    start = f"{place.path}/{inner}"
    inside = [info for info in infos if info.path.startswith(f"{start}/")]
    found = _sort_out(ObjectFolder(url=place.url, path=start), inside, options)
    return dataclasses.replace(found, notes=(note_inner_folder(inner), *found.notes))


def _list_deeper(
    files: Sequence[LabelledImage], chosen: Sequence[LabelledImage], is_class: Callable[[str], bool]
) -> list[str]:
    """The folders inside class folders, whose files are not among the chosen ones."""
    read = {file.relative_path for file in chosen}
    paths = [file.relative_path.split("/") for file in files if file.relative_path not in read]
    return sorted({f"{parts[0]}/{parts[1]}" for parts in paths if len(parts) > 2 and is_class(parts[0])})


def _get_first_folder(file: LabelledImage) -> str:
    return file.relative_path.partition("/")[0] if "/" in file.relative_path else ""


def _is_listed(relative_path: str, is_class: Callable[[str], bool]) -> bool:
    """Tell whether a file lies in the folder itself or in a class folder, as `list_folder` has it."""
    *folders, _ = relative_path.split("/")
    if len(folders) == 2 and folders[1] == IMAGE_FOLDER:
        folders.pop()
    return not folders or (len(folders) == 1 and is_class(folders[0]))


def list_files(url: str) -> list[FileInfo]:
    """List the files behind a URL, at any depth; the file itself where the URL is of one.

    Raises:
        BadImagesError: Nothing is there, or the store refuses to list it.
        SourceError: The store failed.
    """
    infos = try_patiently(partial(_list_infos, url), f"--images {url}", Patience())
    return [info for info in infos if info.is_file]


def _list_infos(url: str) -> list[FileInfo]:
    """List what is behind a URL, at any depth; OSError where that may be mended by waiting."""
    from pyarrow.fs import FileSelector

    try:
        file_system, path = open_url(url)
        (own,) = file_system.get_file_info([path])
        if own.is_file:
            return [own]
        infos: list[FileInfo] = file_system.get_file_info(FileSelector(path, recursive=True))
    except (OSError, ArrowException) as error:
        reason = shorten(error)
        if isinstance(error, FileNotFoundError | ArrowInvalid) or _REFUSALS.search(reason):
            raise BadImagesError(
                f"--images {url}: cannot be listed: {reason}",
                hint="check the URL and the credentials, which are found as the store's own tools find them",
            ) from error
        raise OSError(reason) from error
    return infos


def _make_image(place: ObjectFolder, info: FileInfo) -> LabelledImage:
    relative_path = info.path[len(place.path) :].lstrip("/")
    if open_url(place.url)[0].type_name == "local":
        file = LocalFile(path=Path(info.path), size_bytes=info.size, modified_ns=info.mtime_ns)
        read = file.read_bytes
    else:
        modified_s = info.mtime.timestamp() if info.mtime else None
        read = partial(place.read_bytes, relative_path, modified_s)
    return LabelledImage(
        relative_path=relative_path,
        size_bytes=info.size,
        read_bytes=read,
        fault="" if info.size else "not decodable: empty file",
    )


@cache
def open_url(url: str) -> tuple[Any, str]:
    """Open the file system of a URL, which finds its credentials by itself; also gives the path in it."""
    from pyarrow.fs import FileSystem  # 8 MiB, which images on this machine do without

    file_system, path = FileSystem.from_uri(url)
    return file_system, path.rstrip("/")


def forget_url(_url: str) -> None:
    """Let the next `open_url` find the credentials anew; AWS's library reads them again after minutes."""
    open_url.cache_clear()
