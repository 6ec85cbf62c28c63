"""A session of two: every image goes through the fast model, those it is unsure of through the exact one."""

from __future__ import annotations

import threading
import time

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Batch, Logits
from assay.engines.cascade.gather import Gatherer
from assay.engines.cascade.margins import compute_margins
from assay.engines.cascade.record import CascadeRecord
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import Session, SessionDescription

USUAL_CALL_SIZE = 8


class CascadeSession:
    """See `Session` and `ChoosingSession`.

    It takes as many callers as both models together, so that the fast one is kept busy while rows of others
    wait for the exact one.
    """

    def __init__(
        self, record: CascadeRecord, fast: Session, exact: Session, exact_compiled: CompiledModel
    ) -> None:
        self._record = record
        self._fast = fast
        self._exact = exact
        self._places = threading.Semaphore(fast.concurrency)
        self._is_closed = False
        call_size = exact_compiled.call_size or exact_compiled.batch_size
        enough = call_size or _count_at_once(exact_compiled)
        self._gatherer = Gatherer(exact, call_size=call_size, enough=enough)

    @property
    def concurrency(self) -> int:
        """See `Session.concurrency`."""
        return self._fast.concurrency + self._exact.concurrency

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`: the fast model's, with the layers of both."""
        fast, exact = self._fast.description, self._exact.description
        layers = [("fast", fast.computed_in), ("exact", exact.computed_in)]
        return SessionDescription(
            runtime=" then ".join(dict.fromkeys((fast.runtime, exact.runtime))),
            device_name=" then ".join(dict.fromkeys((fast.device_name, exact.device_name))),
            thread_count=fast.thread_count,
            stream_count=fast.stream_count,
            computed_in={
                f"{kind} ({name})": count for name, found in layers for kind, count in found.items()
            },
            takes_pixels=fast.takes_pixels,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        return self.run_choosing(images)[0]

    def run_choosing(self, images: Batch) -> tuple[Logits, NDArray[np.bool_]]:
        """See `ChoosingSession.run_choosing`."""
        if self._is_closed:
            raise ValueError("the session is closed")
        with self._gatherer.expect(), self._places:
            start = time.monotonic()
            logits = self._fast.run(images)  # (N, classes)
            elapsed = time.monotonic() - start
        margins = compute_margins(logits, self._record.scores)  # (N,)
        handed_on = ~(margins > self._record.threshold)  # (N,), not a number among them
        if handed_on.any():
            logits[handed_on] = self._gatherer.run(images[handed_on], elapsed)
        return logits, handed_on

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: those of the two are no calls of the cascade, so none are told."""
        self._fast.take_device_ms()
        self._exact.take_device_ms()
        return ()

    def close(self) -> None:
        """See `Session.close`."""
        self._is_closed = True
        self._fast.close()
        self._exact.close()


def _count_at_once(compiled: CompiledModel) -> int:
    """How many images a session takes at once, where that was measured."""
    tuning = compiled.tuning
    return tuning.streams * tuning.inner_batch if tuning else USUAL_CALL_SIZE
