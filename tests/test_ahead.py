"""Items are computed ahead of their use, in order, and no more of them than asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.ahead import map_ahead


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


@settings(max_examples=40)
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
