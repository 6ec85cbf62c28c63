"""Which architectures have these tensors: names and shapes as a hash, and the table of the known ones."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping

import msgspec

from assay.models.tables.read import read_rows

_DIGITS = 12
_COUNTER = "num_batches_tracked"  # of batch normalisation: old files lack it


class ArchitectureSignature(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """The tensors of an architecture with 1000 classes or its own number, without batch norm's counters.

    Args:
        library: And its version, "timm 1.0.31".
        architecture: Its name there.
        kind: Name of the class that builds it.
        tensors: How many there are.
        sha1_names_and_shapes: First 12 digits; `same_names_and_shapes` architectures have the same.
        sha1_shapes_only: First 12 digits; `same_shapes` architectures have the same.
    """

    library: str
    architecture: str
    kind: str
    tensors: int
    sha1_names_and_shapes: str
    same_names_and_shapes: int
    sha1_shapes_only: str
    same_shapes: int

    @property
    def library_name(self) -> str:
        """The library without its version, "timm"."""
        return self.library.partition(" ")[0]

    @property
    def record_name(self) -> str:
        """What `--model` and `--like` call its record, "timm/resnet50"."""
        return f"{self.library_name}/{self.architecture}"


@functools.cache
def read_architecture_signatures() -> tuple[ArchitectureSignature, ...]:
    """Read the signatures of the architectures of timm and torchvision, library by library.

    >>> len(read_architecture_signatures())
    1436
    """
    return read_rows("architecture_signatures", ArchitectureSignature)


def find_architectures(shapes: Mapping[str, tuple[int, ...]]) -> tuple[ArchitectureSignature, ...]:
    """The known architectures whose tensors have just these names and shapes; empty where none has.

    Several can have the same and compute differently: padding, epsilon and pooling are in no weights file.

    Args:
        shapes: Of each tensor by its name, as a checkpoint holds them.
    """
    found = _hash(_list_tensors(shapes))
    return tuple(row for row in read_architecture_signatures() if row.sha1_names_and_shapes == found)


def find_architectures_by_shape(shapes: Mapping[str, tuple[int, ...]]) -> tuple[ArchitectureSignature, ...]:
    """The known architectures whose tensors have just these shapes, whatever their names."""
    found = _hash(sorted(shape for _, shape in _list_tensors(shapes)))
    return tuple(row for row in read_architecture_signatures() if row.sha1_shapes_only == found)


def _list_tensors(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    kept = ((name, tuple(map(int, shape))) for name, shape in shapes.items())
    return sorted((name, shape) for name, shape in kept if not name.endswith(_COUNTER))


def _hash(value: object) -> str:
    """The table's hash: of the value as Python writes it."""
    return hashlib.sha1(repr(value).encode(), usedforsecurity=False).hexdigest()[:_DIGITS]
