from __future__ import annotations

import itertools
import math
import statistics
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.arrays import Batch, Images, Logits
from assay.errors import UsageError
from assay.measure.speed.percentiles import compute_percentile
from assay.measure.speed.repeats import OnRepeat, RepeatPlan, check_plan, measure_repeats
from assay.measure.speed.throughput import (
    SessionName,
    ThroughputRow,
    find_outliers,
    is_unsteady,
    make_throughput_rows,
)
from assay.models.record import ModelRecord
from session_double import SessionDouble

NAME = SessionName(engine="fake", device="none", precision="fp32")
IMAGES: Images = np.arange(3 * 3 * 2 * 2, dtype=np.float32).reshape(3, 3, 2, 2)
SHORT = 1e-6  # seconds of a repeat: it holds a few calls


class CountingSession(SessionDouble):
    """A session that does nothing but remember its calls, and how many there were at once."""

    def __init__(self, concurrency: int = 1, fail_at: int | None = None) -> None:
        self.concurrency = concurrency
        self.batches: list[Batch] = []
        self.calls_at_once = self.most_calls_at_once = 0
        self._fail_at = fail_at
        self._lock = threading.Lock()

    def run(self, images: Batch) -> Logits:
        with self._lock:
            self.batches.append(images)
            number = len(self.batches)
            self.calls_at_once += 1
            self.most_calls_at_once = max(self.most_calls_at_once, self.calls_at_once)
        if number == self._fail_at:
            raise RuntimeError("the device is gone")
        with self._lock:
            self.calls_at_once -= 1
        return np.zeros((len(images), 2), dtype=np.float32)


def measure(
    session: CountingSession, plan: RepeatPlan, on_repeat: OnRepeat = lambda _size, _rate: None
) -> list[ThroughputRow]:
    return make_throughput_rows(NAME, measure_repeats(session, IMAGES, plan, on_repeat))


def test_the_batch_sizes_take_turns_after_a_warm_up_of_each() -> None:
    session = CountingSession()
    plan = RepeatPlan(batch_sizes=(1, 4, 8), repeats=6, seconds=SHORT)
    measure(session, plan)
    turns = [size for size, _ in itertools.groupby(len(batch) for batch in session.batches)]
    assert turns == [1, 4, 8] * (1 + 6)


def test_a_first_call_that_is_slow_does_not_shorten_the_repeats() -> None:
    """It may compile: of calls like it, one would fill the warm-up and every repeat."""

    class CompilingSession(CountingSession):
        def run(self, images: Batch) -> Logits:
            time.sleep(0.001 if self.batches else 0.1)
            return super().run(images)

    (row,) = measure(CompilingSession(), RepeatPlan(batch_sizes=(1,), repeats=5, seconds=0.05))
    assert all(len(call_ms) > 1 for call_ms in row.call_ms)


def test_every_value_is_kept_and_the_warm_up_apart() -> None:
    plan = RepeatPlan(batch_sizes=(2, 5), repeats=7, seconds=0.002)
    reported: list[tuple[int, float]] = []
    session = CountingSession()
    rows = measure(session, plan, lambda size, rate: reported.append((size, rate)))
    assert [row.batch_size for row in rows] == [2, 5]
    for row in rows:
        rates = row.images_per_second.values
        assert len(rates) == len(row.call_ms) == 7
        assert list(rates) == [rate for size, rate in reported if size == row.batch_size]
        assert row.images_per_second.median == statistics.median(rates)
        assert row.warm_up_ms
        assert all(call_ms for call_ms in row.call_ms)
        call_count = len(row.warm_up_ms) + sum(map(len, row.call_ms))
        assert call_count == sum(len(batch) == row.batch_size for batch in session.batches)
        assert row.clock == "call"
        assert (row.engine, row.device, row.precision) == ("fake", "none", "fp32")


def test_latencies_are_percentiles_of_the_calls_of_all_repeats() -> None:
    plan = RepeatPlan(batch_sizes=(1,), seconds=0.002)
    (row,) = measure(CountingSession(), plan)
    calls = [call_ms for repeat in row.call_ms for call_ms in repeat]
    expected = np.percentile(calls, [50, 90, 99], method="inverted_cdf")
    assert [row.latency_ms.p50, row.latency_ms.p90, row.latency_ms.p99] == expected.tolist()


