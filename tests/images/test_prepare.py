from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage
from assay.images.prepare import OK, map_ahead, preprocess_image, preprocess_into, stack_images
from assay.models.record import ModelRecord


def encode(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 30), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def make_source(encoded: bytes | OSError) -> LabelledImage:
    def read_bytes() -> bytes:
        if isinstance(encoded, OSError):
            raise encoded
        return encoded

    return LabelledImage(relative_path="a", label=0, size_bytes=0, read_bytes=read_bytes)


def test_a_sound_image_is_preprocessed_without_a_word(se_resnext50: ModelRecord) -> None:
    source = make_source(encode("red"))
    preprocessed = preprocess_image(source, se_resnext50)
    assert preprocessed.image is not None
    assert preprocessed.image.shape == (3, 224, 224)
    assert (preprocessed.status, preprocessed.note) == (OK, "")
    assert preprocessed.source is source


@pytest.mark.parametrize(
    ("encoded", "status"),
    [
        (b"", "not decodable: empty file"),
        (b"<html>", "not decodable: not an image: begins with b'<html>'"),
        (PermissionError(13, "Permission denied"), "unreadable: Permission denied"),
        (OSError("stale"), "unreadable: stale"),
    ],
)
def test_a_bad_image_has_its_reason_and_no_pixels(
    encoded: bytes | OSError, status: str, se_resnext50: ModelRecord
) -> None:
    preprocessed = preprocess_image(make_source(encoded), se_resnext50)
    assert preprocessed.image is None
    assert preprocessed.status == status


def test_a_thin_image_is_preprocessed_as_any_other(se_resnext50: ModelRecord) -> None:
    buffer = io.BytesIO()
    Image.new("L", (3, 5000)).save(buffer, "JPEG")
    preprocessed = preprocess_image(make_source(buffer.getvalue()), se_resnext50)
    assert preprocessed.status == OK


def test_an_image_is_made_in_the_callers_row_of_a_batch(se_resnext50: ModelRecord) -> None:
    batch = np.full((3, 3, 224, 224), np.nan, dtype=np.float32)
    source = make_source(encode("green"))
    made = preprocess_into(source, se_resnext50, DEFAULT_READ_OPTIONS, batch[1])
    assert made.image is not None
    assert np.shares_memory(made.image, batch[1])
    assert made.source is source
    assert np.isnan(batch[[0, 2]]).all()
    by_itself = preprocess_image(source, se_resnext50).image
    assert by_itself is not None
    np.testing.assert_array_equal(batch[1], by_itself)


def test_an_image_that_fails_has_no_row(se_resnext50: ModelRecord) -> None:
    row = np.zeros((3, 224, 224), dtype=np.float32)
    made = preprocess_into(make_source(b"no image"), se_resnext50, DEFAULT_READ_OPTIONS, row)
    assert made.image is None
    assert made.status.startswith("not decodable: ")


def test_an_odd_image_is_ok_with_a_note(se_resnext50: ModelRecord) -> None:
    encoded = bytearray(encode("red"))
    encoded[-2:-2] = b"\0" * 30  # bytes between the scan and the end marker
    preprocessed = preprocess_image(make_source(bytes(encoded)), se_resnext50)
    assert preprocessed.status == OK
    assert "orrupt" in preprocessed.note


def test_a_bad_image_does_not_change_its_neighbours(se_resnext50: ModelRecord) -> None:
    good = [preprocess_image(make_source(encode(colour)), se_resnext50) for colour in ("red", "blue")]
    bad = preprocess_image(make_source(b"no image"), se_resnext50)
    np.testing.assert_array_equal(stack_images([good[0], bad, good[1]]), stack_images(good))


class Ledger:
    """Counts the items that have been taken and not yet been received."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.taken = self.received = self.most_under_way = 0

    def take(self, item: int) -> int:
        with self.lock:
            self.taken += 1
            self.most_under_way = max(self.most_under_way, self.taken - self.received)
        return item

    def receive(self) -> None:
        with self.lock:
            self.received += 1


@settings(deadline=None, max_examples=40)
@given(count=st.integers(0, 30), ahead=st.integers(1, 8), threads=st.integers(1, 4))
def test_results_come_in_order_with_a_bounded_number_under_way(count: int, ahead: int, threads: int) -> None:
    ledger = Ledger()
    results = []
    with ThreadPoolExecutor(threads) as executor:
        for result in map_ahead(executor, lambda item: item * item, map(ledger.take, range(count)), ahead):
            ledger.receive()
            results.append(result)
    assert results == [item * item for item in range(count)]
    # the one that is being handed over is no longer ahead
    assert ledger.most_under_way <= ahead + 1


def test_items_are_computed_while_the_caller_is_busy() -> None:
    both_begun = threading.Barrier(2)  # breaks, and fails the test, unless two run at once
    with ThreadPoolExecutor(2) as executor:
        assert (
            list(map_ahead(executor, lambda _item: both_begun.wait(timeout=30) < 2, range(4), 2))
            == [True] * 4
        )


def test_an_error_reaches_the_caller_at_its_place() -> None:
    received = []
    with ThreadPoolExecutor(2) as executor, pytest.raises(ZeroDivisionError):
        for result in map_ahead(executor, lambda item: 6 // item, (3, 2, 0, 1), 3):
            received.append(result)  # noqa: PERF402 - what came before the error counts
    assert received == [2, 3]


def test_an_error_of_the_items_reaches_the_caller() -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(ZeroDivisionError):
        list(map_ahead(executor, str, (6 // item for item in (1, 2, 0)), 2))


def test_what_has_not_begun_is_cancelled_when_the_caller_stops() -> None:
    begun: list[int] = []
    release = threading.Event()

    def compute(item: int) -> int:
        begun.append(item)
        if item:
            release.wait(timeout=30)
        return item

    with ThreadPoolExecutor(1) as executor:
        results = map_ahead(executor, compute, range(100), 10)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]  # the iterator is a generator
        release.set()
    assert len(begun) <= 2  # item 1 may have been under way
