"""Which class every ImageNet validation image belongs to: the built-in tables."""

from __future__ import annotations

import functools
import gzip
import re
from importlib import resources

import numpy as np

IMAGENET_VAL_COUNT = 50_000
# A path before it, and the synset that Hugging Face's copy adds, are passed over
_VAL_NAME = re.compile(r"(?:.*[/\\])?ILSVRC2012_val_([0-9]{8})(?:_n[0-9]{8})?(?:\.[^/\\]*)?", re.IGNORECASE)


@functools.cache
def read_synsets() -> tuple[str, ...]:
    """Read the 1000 ImageNet synsets, sorted; the place of one is its label.

    >>> read_synsets()[0], read_synsets()[999]
    ('n01440764', 'n15075141')
    """
    return tuple(_read_table("ilsvrc2012_synsets.txt.gz").decode("ascii").split())


@functools.cache
def read_class_names() -> tuple[str, ...]:
    """Read an English name of each of the 1000 synsets, by label; two of them name two classes each.

    The first word of the synset in WordNet 3.0, whose licence is in `WORDNET-LICENSE.txt`.

    >>> read_class_names()[0], read_class_names()[999]
    ('tench', 'toilet tissue')
    """
    return tuple(_read_table("ilsvrc2012_names.txt.gz").decode("ascii").splitlines())


@functools.cache
def read_canonical_labels() -> tuple[int, ...]:
    """Read the labels of ILSVRC2012_val_00000001 to …_00050000, in that order, 0 to 999."""
    return tuple(np.frombuffer(_read_table("ilsvrc2012_val_labels_u16.gz"), dtype="<u2").tolist())


def _read_table(name: str) -> bytes:
    return gzip.decompress(resources.files("assay.images").joinpath(name).read_bytes())


@functools.cache
def read_devkit_labels() -> tuple[int, ...]:
    """Read the labels of the ILSVRC2012 IDs 1 to 1000, in that order.

    >>> read_devkit_labels()[490 - 1]
    65
    """
    lines = _read_table("ilsvrc2012_ids.txt.gz").decode("ascii").splitlines()  # ID, synset, label
    return tuple(int(line.split()[2]) for line in lines)


@functools.cache
def read_synset_labels() -> dict[str, int]:
    """Number each of the 1000 synsets."""
    return {synset: label for label, synset in enumerate(read_synsets())}


def find_val_number(name: str) -> int | None:
    """Find the number in the name of an ImageNet validation image; None for another name.

    >>> find_val_number("val/ILSVRC2012_val_00000293_n01440764.JPEG")
    293
    """
    match = _VAL_NAME.fullmatch(name)
    number = int(match[1]) if match else 0
    return number if 1 <= number <= IMAGENET_VAL_COUNT else None


def find_canonical_label(name: str) -> int | None:
    """Find the label of an ImageNet validation image by its name; None for another name.

    >>> find_canonical_label("ILSVRC2012_val_00000001.JPEG")
    65
    >>> find_canonical_label("cat.jpg") is None
    True
    """
    number = find_val_number(name)
    return None if number is None else read_canonical_labels()[number - 1]
