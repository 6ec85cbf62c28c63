"""Recognises by its contents in which form a data set is held, and lists its images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from assay.errors import BadImagesError
from assay.images.classes import find_synset
from assay.images.forms.folder import FolderOptions, list_folder, list_names
from assay.images.forms.kaggle import find_kaggle_images, list_kaggle
from assay.images.forms.object_store import find_url
from assay.images.forms.parquet_files import list_parquet
from assay.images.forms.path_list import list_paths
from assay.images.forms.remote_archives import list_behind_url
from assay.images.forms.tar_archives import list_tar, read_tar_files
from assay.images.forms.webdataset import CLASS_SUFFIXES, label_samples, list_shards
from assay.images.forms.zip_archives import list_zip
from assay.images.listing import (
    IMAGE_SUFFIXES,
    INNER_FOLDERS,
    Listing,
    find_inner_folder,
    is_image_path,
    note_inner_folder,
)

TINY_ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet: beside the folder `images`
_HEAD_BYTES = 512
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"II*\0", b"MM\0*")
_PACKED = {
    b"BZh": ("bzip2", "bunzip2"),
    b"\xfd7zXZ\0": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_LABEL_FILE_SUFFIXES = frozenset({".txt", ".csv", ".lst"})


def list_images(path: Path, options: FolderOptions) -> Listing:
    """List the images at `path`, in whatever form.

    Raises:
        BadImagesError: Nothing is there, it is in no form that is read, it is damaged, or it holds no images.
        SourceError: The place that holds it failed.
    """
    if url := find_url(path):
        listing = list_behind_url(url, options)
    elif path.is_dir():
        listing = _list_in_folder(path, options)
    elif path.is_file():
        listing = _list_in_file(path, options)
    else:
        found = "a pipe, socket or device" if path.exists() else "nothing"
        raise BadImagesError(f"--images {path}: expected images, found {found}")
    if not listing.images:
        raise BadImagesError(f"--images {path}: no images there", hint=_explain_nothing(path, listing))
    return listing


def _list_in_folder(folder: Path, options: FolderOptions) -> Listing:
    kaggle_images = find_kaggle_images(folder)
    if kaggle_images is not None:
        return list_kaggle(folder, kaggle_images, options)
    listing = list_folder(folder, options)
    if listing.images:
        return listing
    for place in (folder, folder / "data"):  # where Hugging Face's repositories have them
        parquet_files = _find_files(place, ".parquet")
        if parquet_files:
            return list_parquet(folder, parquet_files)
    tar_files = _find_files(folder, ".tar")
    if tar_files:
        return list_shards(folder, tar_files, options.knows_name)
    if any(".tfrecord" in name or "-of-" in name for name in listing.ignored):
        _refuse_tfrecords(folder)
    inner = find_inner_folder(name for name in list_names(folder) if _is_inner(folder / name, options))
    if inner is None:
        return listing
    found = _list_in_folder(folder / inner, options)
    annotations = folder / TINY_ANNOTATIONS
    if found.label_kind is None and annotations.is_file():
        found = dataclasses.replace(found, label_file=annotations)
    return dataclasses.replace(found, notes=(note_inner_folder(inner), *found.notes))


def _is_inner(path: Path, options: FolderOptions) -> bool:
    return path.is_dir() and (options.follow_links or not path.is_symlink())


def _find_files(folder: Path, suffix: str) -> list[Path]:
    if not folder.is_dir():
        return []
    names = [name for name in list_names(folder) if name.endswith(suffix) and not name.startswith(".")]
    files = [folder / name for name in sorted(names)]
    for file in files:
        _refuse_what_is_not_read(file, _read_head(file))
    return files


def _list_in_file(path: Path, options: FolderOptions) -> Listing:
    head = _read_head(path)
    _refuse_what_is_not_read(path, head)
    if head.startswith(b"PAR1"):
        return list_parquet(path, [path])
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return list_zip(path, options.knows_name)
    if head.startswith(b"\x1f\x8b"):
        return list_tar(path, options.knows_name, gzipped=True)
    if head[257:262] == b"ustar" or path.suffix.lower() == ".tar":
        listing = list_tar(path, options.knows_name, gzipped=False)
        if any(name.endswith(CLASS_SUFFIXES) for name in listing.ignored):
            return label_samples(listing, read_tar_files(path).files)
        return listing
    return list_paths(path)


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise BadImagesError(f"--images {path}: cannot be read: {error.strerror}") from error


def _refuse_what_is_not_read(path: Path, head: bytes) -> None:
    if not head:
        raise BadImagesError(f"--images {path}: an empty file", hint="copy or download it again")
    if head.startswith(b"version https://git-lfs"):
        raise BadImagesError(f"--images {path}: a Git LFS pointer, not the data", hint="git lfs pull")
    if head.startswith(_IMAGES) or head[4:8] == b"ftyp":  # HEIC and AVIF
        hint = "give the folder that it lies in, or a text file with its path in a line"
        raise BadImagesError(f"--images {path}: one image", hint=hint)
    if ".tfrecord" in path.name or ("-of-" in path.name and path.suffix != ".parquet" and b"\0" in head[:16]):
        _refuse_tfrecords(path)
    for magic, (packer, command) in _PACKED.items():
        if head.startswith(magic):
            raise BadImagesError(
                f"--images {path}: packed with {packer}, which cannot be read at random",
                hint=f"{command} {path.name}, then give the tar archive",
            )


def _refuse_tfrecords(path: Path) -> None:
    raise BadImagesError(
        f"--images {path}: TFRecord files, which are not read: some count classes from 0, others from 1",
        hint="give the folder or the tar archive that they were made from",
    )


def _rank_folder(name: str) -> tuple[int, str]:
    """Rank folders by how likely they are to be meant: `val` before others."""
    lower = name.lower()
    return INNER_FOLDERS.index(lower) if lower in INNER_FOLDERS else len(INNER_FOLDERS), name


def _holds_images(folder: Path) -> bool:
    """Tell whether a folder holds images or folders of classes, by their names."""
    return any(is_image_path(name, lambda _: False) or bool(find_synset(name)) for name in list_names(folder))


def _explain_nothing(path: Path, listing: Listing) -> str:
    """Say what was looked for, and where images might be instead."""
    if path.is_dir():
        for name in sorted(list_names(path), key=_rank_folder):
            inner = path / name
            if inner.is_dir() and _holds_images(inner):
                return (
                    f"there are images in {inner}: give that folder; or, if its name is a class, rename what "
                    f"lies beside the class folders, or give --labels"
                )
    lists = [name for name in listing.ignored if Path(name).suffix in _LABEL_FILE_SUFFIXES]
    found = f"; found {lists[0]}, which may be a label file: --labels" if lists else ""
    return f"looked for {', '.join(sorted(IMAGE_SUFFIXES))}, archives and Parquet files{found}"
