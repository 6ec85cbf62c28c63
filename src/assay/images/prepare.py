"""Preprocesses images ahead of their use, in threads, in order and with bounded memory."""

from __future__ import annotations

import collections
import errno
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from assay.arrays import Images, Pixels
from assay.errors import UndecodableImageError
from assay.images.decode import decode_image
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage, ReadOptions
from assay.images.normalise import fill_image
from assay.models.record import ModelRecord

OK = "ok"


Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessedImage:
    """One image on its way to the network.

    Args:
        source: Where it came from.
        image: float32 (3, height, width), or pixels that are normalised later, uint8 (height, width, 3);
            None where it failed.
        status: `ok`, or the reason it failed.
        note: What was odd about it though it did not fail; mostly empty.
    """

    source: LabelledImage
    image: Images | Pixels | None
    status: str = OK
    note: str = ""


def preprocess_image(
    source: LabelledImage, record: ModelRecord, options: ReadOptions = DEFAULT_READ_OPTIONS
) -> PreprocessedImage:
    """Return the image as the network takes it; one that cannot be read or decoded has the reason."""
    size = record.preprocessing.crop_size
    return preprocess_into(source, record, options, np.empty((3, size, size), dtype=np.float32))


def preprocess_into(
    source: LabelledImage, record: ModelRecord, options: ReadOptions, out: Images | Pixels
) -> PreprocessedImage:
    """Make the image in the caller's row of a batch, and return it; where it failed, with the reason.

    Args:
        source: The encoded image.
        record: How the network takes it.
        options: How it is read.
        out: float32 (3, height, width), or uint8 (height, width, 3) for pixels; C-contiguous. It is the
            returned `image`; of an image that failed it holds anything.
    """
    if source.fault:
        return PreprocessedImage(source=source, image=None, status=source.fault)
    try:
        decoded = decode_image(read_image(source, options), max_pixels=options.max_pixels)
        fill_image(decoded.pixels, record, out)
    except OSError as error:
        return PreprocessedImage(source=source, image=None, status=f"unreadable: {error.strerror or error}")
    except UndecodableImageError as error:
        return PreprocessedImage(source=source, image=None, status=f"not decodable: {error}")
    return PreprocessedImage(source=source, image=out, note=decoded.note)


def read_image(source: LabelledImage, options: ReadOptions = DEFAULT_READ_OPTIONS) -> bytes:
    """Return the encoded image. After an input/output error it is read once more.

    Raises:
        UndecodableImageError: It is larger than the limit.
        OSError: It cannot be read.
    """
    _check_file_size(source.size_bytes, options)
    try:
        encoded = source.read_bytes()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        encoded = source.read_bytes()
    _check_file_size(len(encoded), options)
    return encoded


def _check_file_size(size_bytes: int, options: ReadOptions) -> None:
    if size_bytes > options.max_file_bytes:
        raise UndecodableImageError(f"too large: {size_bytes:,} bytes, over {options.max_file_bytes:,}")


def stack_images(batch: Iterable[PreprocessedImage]) -> Images:
    """Return the images that did not fail as one array, float32 (N, 3, height, width), in order."""
    return np.stack([row.image for row in batch if row.image is not None])  # (N, 3, H, W)


def map_ahead(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield function(item) for every item, in order, computed in the executor.

    At most `ahead` items are under way or waiting at once, so memory stays flat whatever their number.
    When the caller stops early, what has not begun is cancelled.
    """
    items = iter(items)
    pending: collections.deque[Future[Result]] = collections.deque(
        executor.submit(function, item) for item in itertools.islice(items, ahead)
    )
    try:
        while pending:
            result = pending.popleft().result()
            pending.extend(executor.submit(function, item) for item in itertools.islice(items, 1))
            yield result
    finally:
        for future in pending:
            future.cancel()
