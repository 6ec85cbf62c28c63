"""WebDataset: tar archives of samples; files of one key are one sample, `.cls` or `.json` holds its class."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from assay.errors import quote
from assay.files import decode_json
from assay.images.forms.class_folders import sort_out_files
from assay.images.forms.imagenet_archives import refuse_other_archives
from assay.images.forms.remote_file import RemoteFile
from assay.images.forms.tar_archives import TarFiles, read_tar_files
from assay.images.listing import KnowsName, LabelledImage, Listing
from assay.images.read import read_image

CLASS_SUFFIXES = (".cls", ".json")
"""What the files that hold a sample's class end in, those that are believed first."""
_NUMBER = re.compile(r"[0-9]{1,5}")
_CLASS = re.compile(r"[0-9]{1,5}|(?!-?[0-9.]+$).+")  # a number that can be a class, or a name
_MAX_CLASS_BYTES = {".cls": 500, ".json": 1_000_000}
_JSON_KEYS = ("wnid", "synset", "label", "cls", "class", "class_id", "target", "class_name")


def list_shards(folder: Path, shards: Sequence[Path | RemoteFile], knows_name: KnowsName) -> Listing:
    """List the images in several tar archives of one folder; their paths begin with the archive's name.

    Raises:
        BadImagesError: One is cut short or damaged, or they are another archive of ImageNet.
    """
    found = [read_tar_files(shard, prefix=f"{shard.name}/") for shard in shards]
    every = TarFiles(
        files=tuple(file for one in found for file in one.files),
        other_names=tuple(name for one in found for name in one.other_names),
        notes=tuple(note for one in found for note in one.notes),
    )
    listing = sort_out_files(f"{len(shards)} tar archives", every.files, knows_name)
    listing = dataclasses.replace(listing, notes=every.notes)
    refuse_other_archives(folder, listing)
    return label_samples(listing, every.files)


def label_samples(listing: Listing, files: Sequence[LabelledImage]) -> Listing:
    """Label the listed images by `.cls` or `.json` files, where there are any; else give the same listing.

    The key of a file is its path up to the first dot of its name. Classes are numbers, which are labels,
    or names; a name among numbers is none.

    Raises:
        SourceError: The archive failed, or changed since it was listed.
    """
    keys = {_get_key(image) for image in listing.images}
    for suffix in CLASS_SUFFIXES:
        classes = {_get_key(file): file for file in files if file.relative_path.endswith(suffix)}
        if keys & classes.keys():
            break
    else:
        return listing
    images = tuple(_label(image, classes, suffix) for image in listing.images)
    if any(_NUMBER.fullmatch(image.class_name) for image in images):
        images = tuple(_number(image, suffix) for image in images)
    used = {file.relative_path for file in classes.values()}
    has_label = any(image.label is not None or image.class_name for image in images)
    are_named = any(image.class_name for image in images)
    return dataclasses.replace(
        listing,
        form=f"WebDataset, {listing.form}",
        images=images,
        label_source=f"the samples' {suffix} files" if has_label or suffix == ".cls" else "",
        label_kind=("classes" if are_named else "numbers") if has_label or suffix == ".cls" else None,
        ignored=tuple(name for name in listing.ignored if name not in used),
    )


def _get_key(file: LabelledImage) -> str:
    return file.relative_path.removesuffix(file.name) + file.name.split(".")[0]


def _number(image: LabelledImage, suffix: str) -> LabelledImage:
    """Label an image by the number of its class."""
    bare = dataclasses.replace(image, class_name="")
    if not image.class_name:
        return bare
    if not _NUMBER.fullmatch(image.class_name):
        return dataclasses.replace(
            bare, fault=f"its {suffix} file holds {quote(image.class_name, 20)}, no class number"
        )
    return dataclasses.replace(bare, label=int(image.class_name))


def _label(image: LabelledImage, classes: Mapping[str, LabelledImage], suffix: str) -> LabelledImage:
    bare = dataclasses.replace(image, label=None, class_name="")
    file = classes.get(_get_key(image))
    if file is None:
        return dataclasses.replace(bare, fault=image.fault or f"no {suffix} file beside it in its archive")
    content = read_image(file) if file.size_bytes <= _MAX_CLASS_BYTES[suffix] else b"(too long)"
    name = _read_json_class(content) if suffix == ".json" else _read_class(content)
    if name is None:
        return dataclasses.replace(bare, fault=f"its {suffix} file holds {content[:20]!r}, no class")
    return dataclasses.replace(bare, class_name=name)


def _read_class(content: bytes) -> str | None:
    """The class in a `.cls` file: one line of text."""
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and _CLASS.fullmatch(text) else None


def _read_json_class(content: bytes) -> str | None:
    """The class in a `.json` file, by the first of the usual keys that it has."""
    try:
        found = decode_json(content, kind=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    value = next((found[key] for key in _JSON_KEYS if isinstance(found.get(key), (str, int))), None)
    return None if value is None or isinstance(value, bool) else _read_class(str(value).encode("utf-8"))
