"""A session of the original network on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, check_logits_shape
from assay.engines.engine import CompileOptions, SessionDescription
from assay.engines.options import choose_thread_count
from assay.engines.torch.arithmetic import DTYPES, choose_layout, choose_mode, compile_network, place_network
from assay.errors import EngineError, quote_reason
from assay.processors import describe_processor


class TorchSession:
    """See `Session`, on the CPU. One caller: torch keeps all its threads busy with one call.

    Args:
        network: In evaluation mode; it becomes the session's, which converts it.
        options: The record, and how the network is run.
    """

    concurrency = 1

    def __init__(self, network: nn.Module, options: CompileOptions) -> None:
        self._record = options.record
        self._batch_size = options.batch_size
        self._dtype = DTYPES[options.precision]
        self._thread_count = choose_thread_count(options)
        self._lock = threading.Lock()  # the number of threads is a setting of the process
        self._layout = choose_layout(options)
        placed = place_network(network, options)
        is_compiled = choose_mode(options) == "compiled"
        self._network: Callable[[Tensor], Tensor] | None = compile_network(placed) if is_compiled else placed

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        return SessionDescription(
            runtime=f"torch {torch.__version__}",
            device_name=describe_processor(),
            thread_count=self._thread_count,
            stream_count=1,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        if self._network is None:
            raise ValueError("the session is closed")
        check_images(images, self._record, self._batch_size)
        try:
            with self._lock, torch.inference_mode():
                torch.set_num_threads(self._thread_count)
                tensor = torch.from_numpy(images).to(self._dtype, memory_format=self._layout)
                logits: Logits = self._network(tensor).to(torch.float32).numpy()  # (N, classes)
        except (RuntimeError, NotImplementedError) as error:
            raise EngineError(f"torch failed on a batch of {len(images)}: {quote_reason(error)}") from error
        check_logits_shape(logits.shape, len(images), self._record)
        return logits

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: not measured."""
        return ()

    def close(self) -> None:
        """See `Session.close`."""
        self._network = None
