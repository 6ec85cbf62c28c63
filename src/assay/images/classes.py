"""The classes that a model tells apart: how many, what they are called, and which one a text means."""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from assay.images.labels import read_class_names, read_synsets
from assay.models.record import ModelRecord, OutputTensor

SYNSET = re.compile(r"n[0-9]{8}")
_SYNSET_AND_NAME = re.compile(r"(n[0-9]{8})[ _,.:-].*", re.DOTALL)  # n01440764_tench
_LEAST_SHARE_OF_IMAGENET = 0.8  # of 1000 names in their places; other orders agree in less than 0.01


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The classes of a model, by label.

    Args:
        count: How many there are; labels go from 0 to `count` - 1.
        names: What they are called, in the order of the labels; empty where nobody named them.
        synsets: Their synsets of WordNet, in the order of the labels; empty where they are not known.
    """

    count: int
    names: tuple[str, ...] = ()
    synsets: tuple[str, ...] = ()

    @property
    def are_imagenets(self) -> bool:
        """Whether they are the 1000 classes of ImageNet, in the order of the sorted synsets."""
        return self.synsets == read_synsets()

    def describe(self, label: int) -> str:
        """The label with the class's name and synset, where it has them."""
        if not 0 <= label < self.count:
            return f"{label}"
        name = f" {self.names[label]}" if self.names else ""
        return f"{label}{name}" + (f" ({self.synsets[label]})" if self.synsets else "")

    def is_name(self, text: str) -> bool:
        """Whether a class is called exactly so."""
        return text in self._by_name

    def find_labels(self, text: str) -> tuple[int, ...]:
        """The labels of the classes that a text means, by the strictest comparison that finds any.

        Its name as it is; its synset, with more behind perhaps; its name whatever the case, blanks,
        underscores and hyphens; one of the names between commas. More than one where classes share a name.

        >>> pets = Classes(count=3, names=("Tabby cat", "dog, hound", "crane"))
        >>> pets.find_labels("tabby_cat"), pets.find_labels("hound"), pets.find_labels("bird")
        ((0,), (1,), ())
        """
        synset = find_synset(text)
        ways = ((self._by_name, text), (self._by_synset, synset), (self._by_normal_name, _normalise(text)))
        for labels, key in (*ways, (self._by_synonym, _normalise(text))):
            if found := labels.get(key):
                return found
        return ()

    def suggest(self, text: str) -> str:
        """The name or synset of the class that is written most like a text; empty where none is."""
        known = {_normalise(name): name for name in (*self.names, *self.synsets)}
        close = difflib.get_close_matches(_normalise(text), known, n=1)
        return known[close[0]] if close else ""

    @cached_property
    def _by_name(self) -> dict[str, tuple[int, ...]]:
        return _group((name, label) for label, name in enumerate(self.names))

    @cached_property
    def _by_synset(self) -> dict[str, tuple[int, ...]]:
        return _group((synset, label) for label, synset in enumerate(self.synsets))

    @cached_property
    def _by_normal_name(self) -> dict[str, tuple[int, ...]]:
        return _group((_normalise(name), label) for label, name in enumerate(self.names))

    @cached_property
    def _by_synonym(self) -> dict[str, tuple[int, ...]]:
        return _group(
            (_normalise(synonym), label)
            for label, name in enumerate(self.names)
            if "," in name
            for synonym in name.split(",")
        )


def find_synset(text: str) -> str:
    """The synset that a text is, or begins with; empty where there is none.

    >>> find_synset("n01440764_tench"), find_synset("n01440764"), find_synset("tench")
    ('n01440764', 'n01440764', '')
    """
    if SYNSET.fullmatch(text):
        return text
    found = _SYNSET_AND_NAME.fullmatch(text)
    return found[1] if found else ""


def read_classes(record: ModelRecord) -> Classes:
    """The classes of a model as its record has them; 1000 that are not named otherwise are ImageNet's."""
    return name_classes(record.output)


@functools.lru_cache(maxsize=16)
def name_classes(output: OutputTensor) -> Classes:
    """The classes that a network's output scores, in the order of the labels."""
    names, synsets = output.class_names, output.class_synsets
    count = output.class_count - output.label_offset
    return make_classes(count, names, synsets)


def make_classes(count: int, names: tuple[str, ...], synsets: tuple[str, ...]) -> Classes:
    """The classes of these names and synsets, either of which may be missing.

    Names that are synsets are taken for such. 1000 classes are ImageNet's where nothing else is said of them,
    and where at least 800 of the names are those of ImageNet in their places.
    """
    if names and not synsets and all(SYNSET.fullmatch(name) for name in names):
        names, synsets = (), names
    if count == len(read_synsets()) and not synsets and (not names or _look_like_imagenets(names)):
        synsets = read_synsets()
    if synsets and not names:
        known = dict(zip(read_synsets(), read_class_names(), strict=True))
        names = tuple(known.get(synset, "") for synset in synsets)
        names = names if all(names) else ()
    return Classes(count=count, names=names, synsets=synsets)


def _look_like_imagenets(names: tuple[str, ...]) -> bool:
    pairs = zip(names, read_class_names(), strict=True)
    agreeing = sum(_normalise(known) in _normalise(name) for name, known in pairs)
    return agreeing >= _LEAST_SHARE_OF_IMAGENET * len(names)


def _normalise(name: str) -> str:
    """A name without what writers of it differ in: case, blanks, underscores, hyphens, Unicode's form."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", name)).casefold()


def _group(pairs: Iterable[tuple[str, int]]) -> dict[str, tuple[int, ...]]:
    groups: dict[str, tuple[int, ...]] = {}
    for key, label in pairs:
        if label not in groups.get(key, ()):
            groups[key] = (*groups.get(key, ()), label)
    return groups


IMAGENET_CLASSES = make_classes(1000, (), ())
"""The 1000 classes of ImageNet."""
