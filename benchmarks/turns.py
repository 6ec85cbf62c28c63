"""Measures ways of doing one thing in turn, so that a slow spell of the machine meets all of them."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from assay.arrays import Batch
from assay.engines.engine import Session

Measure = TypeVar("Measure")


def take_turns(ways: Mapping[str, Callable[[], Measure]], turns: int) -> dict[str, list[Measure]]:
    """Return what each way measured in each turn, after one turn that does not count."""
    for measure in ways.values():
        measure()
    rates: dict[str, list[Measure]] = {name: [] for name in ways}
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


@dataclass(frozen=True, kw_only=True)
class Load:
    """How an engine is kept busy: for `seconds`, or by a job of so many `images` in all where that is not 0.

    `callers` are the threads that call it at once; 0 means as many as it asks for.
    """

    seconds: float = 1.0
    images: int = 0
    callers: int = 0


def measure_session(session: Session, batch: Batch, load: Load) -> float:
    """Return images/s of a session."""
    call = partial(session.run, batch)
    return measure_calls([call] * (load.callers or session.concurrency), len(batch), load)


def measure_calls(calls: Sequence[Callable[[], object]], batch_size: int, load: Load) -> float:
    """Return images/s of calls with a batch each, each made again and again by a thread of its own.

    In a job, a thread that is free makes the next call; else each calls, at least once, until time is over.
    """
    counts = [0] * len(calls)
    batches = iter(range(load.images // batch_size))
    start = time.perf_counter()

    def is_on(number: int) -> bool:
        if load.images:
            return next(batches, None) is not None
        return not counts[number] or time.perf_counter() - start < load.seconds

    def call(number: int) -> None:
        while is_on(number):
            calls[number]()
            counts[number] += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return batch_size * sum(counts) / (time.perf_counter() - start)
