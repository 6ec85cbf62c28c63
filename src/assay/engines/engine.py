"""What every engine is: the two protocols, and the checks that engines share as functions."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np

from assay.arrays import Batch, Logits
from assay.engines.compiled_model import CompiledModel, write_compiled_json
from assay.errors import BadModelError, UsageError
from assay.files import hash_file
from assay.models.calibration import read_calibration
from assay.models.pixel_values import recover_pixels
from assay.models.record import ModelRecord
from assay.processors import count_processors

SourceKind = Literal["ONNX file", "checkpoint"]
BatchSizes = Literal["any", "fixed"]


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """How a model is to be compiled.

    Args:
        record: The model record; it names the input and output and goes into `compiled.json`.
        precision: What the network is computed in, one of the engine's `precisions`; empty means its first.
        device: One of the engine's `devices`, in any case; empty means its first.
        batch_size: Compiled for batches of exactly this size; None means any size.
        settings: Of the engine, by name; see its `settings`.
    """

    record: ModelRecord
    precision: str = ""
    device: str = ""
    batch_size: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


class SessionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a session runs on and in, as far as its runtime tells.

    `computed_in` counts the network's layers by the arithmetic they run in; empty where that is not told.
    `takes_pixels` says that `run` takes pixels in place of images, and normalises them itself.
    """

    runtime: str
    device_name: str
    thread_count: int | None = None
    stream_count: int | None = None
    computed_in: dict[str, int] = {}
    takes_pixels: bool = False


class Session(Protocol):
    """A compiled model, loaded on its device."""

    @property
    def concurrency(self) -> int:
        """How many threads should call `run` at once to keep the device busy, at least 1."""

    @property
    def description(self) -> SessionDescription:
        """What the session runs on and in."""

    def run(self, images: Batch) -> Logits:
        """Return the logits, float32 (N, classes); row i belongs to images[i].

        The result is the caller's own: no later call changes it. Safe to call from `concurrency`
        threads at once. N may be smaller than the batch size the model was compiled for.

        Args:
            images: float32 (N, channels, height, width), C-contiguous, N at least 1; where the description
                says that the session takes pixels, those instead: uint8 (N, height, width, channels), RGB.

        Raises:
            ValueError: Wrong shape or dtype, or the session is closed.
            EngineError: The runtime failed; its own error is the cause.
        """

    def take_device_ms(self) -> tuple[float, ...]:
        """Return the device's own time of each call since this was last asked, in milliseconds.

        Empty where the runtime does not tell: then there are no figures on the `device` clock.
        """

    def close(self) -> None:
        """Free the device. A second call does nothing."""


class Engine(Protocol):
    """One inference runtime. It honours what it is asked for or refuses; it never falls back."""

    name: str
    source: SourceKind
    """What it compiles."""
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    proven_devices: tuple[str, ...]
    """Those that assay has run on for real; the others are built to their documentation."""
    batch_sizes: BatchSizes
    """Whether one compiled model runs batches of any size, or of the one it was compiled for."""
    settings: Mapping[str, str]
    """What else can be chosen when compiling: the name, and what values mean."""

    @property
    def version(self) -> str:
        """Version of the runtime."""

    def find_devices(self) -> dict[str, str]:
        """Return which of its devices are on this machine, each with its own name."""

    def resolve(self, options: CompileOptions) -> CompileOptions:
        """Return the options with all filled in that was left open, after checking them.

        Raises:
            UsageError: A precision, device, batch size or setting that the engine does not declare.
            MissingRuntimeError: The device is not there, or cannot compute in that precision.
        """

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """Write the runtime's own files and `compiled.json` into the empty folder `compiled_dir`.

        Args:
            source: An ONNX file, or a checkpoint, as the engine's `source` says.
            compiled_dir: An empty folder.
            options: How to compile.

        Raises:
            BadInputError: The source cannot be read or is not what the record says.
            UsageError, MissingRuntimeError: As `resolve`.
            EngineError: The runtime refused the model; its own error is the cause.
        """

    def load(self, compiled_dir: Path) -> Session:
        """Load a compiled model, for images, on the device and in the precision it was compiled for.

        Raises:
            BadModelError: Not a compiled model of this engine, or a file in it has changed.
            MissingRuntimeError: The device is not there.
            EngineError: The runtime cannot load it, or chose another device or precision.
        """


