"""Rows that several callers hand to one session, gathered so that they do not run one by one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from assay.arrays import Batch, Logits
from assay.engines.engine import Session


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Handover:
    rows: Batch
    logits: Future[Logits] = field(default_factory=Future)


class Gatherer:
    """Answers the rows of several callers by as few calls of a session as their patience allows.

    There is no thread of its own: one of the callers that wait runs the session for all of them, as soon as
    enough rows wait, or nobody is about to add any, or it has waited as long as it would. While the session
    is busy rows gather by themselves. So none waits for ever, the last caller of a stream runs at once, and
    a caller that is alone never waits.

    Args:
        session: What answers.
        call_size: Most rows in one call; None for any number.
        enough: As many rows make a good call.
    """

    def __init__(self, session: Session, *, call_size: int | None, enough: int) -> None:
        self._session = session
        self._call_size = call_size
        self._enough = enough
        self._changed = threading.Condition()
        self._waiting: list[_Handover] = []
        self._running = 0
        self._expected = 0

    @contextmanager
    def expect(self) -> Iterator[None]:
        """Say, while the block runs, that its caller may have rows afterwards."""
        with self._changed:
            self._expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1
                self._changed.notify_all()

    def run(self, rows: Batch, patience_s: float) -> Logits:
        """The session's logits of these rows, (N, classes).

        Args:
            rows: As the session takes them, N at least 1.
            patience_s: How long to wait for more rows, at most, while the session is free.

        Raises:
            EngineError: The session failed on them, or on those that were run beside them.
        """
        own = _Handover(rows=rows)
        for taken in self._wait_for_turn(own, time.monotonic() + patience_s):
            self._answer(taken)
        return own.logits.result()

    def _wait_for_turn(self, own: _Handover, deadline: float) -> Iterator[list[_Handover]]:
        """Give all requests that wait when it is this caller's turn; nothing where another took its own."""
        with self._changed:
            self._waiting.append(own)
            self._changed.notify_all()
            while own in self._waiting and not self._is_time(deadline):
                is_free = self._running < self._session.concurrency
                self._changed.wait(max(deadline - time.monotonic(), 0) if is_free else None)
            if own not in self._waiting:
                return
            taken, self._waiting = self._waiting, []
            self._running += 1
        try:
            yield taken
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _is_time(self, deadline: float) -> bool:
        """Whether a caller that waits shall run the session now."""
        if self._running >= self._session.concurrency:
            return False
        count = sum(len(request.rows) for request in self._waiting)
        return count >= self._enough or not self._expected or time.monotonic() >= deadline

    def _answer(self, requests: list[_Handover]) -> None:
        """Run the rows of all requests, and give each its own."""
        try:
            rows = requests[0].rows if len(requests) == 1 else np.concatenate([one.rows for one in requests])
            size = self._call_size or len(rows)
            pieces = [self._session.run(rows[start : start + size]) for start in range(0, len(rows), size)]
            logits = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)  # (N, classes)
        except BaseException as error:  # noqa: BLE001 - raised again in every caller's thread
            for request in requests:
                request.logits.set_exception(error)
            return
        start = 0
        for request in requests:
            request.logits.set_result(logits[start : start + len(request.rows)])
            start += len(request.rows)
