"""Reads encoded images, and tells a fault of the image from a failure of the place that holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from assay.errors import SourceError, UndecodableImageError
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage, ReadOptions

PAUSES_S: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a failing source is tried again; as a context, it ends with the block.

    Args:
        pauses_s: Seconds before each further try.
        ended: Once it is set, nothing more is read, and a pause that is under way ends.
    """

    pauses_s: Sequence[float] = field(default_factory=lambda: PAUSES_S)
    ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.ended.set()


NO_PATIENCE = Patience(pauses_s=())


def read_image(
    source: LabelledImage, options: ReadOptions = DEFAULT_READ_OPTIONS, patience: Patience | None = None
) -> bytes:
    """Read the encoded image, again after growing pauses where its source fails.

    Returns:
        The whole file, of the size that was listed.

    Raises:
        UndecodableImageError: The image's own fault: it is larger than the limit, or damaged in its archive.
        SourceError: The source's failure: it cannot be read, is cut short, or changed since it was listed.
    """
    _check_file_size(source.size_bytes, options)
    encoded = try_patiently(lambda: _read_whole(source), source.relative_path, patience or Patience())
    _check_file_size(len(encoded), options)
    return encoded


def _read_whole(source: LabelledImage) -> bytes:
    encoded = source.read_bytes()
    if source.size_bytes and len(encoded) != source.size_bytes:
        raise OSError(f"{len(encoded):,} bytes came, expected {source.size_bytes:,}")
    return encoded


def try_patiently(read: Callable[[], Result], what: str, patience: Patience) -> Result:
    """Call `read`, again after each pause as long as it raises OSError.

    Args:
        read: What reads.
        what: What is read, for the message.
        patience: The pauses.

    Raises:
        SourceError: It failed every time, or the patience was ended; the last OSError is the cause.
    """
    pauses = iter(patience.pauses_s)
    cause: OSError | None = None
    start = time.perf_counter()
    while not patience.ended.is_set():
        try:
            return read()
        except OSError as error:
            cause = error
        pause_s = next(pauses, None)
        if pause_s is None:
            break
        patience.ended.wait(pause_s)
    if cause is None or patience.ended.is_set():
        raise SourceError(f"{what}: was not read: the run had ended") from cause
    often = f"{len(patience.pauses_s) + 1} tries in {time.perf_counter() - start:.0f} s"
    raise SourceError(
        f"{what}: its source failed: {cause.strerror or cause} ({often})",
        hint="this says nothing about the image itself: try again when the place that holds it is well",
    ) from cause


def _check_file_size(size_bytes: int, options: ReadOptions) -> None:
    if size_bytes > options.max_file_bytes:
        raise UndecodableImageError(f"too large: {size_bytes:,} bytes, over {options.max_file_bytes:,}")
