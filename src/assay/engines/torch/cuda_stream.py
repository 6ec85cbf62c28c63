"""The work of a GPU: streams that compute, by CUDA graphs or not, and calls that are copied meanwhile.

Everything here is of the current device, in inference mode, and begun by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assay.arrays import Batch, Logits
from assay.engines.arrays import describe_row
from assay.models.record import ModelRecord

Forward = Callable[[Tensor], Tensor]
"""Images or pixels on the device to logits, float32 (N, classes)."""
WARM_UPS = 3  # before a capture, as torch's documentation has it: libraries set themselves up in them


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """The kernels of one batch size: they read `fed` and write `logits`, both in the device's memory."""

    captured: torch.cuda.CUDAGraph
    fed: Tensor
    logits: Tensor


class ComputeStream:
    """A CUDA stream that computes one batch after the other.

    Args:
        forward: What it computes.
        is_captured: Whether the kernels of each batch size are captured once, and then replayed; else torch
            launches them one by one.
    """

    def __init__(self, forward: Forward, *, is_captured: bool) -> None:
        self.stream = torch.cuda.Stream()
        self._forward = forward
        self._is_captured = is_captured
        self._pool = torch.cuda.graph_pool_handle()  # replays come one after the other, and share memory
        self._graphs: dict[int, _Graph] = {}

    def prepare(self, fed: Tensor) -> None:
        """Capture the kernels for a batch of this size, unless that is done."""
        if not self._is_captured or len(fed) in self._graphs:
            return
        own = torch.zeros_like(fed)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                self._forward(own)
        self.stream.synchronize()
        captured = torch.cuda.CUDAGraph()
        # of this thread alone: another one may wait for a result meanwhile
        with torch.cuda.graph(captured, self._pool, self.stream, capture_error_mode="thread_local"):
            logits = self._forward(own)
        self._graphs[len(fed)] = _Graph(captured=captured, fed=own, logits=logits)

    def compute(self, fed: Tensor) -> Tensor:
        """The logits of images on the device; called with this stream as the current one.

        What is returned is written again by the next call.
        """
        if not self._is_captured:
            return self._forward(fed)
        graph = self._graphs[len(fed)]
        graph.fed.copy_(fed)
        graph.captured.replay()
        return graph.logits


@dataclass(frozen=True, kw_only=True)
class _Buffers:
    """Memory for one batch size: pinned on the host, so that copies need not wait, and on the device."""

    host_fed: Tensor
    device_fed: Tensor
    host_logits: Tensor


class Call:
    """One call at a time: `fill`, then `begin`, then `finish`.

    Args:
        stream: What computes it.
        record: The shapes of images and logits.
        takes_pixels: Whether it is given pixels; else images.
    """

    def __init__(self, stream: ComputeStream, record: ModelRecord, *, takes_pixels: bool) -> None:
        self._computing = stream
        self._copying = torch.cuda.Stream()
        self._dtype, self._row_shape = describe_row(record, takes_pixels=takes_pixels)
        self._class_count = record.output.class_count
        self._buffers: dict[int, _Buffers] = {}
        self._copied = torch.cuda.Event()
        self._began, self._ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        self._done = torch.cuda.Event(blocking=True)  # decoders need the processor that waiting would take
        self._count = self._size = 0

    def fill(self, images: Batch, size: int) -> None:
        """Copy images or pixels into pinned memory, with rows of zeros behind them up to `size`."""
        if size not in self._buffers:
            self._buffers[size] = self._make_buffers(size)
        self._count, self._size = len(images), size
        rows = self._buffers[size].host_fed.numpy()  # (size, …)
        rows[: len(images)] = images
        rows[len(images) :] = 0

    def begin(self) -> None:
        """Give the GPU all of the call's work, and wait for none of it."""
        buffers, computing = self._buffers[self._size], self._computing
        computing.prepare(buffers.device_fed)
        with torch.cuda.stream(self._copying):
            buffers.device_fed.copy_(buffers.host_fed, non_blocking=True)
            self._copied.record()
        with torch.cuda.stream(computing.stream):
            self._copied.wait()
            self._began.record()
            logits = computing.compute(buffers.device_fed)
            self._ended.record()
            buffers.host_logits.copy_(logits.reshape(buffers.host_logits.shape), non_blocking=True)
            self._done.record()

    def finish(self) -> tuple[Logits, float]:
        """Wait for the logits, float32 (N, classes), and the milliseconds that they took the GPU."""
        self._done.synchronize()
        logits = self._buffers[self._size].host_logits.numpy()[: self._count].copy()  # (N, classes)
        return logits, self._began.elapsed_time(self._ended)

    def _make_buffers(self, size: int) -> _Buffers:
        dtype = torch.uint8 if self._dtype == "uint8" else torch.float32
        host_fed = torch.empty((size, *self._row_shape), dtype=dtype, pin_memory=True)
        return _Buffers(
            host_fed=host_fed,
            device_fed=torch.empty_like(host_fed, device="cuda", pin_memory=False),
            host_logits=torch.empty((size, self._class_count), dtype=torch.float32, pin_memory=True),
        )