def test_images_per_second_count_the_images_of_every_call() -> None:
    plan = RepeatPlan(batch_sizes=(3,), seconds=SHORT)
    (row,) = measure(CountingSession(), plan)
    for rate, call_ms in zip(row.images_per_second.values, row.call_ms, strict=True):
        # a repeat of one caller is no shorter than the calls in it
        assert 0 < rate <= 1.000001 * 3 * len(call_ms) / (sum(call_ms) / 1000)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_session_is_called_by_as_many_threads_as_it_asks_for(
    concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.measure.speed.repeats.LONGEST", math.inf)  # however slow this machine is
    session = CountingSession(concurrency)
    plan = RepeatPlan(batch_sizes=(1, 2), seconds=0.002)
    rows = measure(session, plan)
    assert session.most_calls_at_once <= concurrency
    for row in rows:
        assert row.caller_count == concurrency
        assert all(len(call_ms) % concurrency == 0 for call_ms in (row.warm_up_ms, *row.call_ms))


def test_the_threads_call_at_the_same_time_and_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.measure.speed.repeats.LONGEST", math.inf)  # however slow this machine is
    session = CountingSession(concurrency=2)
    both = threading.Barrier(2)  # breaks, and fails the test, when one calls without the other
    plain_run = session.run

    def run_together(images: Batch) -> Logits:
        both.wait(timeout=30)
        return plain_run(images)

    session.run = run_together  # type: ignore[method-assign]
    plan = RepeatPlan(batch_sizes=(1,), seconds=SHORT)
    (row,) = measure(session, plan)
    assert all(len(call_ms) % 2 == 0 for call_ms in row.call_ms)


def test_a_repeat_holds_at_least_one_call_however_short_it_is() -> None:
    plan = RepeatPlan(batch_sizes=(1,), seconds=0.0)
    (row,) = measure(CountingSession(), plan)
    assert all(call_ms for call_ms in row.call_ms)


def test_a_batch_larger_than_the_images_repeats_them() -> None:
    session = CountingSession()
    plan = RepeatPlan(batch_sizes=(2, 7), seconds=SHORT)
    measure(session, plan)
    by_size = {len(batch): batch for batch in session.batches}
    np.testing.assert_array_equal(by_size[2], IMAGES[[0, 1]])
    np.testing.assert_array_equal(by_size[7], IMAGES[[0, 1, 2, 0, 1, 2, 0]])
    assert by_size[7].flags.c_contiguous


@pytest.mark.parametrize("fail_at", [1, 4])
def test_an_error_in_a_calling_thread_is_raised(fail_at: int) -> None:
    session = CountingSession(concurrency=2, fail_at=fail_at)
    plan = RepeatPlan(batch_sizes=(1,), seconds=SHORT)
    with pytest.raises(RuntimeError, match="the device is gone"):
        measure(session, plan)


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (RepeatPlan(repeats=4), "--repeats is 4; expected 5 or more"),
        (RepeatPlan(batch_sizes=(4, 0)), "--batch-size is 0; expected 1 or more"),
        (RepeatPlan(callers=0), "--callers is 0; expected 1 or more"),
        (RepeatPlan(seconds=0.0), "--seconds is 0; expected more than 0"),
        (RepeatPlan(seconds=math.nan), "--seconds is nan"),
        (RepeatPlan(seconds=math.inf), "--seconds is inf"),
    ],
)
def test_a_plan_that_gives_no_honest_figure_is_refused(plan: RepeatPlan, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        check_plan(plan)


@pytest.mark.parametrize("batch_sizes", [(), (4, 0)])
def test_nothing_is_called_without_batch_sizes_from_1(batch_sizes: tuple[int, ...]) -> None:
    session = CountingSession()
    with pytest.raises(ValueError, match="expected batch sizes"):
        measure(session, RepeatPlan(batch_sizes=batch_sizes))
    assert session.batches == []


@given(
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
    percent=st.sampled_from([0.5, 1.0, 50.0, 90.0, 99.0, 100.0]),
)
def test_percentiles_are_numpys_nearest_rank(values: list[float], percent: float) -> None:
    assert compute_percentile(values, percent) == np.percentile(values, percent, method="inverted_cdf")


@pytest.mark.parametrize(
    ("rates", "unsteady"),
    [
        ([100.0] * 5, False),
        ([95.0, 100.0, 105.0], False),
        ([95.0, 100.0, 105.1], True),
        ([50.0, 100.0], True),
    ],
)
def test_repeats_more_than_a_tenth_of_the_median_apart_are_unsteady(
    rates: list[float], unsteady: bool
) -> None:
    assert is_unsteady(rates) is unsteady


def test_the_only_published_outlier_is_batch_32_on_the_310p(se_resnext50: ModelRecord) -> None:
    outliers = {
        column.device: find_outliers(column.images_per_second) for column in se_resnext50.published_throughput
    }
    assert outliers == {"Ascend 310": [], "Ascend 310P": [32], "NVIDIA T4": []}


def test_the_order_of_the_batch_sizes_does_not_matter_to_outliers() -> None:
    assert find_outliers({64: 1198.41, 32: 600.3, 16: 1396.36}) == [32]


@pytest.mark.parametrize("rates", [{}, {1: 5.0}, {1: 5.0, 2: 1.0}, {1: 1.0, 2: 9.0, 4: 8.0}])
def test_without_two_faster_neighbours_there_is_no_outlier(rates: dict[int, float]) -> None:
    assert find_outliers(rates) == []
