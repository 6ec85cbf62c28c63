"""Whose fault it is that an image cannot be read: its own, or that of the place which holds it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable

import pytest

from assay.errors import SourceError, UndecodableImageError
from assay.images.listing import LabelledImage, ReadOptions
from assay.images.read import NO_PATIENCE, PAUSES_S, Patience, read_image

QUICK = Patience(pauses_s=(0.0, 0.0, 0.0))
TRANSIENT = [
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EACCES,
    errno.EPERM,
    errno.ENOENT,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
]


def make_failing_double(
    number: int, failures: int, content: bytes = b"whole"
) -> tuple[LabelledImage, list[int]]:
    """A double of a device: the first reads fail with this error; also gives what counts the reads."""
    reads: list[int] = []

    def read_bytes() -> bytes:
        reads.append(1)
        if len(reads) <= failures:
            raise OSError(number, os.strerror(number))
        return content

    return LabelledImage(relative_path="a.jpg", size_bytes=5, read_bytes=read_bytes), reads


@pytest.mark.parametrize("number", TRANSIENT)
def test_a_source_that_recovers_gives_the_image(number: int) -> None:
    image, reads = make_failing_double(number, failures=3)
    assert read_image(image, patience=QUICK) == b"whole"
    assert len(reads) == 4


@pytest.mark.parametrize("number", TRANSIENT)
def test_a_source_that_fails_for_good_is_no_fault_of_the_image(number: int) -> None:
    image, reads = make_failing_double(number, failures=100)
    with pytest.raises(SourceError, match=rf"a\.jpg: its source failed: {os.strerror(number)} \(4 tries"):
        read_image(image, patience=QUICK)
    assert len(reads) == 4


def test_a_body_cut_short_is_read_again() -> None:
    bodies = [b"wh", b"", b"whole"]
    image = LabelledImage(relative_path="a", size_bytes=5, read_bytes=lambda: bodies.pop(0))
    assert read_image(image, patience=QUICK) == b"whole"


def test_an_image_of_another_size_than_listed_is_never_used() -> None:
    image = LabelledImage(relative_path="a", size_bytes=5, read_bytes=lambda: b"another")
    with pytest.raises(SourceError, match="7 bytes came, expected 5"):
        read_image(image, patience=QUICK)


def test_a_fault_of_the_image_itself_is_not_tried_again() -> None:
    reads = []

    def read_bytes() -> bytes:
        reads.append(1)
        raise UndecodableImageError("damaged in the zip archive")

    image = LabelledImage(relative_path="a", size_bytes=0, read_bytes=read_bytes)
    with pytest.raises(UndecodableImageError):
        read_image(image, patience=QUICK)
    assert len(reads) == 1


def test_an_image_over_the_limit_is_not_read() -> None:
    image, reads = make_failing_double(errno.EIO, failures=100)
    with pytest.raises(UndecodableImageError, match="too large: 5 bytes, over 4"):
        read_image(image, ReadOptions(max_file_bytes=4), QUICK)
    assert not reads


def test_the_pauses_grow_and_are_bounded() -> None:
    assert sorted(set(PAUSES_S)) == list(PAUSES_S)
    assert 10 < sum(PAUSES_S) < 60


@pytest.mark.parametrize("end", [lambda patience: patience.ended.set(), lambda patience: patience.__exit__()])
def test_a_pause_ends_with_the_run(end: Callable[[Patience], None]) -> None:
    image, reads = make_failing_double(errno.EIO, failures=100)
    patience = Patience(pauses_s=(1000.0,))
    raised = []

    def read() -> None:
        try:
            read_image(image, patience=patience)
        except SourceError as error:
            raised.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    while not reads:
        time.sleep(0.001)
    end(patience)
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert "the run had ended" in raised[0].message
    assert len(reads) == 1


def test_without_patience_a_failure_is_the_end() -> None:
    image, reads = make_failing_double(errno.EIO, failures=1)
    with pytest.raises(SourceError):
        read_image(image, patience=NO_PATIENCE)
    assert len(reads) == 1
