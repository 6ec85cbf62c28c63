"""Measures ways of doing one thing in turn, so that a slow spell of the machine meets all of them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from assay.arrays import Batch
from assay.engines.base import Session

MeasureRate = Callable[[], float]


def take_turns(ways: Mapping[str, MeasureRate], turns: int) -> dict[str, list[float]]:
    """Return what each way measured in each turn, after one turn that does not count."""
    for measure in ways.values():
        measure()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, measure in ways.items():
            rates[name].append(measure())
    return rates


def print_rates(rates: Mapping[str, list[float]], base: str, unit: str = "images/s") -> None:
    """Print a line for each way: median, range, and the median of its ratios to the base in the same turn."""
    for name, values in rates.items():
        ratio = statistics.median(own / other for own, other in zip(values, rates[base], strict=True))
        spread = f"({min(values):.1f} to {max(values):.1f})"
        print(f"{name:44} {statistics.median(values):8.1f} {unit} {spread:18} x {ratio:.2f}")


def time_call(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure_session(session: Session, batch: Batch, seconds: float, callers: int = 0) -> float:
    """Return images/s of a session that so many threads call, or as many as it says; each at least once."""
    call = partial(session.run, batch)
    return len(batch) * count_calls_per_second([call] * (callers or session.concurrency), seconds)


def count_calls_per_second(callers: Sequence[Callable[[], object]], seconds: float) -> float:
    """Return the calls of all callers a second; each has a thread of its own and calls at least once."""
    counts = [0] * len(callers)
    start = time.perf_counter()

    def call(number: int) -> None:
        while not counts[number] or time.perf_counter() - start < seconds:
            callers[number]()
            counts[number] += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)
