"""Matches the names of a label file with the images they mean, the strictest comparison first."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from assay.errors import BadImagesError, shorten
from assay.images.listing import IMAGE_SUFFIXES

_SYNSET_TAIL = re.compile(r"_n[0-9]{8}$")  # as in ILSVRC2012_val_00000001_n01751748.JPEG

NameKey = Callable[[str], str]
"""Computes what is compared of a name; "" for a name that has nothing to compare."""


def get_base_name(name: str) -> str:
    """The file name of a path with slashes of either kind."""
    return name.replace("\\", "/").rpartition("/")[2]


def get_stem(name: str) -> str:
    """The file name of a path without the suffix of an image; any other suffix stays.

    >>> get_stem("val/IMG.001.JPEG"), get_stem("IMG.001")
    ('IMG.001', 'IMG.001')
    """
    base = get_base_name(name)
    stem, _, suffix = base.rpartition(".")
    return stem if stem and f".{suffix.lower()}" in IMAGE_SUFFIXES else base


def normalise_name(name: str) -> str:
    """The stem in lower case and Unicode's NFC, without a synset at its end.

    >>> normalise_name("val/ILSVRC2012_val_00000001_n01751748.jpeg")
    'ilsvrc2012_val_00000001'
    """
    return unicodedata.normalize("NFC", _SYNSET_TAIL.sub("", get_stem(name)).lower())


def _normalise_if_dotless(name: str) -> str:
    """The normalised name of a label that was cut at its first dot, "" for one that was not."""
    return "" if "." in get_base_name(name) else normalise_name(name)


def _normalise_up_to_dot(name: str) -> str:
    return normalise_name(get_base_name(name).split(".")[0])


# From the strictest to the laxest: what is compared of a label's name, and of an image's path
_WAYS: tuple[tuple[NameKey, NameKey], ...] = (
    (str, str),
    (str, get_base_name),
    (str, get_stem),
    (get_base_name, get_base_name),
    (get_stem, get_stem),
    (normalise_name, normalise_name),
    (_normalise_if_dotless, _normalise_up_to_dot),
)


def match_label_names(labels: Mapping[str, int], relative_paths: Sequence[str]) -> dict[str, str]:
    """The label file's name for every image that has one, by the image's relative path.

    A name labels one image: the one that fits it most strictly. An image whose names are all taken by
    others stays without a label.

    >>> match_label_names({"val/cat.JPEG": 3}, ["cat.jpg", "dog.jpg"])
    {'cat.jpg': 'val/cat.JPEG'}

    Raises:
        BadImagesError: Names with different labels fit an image equally well, or images fit a name
            equally well.
    """
    matched: dict[str, str] = {}
    taken: set[str] = set()
    for read_name, read_path in _WAYS:
        left = [path for path in relative_paths if path not in matched]
        if not left:
            break
        names = _group(labels, read_name)
        for key, paths in _group(left, read_path).items():
            fitting = names.get(key, [])
            if fitting:
                _require_one_label(labels, fitting, paths[0])
                found = _pair(paths, [name for name in fitting if name not in taken])
                matched |= found
                taken |= set(found.values())
    return matched


def _group(names: Iterable[str], read_key: NameKey) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if key := read_key(name):
            groups[key].append(name)
    return groups


def _require_one_label(labels: Mapping[str, int], names: Sequence[str], path: str) -> None:
    first = names[0]
    other = next((name for name in names if labels[name] != labels[first]), None)
    if other is not None:
        raise BadImagesError(
            f"{path}: {shorten(first)} and {shorten(other)} of the label file fit it equally well, "
            f"with labels {labels[first]} and {labels[other]}",
            hint="write the images' relative paths into the label file",
        )


def _pair(paths: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """A name for each path; none at all where stricter matches took every name."""
    if names and len(paths) > len(names):
        raise BadImagesError(
            f"{shorten(names[0])} of the label file fits {paths[0]} and {paths[1]} equally well",
            hint="write the images' relative paths into the label file, or remove one of the images",
        )
    return dict(zip(paths, names, strict=False))