@runtime_checkable
class PixelEngine(Protocol):
    """An engine with compiled models that can normalise; `takes_pixels` of `compiled.json` says which can."""

    def load_for_pixels(self, compiled_dir: Path) -> Session:
        """Load a compiled model as `Engine.load` does, but for pixels if it takes them."""


def check_options(engine: Engine, options: CompileOptions) -> CompileOptions:
    """Return the options with precision and device filled in, after checking that the engine declares them.

    Raises:
        UsageError: A precision, device, batch size or setting that the engine does not declare.
    """
    precision = options.precision or engine.precisions[0]
    if precision not in engine.precisions:
        raise UsageError(
            f"engine {engine.name} does not compute in {precision!r}",
            hint=f"--precision can be: {', '.join(engine.precisions)}",
        )
    devices = {name.casefold(): name for name in engine.devices}
    device = devices.get((options.device or engine.devices[0]).casefold())
    if device is None:
        raise UsageError(
            f"engine {engine.name} does not run on {options.device!r}",
            hint=f"--device can be: {', '.join(engine.devices)}",
        )
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"--batch-size is {options.batch_size}; expected 1 or more")
    unknown = sorted(set(options.settings) - set(engine.settings))
    if unknown:
        raise UsageError(
            f"engine {engine.name} has no setting {unknown[0]!r}",
            hint=f"it has: {', '.join(engine.settings) or 'none'}; see `assay engines`",
        )
    return replace(options, precision=precision, device=device)


def choose_setting(options: CompileOptions, name: str, choices: tuple[str, ...]) -> str:
    """Return the setting of that name, one of `choices`; the first where it was not given.

    Raises:
        UsageError: It is none of them.
    """
    value = options.settings.get(name, choices[0])
    if value not in choices:
        raise UsageError(f"{name}={value}: expected one of {', '.join(choices)}")
    return value


def choose_thread_count(options: CompileOptions) -> int:
    """Return the setting `threads`; where it was not given, the processors this process may use.

    Raises:
        UsageError: Not a whole number from 1.
    """
    return choose_count(options, "threads") or count_processors()


def choose_count(options: CompileOptions, name: str) -> int | None:
    """Return the setting of that name, a whole number from 1; None where it was not given.

    Raises:
        UsageError: It is anything else.
    """
    text = options.settings.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"{name}={text}: expected a whole number from 1")
    return int(text)


def describe_source(engine: Engine, source: Path, options: CompileOptions) -> CompiledModel:
    """Return what `compiled.json` will say of a model that is made of `source`, before it is made."""
    source_sha256 = hash_file(source)
    return CompiledModel(
        engine=engine.name,
        engine_version=engine.version,
        device=options.device,
        device_name=engine.find_devices().get(options.device, ""),
        precision=options.precision,
        batch_size=options.batch_size,
        settings=dict(options.settings),
        source_files={source.name: source_sha256}
        | {file.name: hash_file(file) for file in _list_setting_files(options)},
        files={},
        model=options.record,
        calibration=read_calibration(source, source_sha256),
    )


def _list_setting_files(options: CompileOptions) -> list[Path]:
    return [path for value in options.settings.values() if (path := Path(value)).is_file()]


def record_compiled(
    engine: Engine,
    source: Path,
    compiled_dir: Path,
    options: CompileOptions,
    *,
    call_size: int = 0,
    takes_pixels: bool = False,
) -> CompiledModel:
    """Write `compiled.json` for the files that are in `compiled_dir` now, and return what it says."""
    compiled = describe_source(engine, source, options)
    return write_compiled_json(
        msgspec.structs.replace(compiled, call_size=call_size, takes_pixels=takes_pixels), compiled_dir
    )


