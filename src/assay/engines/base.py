"""What every engine is: the two protocols, `compiled.json`, and the checks they share as functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from assay import __version__
from assay.arrays import Images, Logits
from assay.errors import BadModelError, UsageError
from assay.files import hash_file, write_file
from assay.models.record import ModelRecord

COMPILED_JSON = "compiled.json"


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """How an ONNX file is to be compiled.

    Args:
        record: The model record; it names the input and output and goes into `compiled.json`.
        precision: What the network is computed in, one of the engine's `precisions`.
        device: One of the engine's `devices`; empty means its first.
        batch_size: Compiled for batches of exactly this size; None means any size.
    """

    record: ModelRecord
    precision: str = "fp32"
    device: str = ""
    batch_size: int | None = None


class CompiledModel(msgspec.Struct, frozen=True, kw_only=True):
    """What `compiled.json` says of the folder it is in; hashes are sha256 by file name."""

    schema_version: int = 1
    assay_version: str = __version__
    engine: str
    engine_version: str
    device: str
    precision: str
    batch_size: int | None
    source_files: dict[str, str]
    files: dict[str, str]
    model: ModelRecord


class Session(Protocol):
    """A compiled model, loaded on its device."""

    @property
    def concurrency(self) -> int:
        """How many threads should call `run` at once to keep the device busy, at least 1."""

    def run(self, images: Images) -> Logits:
        """Return the logits, float32 (N, classes); row i belongs to images[i].

        The result is the caller's own: no later call changes it. Safe to call from `concurrency`
        threads at once. N may be smaller than the batch size the model was compiled for.

        Args:
            images: float32 (N, channels, height, width), C-contiguous, N at least 1.

        Raises:
            ValueError: Wrong shape or dtype, or the session is closed.
            EngineError: The runtime failed; its own error is the cause.
        """

    def close(self) -> None:
        """Free the device. A second call does nothing."""


class Engine(Protocol):
    """One inference runtime. It honours what it is asked for or refuses; it never falls back."""

    name: str
    precisions: tuple[str, ...]
    devices: tuple[str, ...]

    def compile(self, onnx_path: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """Write the runtime's own files and `compiled.json` into the empty folder `compiled_dir`.

        Raises:
            BadModelError: The ONNX file cannot be read or is not what the record says.
            MissingRuntimeError: The device is not there, or cannot compute in that precision.
            EngineError: The runtime refused the model; its own error is the cause.
        """

    def load(self, compiled_dir: Path) -> Session:
        """Load a compiled model on the device and in the precision it was compiled for.

        Raises:
            BadModelError: Not a compiled model of this engine, or a file in it has changed.
            MissingRuntimeError: The device is not there.
            EngineError: The runtime cannot load it, or chose another device or precision.
        """


def check_options(engine: Engine, options: CompileOptions) -> CompileOptions:
    """Return the options with the device filled in, after checking that the engine declares them.

    Raises:
        UsageError: A precision, device or batch size that the engine does not declare.
    """
    if options.precision not in engine.precisions:
        raise UsageError(
            f"engine {engine.name} does not compute in {options.precision!r}",
            hint=f"--precision can be: {', '.join(engine.precisions)}",
        )
    device = options.device or engine.devices[0]
    if device not in engine.devices:
        raise UsageError(
            f"engine {engine.name} does not run on {device!r}",
            hint=f"--device can be: {', '.join(engine.devices)}",
        )
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"--batch-size is {options.batch_size}; expected 1 or more")
    return CompileOptions(
        record=options.record,
        precision=options.precision,
        device=device,
        batch_size=options.batch_size,
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


def write_compiled_json(
    engine: Engine, engine_version: str, onnx_path: Path, compiled_dir: Path, options: CompileOptions
) -> CompiledModel:
    """Write `compiled.json` for the files that are in `compiled_dir` now, and return what it says."""
    compiled = CompiledModel(
        engine=engine.name,
        engine_version=engine_version,
        device=options.device,
        precision=options.precision,
        batch_size=options.batch_size,
        source_files={onnx_path.name: hash_file(onnx_path)},
        files={file.name: hash_file(file) for file in sorted(compiled_dir.iterdir())},
        model=options.record,
    )
    text = msgspec.json.format(msgspec.json.encode(compiled), indent=2)
    write_file(compiled_dir / COMPILED_JSON, text + b"\n")
    return compiled


def read_compiled_json(compiled_dir: Path) -> CompiledModel:
    """Return what `compiled.json` says, after checking every file's sha256.

    Raises:
        BadModelError: No compiled model there, unreadable, or a file is missing or has changed.
    """
    path = compiled_dir / COMPILED_JSON
    try:
        compiled = msgspec.json.decode(path.read_bytes(), type=CompiledModel)
    except OSError as error:
        raise BadModelError(
            f"{compiled_dir} holds no compiled model: {path}: {error.strerror}",
            hint="expected a folder written by `assay compile`",
        ) from error
    except msgspec.DecodeError as error:
        raise BadModelError(f"{path} cannot be read: {error}", hint="compile the model again") from error
    for name, sha256 in compiled.files.items():
        _check_compiled_file(compiled_dir / name, sha256)
    return compiled


def _check_compiled_file(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise BadModelError(f"compiled model: {file} is missing", hint="compile the model again")
    found = hash_file(file)
    if found != sha256:
        raise BadModelError(
            f"compiled model: {file} has changed since it was compiled: "
            f"expected sha256 {sha256[:12]}…, found {found[:12]}…",
            hint="compile the model again",
        )


def check_engine_name(engine: Engine, compiled: CompiledModel, compiled_dir: Path) -> None:
    """Refuse a compiled model of another engine.

    Raises:
        BadModelError: `compiled` was written by another engine.
    """
    if compiled.engine != engine.name:
        raise BadModelError(
            f"{compiled_dir} was compiled for engine {compiled.engine}, not for {engine.name}",
            hint=f"load it with engine {compiled.engine}, or compile it for {engine.name}",
        )


def check_images(images: Images, compiled: CompiledModel) -> None:
    """Refuse images that are not what the compiled model takes.

    Raises:
        ValueError: Not a float32, C-contiguous (N, channels, height, width) with 1 <= N <= batch size.
    """
    record = compiled.model
    row_shape = (record.input.channels, record.input.height, record.input.width)
    if not isinstance(images, np.ndarray) or images.dtype != np.float32:
        found = getattr(images, "dtype", type(images).__name__)
        raise ValueError(f"images: expected float32, found {found}")
    if images.ndim != 4 or images.shape[1:] != row_shape or len(images) == 0:
        expected = ", ".join(map(str, row_shape))
        raise ValueError(f"images: expected shape (N, {expected}), found {images.shape}")
    if not images.flags.c_contiguous:
        raise ValueError("images: expected a C-contiguous array")
    if compiled.batch_size is not None and len(images) > compiled.batch_size:
        raise ValueError(f"images: compiled for batches of {compiled.batch_size}, found {len(images)}")


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
