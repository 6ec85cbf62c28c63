"""Computes items ahead of their use, in order and with bounded memory."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
