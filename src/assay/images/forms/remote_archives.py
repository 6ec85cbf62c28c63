"""What is behind a URL: images, or archives of them, which are read by ranges."""

from __future__ import annotations

from pathlib import Path

from assay.errors import BadImagesError
from assay.images.forms.folder import FolderOptions
from assay.images.forms.object_store import list_files, list_objects
from assay.images.forms.remote_file import RemoteFile
from assay.images.forms.tar_archives import list_tar, read_tar_files
from assay.images.forms.webdataset import CLASS_SUFFIXES, label_samples, list_shards
from assay.images.forms.zip_archives import list_zip
from assay.images.listing import Listing

_NOT_READ = (".tar.gz", ".tgz", ".parquet", ".tar.bz2", ".tar.xz", ".tar.zst")


def list_behind_url(url: str, options: FolderOptions) -> Listing:
    """List the images behind a URL: in a folder, in a tar or zip archive, or in a folder of tar archives.

    Raises:
        BadImagesError: Nothing is there, or it is in a form that is not read from there.
        SourceError: The store failed.
    """
    path = url.partition("?")[0].rstrip("/")
    if path.endswith(_NOT_READ):
        raise BadImagesError(
            f"--images {url}: this form is not read behind a URL",
            hint="expected a folder, a .zip, a .tar that is not compressed, or a folder of such tar archives",
        )
    if path.endswith((".tar", ".zip")):
        return _list_archive(list_remote_files(url)[0], options)
    listing = list_objects(url, options)
    if listing.images:
        return listing
    shards = [file for file in list_remote_files(url) if file.name.endswith(".tar")]
    return list_shards(Path(url), shards, options.knows_name) if shards else listing


def _list_archive(file: RemoteFile, options: FolderOptions) -> Listing:
    if file.name.endswith(".zip"):
        return list_zip(file, options.knows_name)
    listing = list_tar(file, options.knows_name, gzipped=False)
    if any(name.endswith(CLASS_SUFFIXES) for name in listing.ignored):
        return label_samples(listing, read_tar_files(file).files)
    return listing


def list_remote_files(url: str) -> list[RemoteFile]:
    """The files behind a URL, sorted.

    Raises:
        BadImagesError: Nothing is there, or the store refuses to list it.
        SourceError: The store failed.
    """
    files = [
        RemoteFile(
            url=url,
            path=info.path,
            size_bytes=info.size,
            modified_s=info.mtime.timestamp() if info.mtime else None,
        )
        for info in list_files(url)
    ]
    return sorted(files, key=lambda file: file.path)
