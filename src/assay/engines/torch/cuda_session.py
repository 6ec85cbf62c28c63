"""A session of the original network on an NVIDIA GPU."""

from __future__ import annotations

import queue
import threading

import torch
from torch import Tensor, nn

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, check_logits_shape
from assay.engines.engine import CompileOptions, SessionDescription
from assay.engines.options import choose_count, choose_setting
from assay.engines.torch.arithmetic import (
    ALGORITHMS,
    DTYPES,
    choose_algorithms,
    choose_layout,
    choose_mode,
    compile_network,
    place_network,
)
from assay.engines.torch.cuda_stream import Call, ComputeStream, Forward
from assay.engines.torch.normalise import Normalise
from assay.errors import EngineError, quote_reason

CALLS_PER_STREAM = 2  # the images of one are copied while the other's are computed
_GPU = threading.Lock()  # how torch computes, and what it captures, is of the whole process


class CudaSession:
    """See `Session`. Each call is copied by a stream of its own, and computed by one of the session's.

    The device's time of a call is that between two events: after its images have come to the device, and
    before its logits leave it. Where several streams compute at once that is no call's own, and is not told.

    Args:
        network: In evaluation mode; it becomes the session's, which moves and converts it.
        options: The record, and how the network is run.
        takes_pixels: Whether `run` is given pixels; else images.
    """

    def __init__(self, network: nn.Module, options: CompileOptions, *, takes_pixels: bool) -> None:
        self._options = options
        self._takes_pixels = takes_pixels
        self._stream_count = choose_count(options, "streams") or 1
        is_captured = choose_mode(options) != "eager"
        # without graphs it is Python that launches the kernels, and one thread keeps another from it
        self._concurrency = self._stream_count * (CALLS_PER_STREAM if is_captured else 1)
        self._device_ms: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Call] | None = queue.SimpleQueue()
        try:
            with _GPU, torch.inference_mode(), torch.cuda.device(options.device):
                self._choose_algorithms()
                forward = _make_forward(network, options, takes_pixels=takes_pixels)
                streams = [ComputeStream(forward, is_captured=is_captured) for _ in range(self._stream_count)]
                for number in range(self._concurrency):
                    stream = streams[number % self._stream_count]
                    self._calls.put(Call(stream, options.record, takes_pixels=takes_pixels))
                torch.cuda.synchronize()  # the weights are there before another stream reads them
        except RuntimeError as error:
            raise EngineError(f"torch cannot load the network: {quote_reason(error)}") from error

    @property
    def concurrency(self) -> int:
        """See `Session.concurrency`."""
        return self._concurrency

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        versions = f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        return SessionDescription(
            runtime=f"torch {torch.__version__}, {versions}",
            device_name=torch.cuda.get_device_name(self._options.device),
            stream_count=self._stream_count,
            takes_pixels=self._takes_pixels,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        calls, options = self._calls, self._options
        if calls is None:
            raise ValueError("the session is closed")
        check_images(images, options.record, options.batch_size, takes_pixels=self._takes_pixels)
        call = calls.get()
        try:
            with torch.inference_mode(), torch.cuda.device(options.device):
                call.fill(images, self._choose_size(len(images)))
                with _GPU:
                    self._choose_algorithms()
                    call.begin()
                logits, device_ms = call.finish()
        except RuntimeError as error:
            raise EngineError(f"torch failed on a batch of {len(images)}: {quote_reason(error)}") from error
        finally:
            calls.put(call)
        check_logits_shape(logits.shape, len(images), options.record)
        if self._stream_count == 1:
            self._device_ms.put(device_ms)
        return logits

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: by CUDA's events, where one stream computes."""
        return tuple(self._device_ms.get() for _ in range(self._device_ms.qsize()))

    def close(self) -> None:
        """See `Session.close`."""
        if self._calls is not None:
            self._calls = None
            torch.cuda.empty_cache()

    def _choose_algorithms(self) -> None:
        choose_algorithms(fastest=choose_setting(self._options, "algorithms", ALGORITHMS) == "fastest")

    def _choose_size(self, count: int) -> int:
        """How many rows are computed for so many images."""
        if choose_mode(self._options) == "eager":
            return count
        return self._options.batch_size or round_up(count)


def round_up(count: int) -> int:
    """The next number with at most four binary digits before its zeros: at most an eighth of it is padding.

    A graph is captured for each, so that few are enough for batches of any size; which one a batch gets does
    not depend on the batches before.

    >>> [round_up(count) for count in (1, 8, 13, 16, 17, 24, 33, 48, 64, 100)]
    [1, 8, 13, 16, 18, 24, 36, 48, 64, 104]
    """
    step = 1 << max(0, (count - 1).bit_length() - 4)
    return -(-count // step) * step


def _make_forward(network: nn.Module, options: CompileOptions, *, takes_pixels: bool) -> Forward:
    """What computes logits of images or pixels that are on the device."""
    dtype, layout = DTYPES[options.precision], choose_layout(options)
    placed = place_network(network, options)
    compute = compile_network(placed) if choose_mode(options) == "compiled" else placed
    normalise = Normalise(options.record, options.device, dtype) if takes_pixels else None

    def forward(fed: Tensor) -> Tensor:
        images = fed if normalise is None else normalise(fed)
        return compute(images.to(dtype, memory_format=layout)).to(torch.float32)  # (N, classes)

    return forward
