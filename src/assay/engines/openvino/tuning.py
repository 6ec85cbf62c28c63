"""Streams and inner batch of an OpenVINO model on the CPU, chosen by a short measurement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openvino
from openvino import properties
from openvino.properties import hint

from assay.engines.compiled_model import Tuning

INNER_BATCHES = (1, 2, 4)
TURNS = 6
TURN_SECONDS = 0.15
TURN_CALLS = 16
LONGEST_S = 20.0  # of all turns after the first: a large network on a busy machine takes seconds for one call
WORTHWHILE = 1.03  # a larger inner batch must be so much faster: it takes more memory and balances worse

LoadModel = Callable[[int, int], openvino.CompiledModel]
"""Loads the model for a number of streams and an inner batch; raises RuntimeError where it cannot."""


def choose_tuning(load: LoadModel, stream_counts: Sequence[int], inner_batches: Sequence[int]) -> Tuning:
    """Return the fastest of the streams and inner batches and, of several, what each was measured at.

    Every choice is kept busy by one thread a stream, on images of zeros. The choices take turns, and their
    fastest turns are compared: what else a machine does only ever slows a turn down, and of 40 turns on a
    busy one the fastest agreed within 0.2 % where the medians were 3 % apart. Every choice has one turn; the
    others end when they have taken `LONGEST_S`.

    Args:
        load: Loads the model.
        stream_counts: How many inferences run at once, each on its share of the processors.
        inner_batches: Images in one inference, ascending.

    Raises:
        RuntimeError: The runtime cannot load or run the model.
    """
    if len(stream_counts) == len(inner_batches) == 1:
        return Tuning(streams=stream_counts[0], inner_batch=inner_batches[0])
    loaded = {
        (streams, size): _Loaded(load(streams, size), size)
        for streams in stream_counts
        for size in inner_batches
    }
    rates = {choice: model.measure_images_per_second() for choice, model in loaded.items()}
    end = time.perf_counter() + LONGEST_S
    for choice in [*loaded] * (TURNS - 1):
        if time.perf_counter() < end:
            rates[choice] = max(rates[choice], loaded[choice].measure_images_per_second())
    best = next(iter(loaded))
    for choice, rate in rates.items():
        if rate > WORTHWHILE * rates[best]:
            best = choice
    return Tuning(
        streams=best[0],
        inner_batch=best[1],
        images_per_second={f"streams {s}, inner batch {b}": rate for (s, b), rate in rates.items()},
    )


class _Loaded:
    """One loaded model, with a request for each of its streams; run once already."""

    def __init__(self, model: openvino.CompiledModel, size: int) -> None:
        channels_height_width = [
            dimension.get_length() for dimension in model.inputs[0].get_partial_shape()[1:]
        ]
        self._images = np.zeros((size, *channels_height_width), dtype=np.float32)  # (size, 3, H, W)
        openvino.Type.f32.to_dtype()  # see the session: the table of types is built before threads use it
        count = int(model.get_property(properties.optimal_number_of_infer_requests))
        self._requests = [model.create_infer_request() for _ in range(count)]
        for request in self._requests:
            self._infer(request)

    def _infer(self, request: Any) -> None:
        request.infer([self._images], share_inputs=True)

    def measure_images_per_second(self) -> float:
        """Let every stream run for a moment, and return the images per second of all."""
        counts = [0] * len(self._requests)
        start = time.perf_counter()

        def call(number: int) -> None:
            while counts[number] < TURN_CALLS and time.perf_counter() - start < TURN_SECONDS:
                self._infer(self._requests[number])
                counts[number] += 1

        threads = [threading.Thread(target=call, args=(number,)) for number in range(len(counts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return len(self._images) * sum(counts) / (time.perf_counter() - start)


def count_hinted_streams(model: openvino.Model, device: str, settings: dict[Any, Any]) -> int:
    """How many streams OpenVINO's throughput hint takes.

    Raises:
        RuntimeError: The runtime cannot load the model.
    """
    throughput = {hint.performance_mode: hint.PerformanceMode.THROUGHPUT}
    loaded = openvino.Core().compile_model(model, device, settings | throughput)
    return int(loaded.get_property(properties.num_streams))
