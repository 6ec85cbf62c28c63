"""What every engine is: the two protocols, and the records that pass between them and their callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.arrays import Batch, Logits
from assay.defaults import DEFAULT_ENGINE
from assay.engines.compiled_model import CompiledModel
from assay.models.record import ModelRecord

SourceKind = Literal["ONNX file", "checkpoint"]
BatchSizes = Literal["any", "fixed"]

WEIGHTS_KEY = "weights_key"
"""The setting of engines that take a checkpoint: which set of its weights."""


@dataclass(frozen=True, kw_only=True)
class CompileChoice:
    """What a user chooses of a compilation; what is left open, the engine fills in.

    Args:
        engine: Name of the engine.
        precision: What the network is computed in, one of the engine's `precisions`; empty means its first.
        device: One of the engine's `devices`, in any case; empty means its first.
        batch_size: Compiled for batches of exactly this size; None means any size.
        settings: Of the engine, by name; see its `settings`.
    """

    engine: str = DEFAULT_ENGINE
    precision: str = ""
    device: str = ""
    batch_size: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CompileOptions:
    """How a model is compiled: a choice with nothing left open, which the engine can honour.

    `Engine.resolve` makes them, and nothing checks them again.

    Args:
        engine: Name of the engine.
        record: The model record; it names the input and output and goes into `compiled.json`.
        precision: One of the engine's `precisions`.
        device: One of the engine's `devices`.
        batch_size: Compiled for batches of exactly this size; None means any size.
        settings: Of the engine, by name.
        compares_batches: Whether a few images are run alone and in batches, and a network that answers
            differently is refused. False for drafts of a network that is compared otherwise.
    """

    engine: str
    record: ModelRecord
    precision: str
    device: str
    batch_size: int | None
    settings: Mapping[str, str]
    compares_batches: bool = True


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


@runtime_checkable
class ChoosingSession(Protocol):
    """A session of two models, a fast and an exact one, that tells which of them answered."""

    def run_choosing(self, images: Batch) -> tuple[Logits, NDArray[np.bool_]]:
        """As `Session.run`, and which rows the exact model answered, (N,)."""


class Engine(Protocol):
    """One inference runtime. It honours what it is asked for or refuses; it never falls back."""

    name: str
    source: SourceKind
    """What it compiles."""
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    """The first is the default. An engine that computes nothing of the network has one alone, `none`."""
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
        """The devices that are on this machine, each with the name it gives itself."""

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """Check the choice, and fill in what it leaves open.

        Args:
            choice: What the user chose.
            record: The model record.

        Raises:
            UsageError: A precision, device, batch size or setting that the engine does not declare.
            MissingRuntimeError: The device is not there, or cannot compute in that precision.
        """

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """Write the runtime's own files and `compiled.json` into the empty folder `compiled_dir`.

        A file that declares one batch size is compiled for that where it cannot be made to run others.

        Args:
            source: An ONNX file, or a checkpoint, as the engine's `source` says.
            compiled_dir: An empty folder.
            options: How to compile, as `resolve` made them.

        Raises:
            BadInputError: The source cannot be read or is not what the record says; an image's logits depend
                on the images beside it; or, as FixedBatchError, it runs other batches than were asked for.
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


@runtime_checkable
class DeviceLoader(Protocol):
    """An engine that can load a model on one of several devices of a machine, by its number, from 0 on."""

    def load_on(self, compiled_dir: Path, number: int) -> Session:
        """Load a compiled model for an evaluation, on the device of that number.

        It takes pixels where the compiled model can; which number it was compiled with does not matter.

        Raises:
            AssayError: As `Engine.load`.
        """


@runtime_checkable
class NumberedEngine(DeviceLoader, Protocol):
    """An engine of devices that a machine can have several of, which their numbers tell apart."""

    def count_devices(self, options: CompileOptions) -> int | None:
        """How many devices of the kind that a model is compiled for are here; None where nobody tells.

        0 where that kind is not numbered, such as a processor.
        """