def check_onnx_path(onnx_path: Path) -> None:
    """Refuse what cannot be an ONNX file, before a runtime reads it.

    Raises:
        BadModelError: Missing, empty, without the suffix `.onnx`, or a git-LFS pointer.
    """
    if not onnx_path.is_file():
        raise BadModelError(f"ONNX file {onnx_path} does not exist")
    if onnx_path.suffix.lower() != ".onnx":
        raise BadModelError(f"{onnx_path}: expected an ONNX file, its name ending in .onnx")
    with onnx_path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise BadModelError(f"{onnx_path} is empty", hint="export it again")
    if head.startswith(b"version https://git-lfs"):
        raise BadModelError(f"{onnx_path} is a git-LFS pointer, not the model", hint="run `git lfs pull`")


def is_quantised(onnx_path: Path) -> bool:
    """Return whether an ONNX file has quantised layers: the names of their operators stand in it as text."""
    with onnx_path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(name) >= 0 for name in (b"QuantizeLinear", b"QLinearConv", b"FakeQuantize"))


def check_quantisation(onnx_path: Path, precision: str) -> None:
    """Refuse a quantised ONNX file for a float precision, and a float one for int8.

    Raises:
        BadModelError: The file is not of that precision.
    """
    if is_quantised(onnx_path) == (precision == "int8"):
        return
    if precision == "int8":
        raise BadModelError(
            f"{onnx_path} holds no quantised layers, so nothing of it would run in int8",
            hint=f"quantise it first: assay quantize {onnx_path} OUT.onnx --calibration DIR",
        )
    raise BadModelError(
        f"{onnx_path} is quantised, so it would not run in {precision}",
        hint="compile it with --precision int8, or compile the float model",
    )


def describe_row(record: ModelRecord, *, takes_pixels: bool) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the dtype and the shape of one row of what a session takes."""
    tensor = record.input
    if takes_pixels:
        return np.dtype(np.uint8), (tensor.height, tensor.width, tensor.channels)
    return np.dtype(np.float32), (tensor.channels, tensor.height, tensor.width)


def check_images(
    images: Batch, record: ModelRecord, batch_size: int | None, *, takes_pixels: bool = False
) -> None:
    """Refuse what a session does not take; `batch_size` is what its model was compiled for.

    Raises:
        ValueError: Not float32 (N, channels, height, width), or, where it takes pixels, not uint8
            (N, height, width, channels); not C-contiguous; not 1 <= N <= batch size.
    """
    name = "pixels" if takes_pixels else "images"
    dtype, row_shape = describe_row(record, takes_pixels=takes_pixels)
    if not isinstance(images, np.ndarray) or images.dtype != dtype:
        found = getattr(images, "dtype", type(images).__name__)
        raise ValueError(f"{name}: expected {dtype}, found {found}")
    if images.ndim != 4 or images.shape[1:] != row_shape or len(images) == 0:
        expected = ", ".join(map(str, row_shape))
        raise ValueError(f"{name}: expected shape (N, {expected}), found {images.shape}")
    if not images.flags.c_contiguous:
        raise ValueError(f"{name}: expected a C-contiguous array")
    if batch_size is not None and len(images) > batch_size:
        raise ValueError(f"{name}: compiled for batches of {batch_size}, found {len(images)}")


def pad_images(images: Batch, batch_size: int | None) -> Batch:
    """Return the images, or pixels, with rows of zeros behind them, up to the batch size, if there is one."""
    if batch_size is None or len(images) == batch_size:
        return images
    padded = np.zeros((batch_size, *images.shape[1:]), dtype=images.dtype)  # (batch_size, …)
    padded[: len(images)] = images
    return padded


def suit_session(images: Batch, session: Session, record: ModelRecord) -> Batch:
    """Return images, which the record's preprocessing made of pixels, as the session takes them."""
    return recover_pixels(images, record) if session.description.takes_pixels else images


def check_logits_shape(shape: Iterable[int], row_count: int, record: ModelRecord) -> None:
    """Refuse an output that is not one row of logits for each image.

    Raises:
        BadModelError: The output's shape is not (row_count, class_count).
    """
    found = tuple(shape)
    expected = (row_count, record.output.class_count)
    if found != expected:
        raise BadModelError(
            f"the network's output {record.output.name!r}: expected shape {expected}, found {found}",
            hint="set output.name and output.class_count of the model record to what the network has",
        )
