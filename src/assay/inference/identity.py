"""What decides a run's predictions: shards of two runs belong together only where all of it is the same."""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from assay.images.listing import LabelledImage
from assay.images.rows import ImageRows, iterate_labels, join_lines

_BLOCK = 10_000  # labels that are hashed at once
_WORDS = {"limited_from": "number of images that --limit cuts"}


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What decides a run's predictions; each string is a sha256, as 64 hex digits.

    `class_subset` is of the classes among which images are ranked besides; empty where there are none.
    `limited_from` is how many images there were before `--limit` cut them, which scores say beside them.
    `int8_sums` is `clipped` on a processor that clips the sums of this very model; empty elsewhere.
    `batch_size` is set where the run is about it; else it is no part of what decides the predictions.
    """

    compiled_model: str
    preprocessing: str
    images: str
    labels: str
    shard_size: Annotated[int, Meta(ge=1)]
    keep_logits: bool
    class_subset: str = ""
    limited_from: int | None = None
    int8_sums: str = ""
    batch_size: int | None = None


def identify_run(
    model: object,
    preprocessing: object,
    images: Sequence[LabelledImage],
    data_set: str,
    *,
    shard_size: int,
    keep_logits: bool,
) -> RunIdentity:
    """Hash what decides the predictions of a run.

    Args:
        model: What identifies the compiled model; anything that JSON holds.
        preprocessing: The preprocessing, what computes it, and the limits on images; likewise.
        images: The images in order: relative path, label and size of each count.
        data_set: What tells the data set from others besides these.
        shard_size: Images whose predictions share a file.
        keep_logits: Whether all logits are kept.
    """
    return RunIdentity(
        compiled_model=hash_value(model),
        preprocessing=hash_value(preprocessing),
        images=_hash_images(images, data_set),
        labels=hash_labels(iterate_labels(images)),
        shard_size=shard_size,
        keep_logits=keep_logits,
    )


def _hash_images(images: Sequence[LabelledImage], data_set: str) -> str:
    sha256 = hashlib.sha256(data_set.encode("utf-8", "surrogateescape"))
    if isinstance(images, ImageRows):
        for stretch in images.stretches():
            sha256.update(join_lines(stretch, images.texts))
        return sha256.hexdigest()
    for image in images:
        line = f"{image.relative_path}\0{image.size_bytes}\n"
        sha256.update(line.encode("utf-8", "surrogateescape"))
    return sha256.hexdigest()


def add_class_subset(identity: RunIdentity, labels: Sequence[int]) -> RunIdentity:
    """The identity of a run whose images are ranked among the classes of these labels besides."""
    return msgspec.structs.replace(identity, class_subset=hash_value(labels)) if labels else identity


def hash_labels(labels: Iterable[int | None]) -> str:
    """The sha256 of the labels of a run's images in their order, as 64 hex digits."""
    sha256, lines = hashlib.sha256(), map(_format_label, labels)
    while block := b"".join(itertools.islice(lines, _BLOCK)):
        sha256.update(block)
    return sha256.hexdigest()


@functools.lru_cache(maxsize=100_000)
def _format_label(label: int | None) -> bytes:
    return b"None\n" if label is None else b"%d\n" % label


def add_arithmetic(identity: RunIdentity, *, clips_sums: bool) -> RunIdentity:
    """The identity of a run whose processor may clip sums: shards of one that does not are others."""
    return msgspec.structs.replace(identity, int8_sums="clipped") if clips_sums else identity


def compute_fingerprint(identity: RunIdentity) -> str:
    """Compute the sha256 of the identity, as 64 hex digits; every shard carries it."""
    return hash_value(identity)


def name_changes(before: RunIdentity, now: RunIdentity) -> list[str]:
    """Say in words what differs between two identities.

    >>> one = RunIdentity(
    ...     compiled_model="a", preprocessing="b", images="c", labels="d", shard_size=1024, keep_logits=False
    ... )
    >>> name_changes(one, msgspec.structs.replace(one, labels="e", shard_size=512))
    ['the labels', 'the shard size (1024 before, 512 now)']
    """
    changes = []
    for name in RunIdentity.__struct_fields__:
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            values = "" if isinstance(old, str) else f" ({old} before, {new} now)"
            changes.append(f"the {_WORDS.get(name, name.replace('_', ' '))}{values}")
    return changes


def hash_value(value: object) -> str:
    """The sha256 of anything that JSON holds, as 64 hex digits."""
    text = msgspec.json.encode(value, order="deterministic").decode("utf-8")
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
