"""The `torch` engine: the original network in PyTorch, the reference that the others are compared with."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import torch
from torch import Tensor, nn

from assay.arrays import Batch, Logits
from assay.checkpoint.load import load_checkpoint
from assay.engines.arrays import check_images, check_logits_shape
from assay.engines.compiled_model import CompiledModel, read_compiled_for, write_compiled_json
from assay.engines.engine import (
    WEIGHTS_KEY,
    BatchSizes,
    CompileChoice,
    CompileOptions,
    SessionDescription,
    SourceKind,
)
from assay.engines.options import check_options, choose_setting, choose_thread_count
from assay.engines.sources import describe_source, recall_options
from assay.errors import BadCheckpointError, EngineError, MissingRuntimeError, quote_reason
from assay.models.hugging_face.folder import SHARD_INDEX, list_weight_files
from assay.models.record import ModelRecord
from assay.processors import describe_processor

WEIGHTS_STEM = "weights"
MODES = ("eager", "compiled")
LAYOUTS = ("channels_last", "contiguous")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Its compiled model is the checkpoint itself, beside how it is to be run."""

    name = "torch"
    version: str = str(torch.__version__)
    source: SourceKind = "checkpoint"
    precisions: tuple[str, ...] = tuple(_DTYPES)
    devices: tuple[str, ...] = ("cpu", "cuda")
    proven_devices: tuple[str, ...] = ("cpu",)
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType(
        {
            "mode": "eager (if not given) or compiled: by torch.compile, which needs a C++ compiler",
            "layout": "channels_last (if not given) or contiguous",
            WEIGHTS_KEY: "which set of a checkpoint's weights; the plain ones if not given",
            "threads": "processors to use on the CPU; all of them if not given",
        }
    )

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`."""
        found = {"cpu": describe_processor()}
        if torch.cuda.is_available():
            found["cuda"] = torch.cuda.get_device_name()
        return found

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`."""
        options = check_options(self, choice, record)
        choose_setting(options, "mode", MODES)
        choose_setting(options, "layout", LAYOUTS)
        choose_thread_count(options)
        _check_device(options.device)
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        checkpoint = load_checkpoint(source, options.record, options.settings.get(WEIGHTS_KEY))
        _copy_weights(source, compiled_dir)
        described = describe_source(self, source, options)
        described = msgspec.structs.replace(
            described, weights_key=checkpoint.weights_key, other_weights_keys=checkpoint.other_keys
        )
        return write_compiled_json(described, compiled_dir)

    def load(self, compiled_dir: Path) -> TorchSession:
        """See `Engine.load`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        _check_device(compiled.device)
        try:
            name = next(name for name in compiled.files if name.startswith(WEIGHTS_STEM))
            weights = compiled_dir / name.partition("/")[0]  # the folder, of one with several files
            network = load_checkpoint(weights, compiled.model, compiled.settings.get(WEIGHTS_KEY)).network
        except (StopIteration, BadCheckpointError) as error:
            raise EngineError(f"torch cannot load {compiled_dir}: {quote_reason(error)}") from error
        return TorchSession(network, recall_options(compiled))


def _copy_weights(source: Path, compiled_dir: Path) -> None:
    """Copy a checkpoint, or what of a folder is the weights."""
    files = list_weight_files(source)
    if len(files) == 1:
        shutil.copyfile(files[0], compiled_dir / f"{WEIGHTS_STEM}{files[0].suffix}")
        return
    folder = compiled_dir / WEIGHTS_STEM
    folder.mkdir()
    for file in (*files, source / SHARD_INDEX):
        shutil.copyfile(file, folder / file.name)


class TorchSession:
    """See `Session`. One caller: torch keeps all its threads busy with one call.

    Args:
        network: In evaluation mode; it becomes the session's, which moves and converts it.
        options: The record, and how the network is run.
    """

    concurrency = 1

    def __init__(self, network: nn.Module, options: CompileOptions) -> None:
        self._record = options.record
        self._batch_size = options.batch_size
        self._device = options.device
        self._dtype = _DTYPES[options.precision]
        is_last = choose_setting(options, "layout", LAYOUTS) == "channels_last"
        self._layout = torch.channels_last if is_last else torch.contiguous_format
        self._thread_count = choose_thread_count(options)
        self._lock = threading.Lock()  # threads and TF32 are settings of the process
        moved = network.to(self._device, self._dtype, memory_format=self._layout)  # type: ignore[call-overload]
        is_compiled = choose_setting(options, "mode", MODES) == "compiled"
        self._network: Callable[[Tensor], Tensor] | None = (
            torch.compile(moved, dynamic=False) if is_compiled else moved
        )

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        on_cpu = self._device == "cpu"
        return SessionDescription(
            runtime=f"torch {torch.__version__}",
            device_name=describe_processor() if on_cpu else torch.cuda.get_device_name(),
            thread_count=self._thread_count if on_cpu else None,
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
                # TF32 rounds the factors of fp32 to 10 bits: that is not fp32
                torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
                tensor = torch.from_numpy(images).to(self._device, self._dtype, memory_format=self._layout)
                logits: Logits = self._network(tensor).to("cpu", torch.float32).numpy()  # (N, classes)
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


def _check_device(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        kind = "built without CUDA" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        raise MissingRuntimeError(
            f"torch finds no device cuda: torch {torch.__version__} is {kind}",
            hint="install a CUDA build of torch and the device's driver, or choose --device cpu",
        )
