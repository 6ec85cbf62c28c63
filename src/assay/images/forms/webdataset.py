"""WebDataset: tar archives of samples; the files of one sample share a key, `.cls` holds its class."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from assay.images.forms.class_folders import sort_out_files
from assay.images.forms.imagenet_archives import refuse_other_archives
from assay.images.forms.tar_archives import TarFiles, read_tar_files
from assay.images.listing import KnowsName, LabelledImage, Listing
from assay.images.read import read_image

_CLASS = re.compile(rb"\s*([0-9]{1,5})\s*")
_MAX_CLASS_BYTES = 100


def list_shards(folder: Path, shards: Sequence[Path], knows_name: KnowsName) -> Listing:
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
    listing = sort_out_files(f"--images {folder}", f"{len(shards)} tar archives", every.files, knows_name)
    listing = dataclasses.replace(listing, notes=every.notes)
    refuse_other_archives(folder, listing)
    return label_samples(listing, every.files)


def label_samples(listing: Listing, files: Sequence[LabelledImage]) -> Listing:
    """Label the listed images by `.cls` files, where there are any; else give the listing as it was.

    The key of a file is its path up to the first dot of its name.

    Raises:
        SourceError: The archive failed, or changed since it was listed.
    """
    classes = {_get_key(file): file for file in files if file.relative_path.endswith(".cls")}
    if not classes:
        return listing
    images = tuple(_label(image, classes) for image in listing.images)
    used = {file.relative_path for file in classes.values()}
    return dataclasses.replace(
        listing,
        form=f"WebDataset, {listing.form}",
        images=images,
        label_source="the samples' .cls files",
        label_kind="numbers",
        ignored=tuple(name for name in listing.ignored if name not in used),
    )


def _get_key(file: LabelledImage) -> str:
    return file.relative_path.removesuffix(file.name) + file.name.split(".")[0]


def _label(image: LabelledImage, classes: Mapping[str, LabelledImage]) -> LabelledImage:
    file = classes.get(_get_key(image))
    if file is None:
        return dataclasses.replace(
            image, label=None, fault=image.fault or "no .cls file beside it in its archive"
        )
    content = read_image(file) if file.size_bytes <= _MAX_CLASS_BYTES else b"(too long)"
    match = _CLASS.fullmatch(content)
    if match is None:
        return dataclasses.replace(image, label=None, fault=f"its .cls file holds {content[:20]!r}, no class")
    return dataclasses.replace(image, label=int(match[1]))
