"""The `torch` engine: the original network in PyTorch, the reference that the others are compared with."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec
import torch
from torch import nn

from assay.checkpoint.load import load_checkpoint
from assay.engines.compiled_model import CompiledModel, read_compiled_for, write_compiled_json
from assay.engines.engine import (
    WEIGHTS_KEY,
    BatchSizes,
    CompileChoice,
    CompileOptions,
    Session,
    SourceKind,
)
from assay.engines.options import check_options, choose_count, choose_setting, choose_thread_count
from assay.engines.sources import describe_source, recall_options
from assay.engines.torch.arithmetic import ALGORITHMS, DTYPES, describe_arithmetic, name_kind
from assay.engines.torch.cuda_session import CudaSession
from assay.engines.torch.devices import check_device, count_gpus, find_devices, name_gpu, split_device
from assay.engines.torch.session import TorchSession
from assay.errors import BadCheckpointError, EngineError, UsageError, quote_reason
from assay.models.hugging_face.folder import SHARD_INDEX, list_weight_files
from assay.models.record import ModelRecord

WEIGHTS_STEM = "weights"
NORMALISE = ("in_graph", "on_host")
_SETTINGS_OF = {"cpu": ("threads",), "cuda": ("algorithms", "normalise", "streams")}


class TorchEngine:
    """Its compiled model is the checkpoint itself, beside how it is to be run."""

    name = "torch"
    version: str = str(torch.__version__)
    source: SourceKind = "checkpoint"
    precisions: tuple[str, ...] = tuple(DTYPES)
    devices: tuple[str, ...] = ("cpu", "cuda")
    proven_devices: tuple[str, ...] = ("cpu", "cuda")  # docs/how-to/nvidia.md
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType(
        {
            "mode": "eager (if not given, on the CPU); graphs (if not given, on cuda): a CUDA graph for each "
            "batch size; compiled: by torch.compile, which needs a C++ compiler",
            "layout": "channels_last (if not given) or contiguous",
            WEIGHTS_KEY: "which set of a checkpoint's weights; the plain ones if not given",
            "threads": "processors to use on the CPU; all of them if not given",
            "algorithms": "deterministic (if not given), or fastest: as cuDNN measures them, which may be "
            "others in another process (cuda)",
            "normalise": "in_graph (if not given): of pixels, on the device; or on_host (cuda)",
            "streams": "CUDA streams that compute at once, 1 if not given; with more, no device clock (cuda)",
        }
    )

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`; `cuda:1` is the second GPU."""
        return find_devices()

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`."""
        kind, number = split_device(choice.device)
        options = check_options(self, dataclasses.replace(choice, device=kind), record)
        if number:
            options = dataclasses.replace(options, device=f"{options.device}:{number}")
        _check_settings(options)
        check_device(options.device, options.precision)
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        checkpoint = load_checkpoint(source, options.record, options.settings.get(WEIGHTS_KEY))
        _copy_weights(source, compiled_dir)
        described = describe_source(self, source, options)
        described = msgspec.structs.replace(
            described,
            weights_key=checkpoint.weights_key,
            other_weights_keys=checkpoint.other_keys,
            takes_pixels=_takes_pixels(options),
            arithmetic=describe_arithmetic(options),
        )
        return write_compiled_json(described, compiled_dir)

    def load(self, compiled_dir: Path) -> Session:
        """See `Engine.load`."""
        return _open(read_compiled_for(self.name, compiled_dir), compiled_dir, takes_pixels=False)

    def load_for_pixels(self, compiled_dir: Path) -> Session:
        """See `PixelEngine.load_for_pixels`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        return _open(compiled, compiled_dir, takes_pixels=compiled.takes_pixels)

    def count_devices(self, options: CompileOptions) -> int:
        """See `NumberedEngine.count_devices`: the GPUs that torch finds."""
        return count_gpus() if name_kind(options.device) == "cuda" else 0

    def load_on(self, compiled_dir: Path, number: int) -> Session:
        """See `NumberedEngine.load_on`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        compiled = msgspec.structs.replace(compiled, device=name_gpu(number))
        return _open(compiled, compiled_dir, takes_pixels=compiled.takes_pixels)


def _open(compiled: CompiledModel, compiled_dir: Path, *, takes_pixels: bool) -> Session:
    network, options = _load_network(compiled, compiled_dir), recall_options(compiled)
    if name_kind(compiled.device) == "cpu":
        return TorchSession(network, options)
    return CudaSession(network, options, takes_pixels=takes_pixels)


def _check_settings(options: CompileOptions) -> None:
    """Refuse a setting with another value than it can have, or of another device.

    Raises:
        UsageError: That.
    """
    kind = name_kind(options.device)
    for others in (names for device, names in _SETTINGS_OF.items() if device != kind):
        for name in sorted(set(others) & set(options.settings)):
            raise UsageError(f"{name} is no setting of engine torch on {kind}", hint="leave it out")
    describe_arithmetic(options)
    choose_setting(options, "algorithms", ALGORITHMS)
    choose_setting(options, "normalise", NORMALISE)
    choose_count(options, "streams")
    choose_thread_count(options)


def _takes_pixels(options: CompileOptions) -> bool:
    """Whether a GPU is given pixels, and normalises them itself."""
    record = options.record
    return (
        name_kind(options.device) == "cuda"
        and choose_setting(options, "normalise", NORMALISE) == "in_graph"
        and record.preprocessing.makes_pixels
        and record.input.dtype == "float32"
    )


def _load_network(compiled: CompiledModel, compiled_dir: Path) -> nn.Module:
    """The network of a compiled model, on the CPU in float32, after a look at its device."""
    check_device(compiled.device, compiled.precision)
    try:
        name = next(name for name in compiled.files if name.startswith(WEIGHTS_STEM))
        weights = compiled_dir / name.partition("/")[0]  # the folder, of one with several files
        return load_checkpoint(weights, compiled.model, compiled.settings.get(WEIGHTS_KEY)).network
    except (StopIteration, BadCheckpointError) as error:
        raise EngineError(f"torch cannot load {compiled_dir}: {quote_reason(error)}") from error


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
