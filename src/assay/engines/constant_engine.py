"""The `constant` engine: the same logits for every image, to show what everything but the model costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from assay import __version__
from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images
from assay.engines.compiled_model import CompiledModel, read_compiled_for
from assay.engines.engine import BatchSizes, CompileChoice, CompileOptions, SessionDescription, SourceKind
from assay.engines.options import check_options, choose_count
from assay.engines.sources import check_source, recall_options, record_compiled
from assay.errors import EngineError, MissingRuntimeError, blame_file
from assay.models.record import ModelRecord

LOGITS_FILE = "logits.npy"


class ConstantEngine:
    """Computes nothing: its compiled model is one row of logits, class 0 highest.

    With a speed, it is a chip's stand-in for measurements of all that is around the chip.
    """

    name = "constant"
    version = __version__
    source: SourceKind = "ONNX file"
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("none",)
    proven_devices: tuple[str, ...] = ("none",)
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType(
        {
            "images_per_second": "holds a batch as long as a chip of that speed; not at all if not given",
            "devices": "how many such chips this machine is taken to have, 1 if not given",
        }
    )

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`."""
        return {"none": "nothing is computed"}

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`."""
        options = check_options(self, choice, record)
        choose_count(options, "images_per_second")
        choose_count(options, "devices")
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """Write the row of logits: 0, -1, -2, … See `Engine.compile`."""
        check_source(source, options)
        class_count = options.record.output.class_count
        np.save(compiled_dir / LOGITS_FILE, -np.arange(class_count, dtype=np.float32))
        takes_pixels = options.record.preprocessing.makes_pixels
        return record_compiled(self, source, compiled_dir, options, takes_pixels=takes_pixels)

    def load(self, compiled_dir: Path) -> ConstantSession:
        """See `Engine.load`."""
        return self._open(compiled_dir, takes_pixels=False)

    def load_for_pixels(self, compiled_dir: Path) -> ConstantSession:
        """See `PixelEngine.load_for_pixels`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        return self._open(compiled_dir, takes_pixels=compiled.takes_pixels)

    def count_devices(self, options: CompileOptions) -> int:
        """See `NumberedEngine.count_devices`: as many as were asked for."""
        return choose_count(options, "devices") or 1

    def load_on(self, compiled_dir: Path, number: int) -> ConstantSession:
        """See `NumberedEngine.load_on`."""
        count = self.count_devices(recall_options(read_compiled_for(self.name, compiled_dir)))
        if number >= count:
            raise MissingRuntimeError(
                f"no device none:{number}: the model was compiled for {count}",
                hint=f"compile it with --set devices={number + 1}",
            )
        return self.load_for_pixels(compiled_dir)

    def _open(self, compiled_dir: Path, *, takes_pixels: bool) -> ConstantSession:
        compiled = read_compiled_for(self.name, compiled_dir)
        with blame_file(EngineError, f"{compiled_dir / LOGITS_FILE} cannot be loaded"):
            row = np.load(compiled_dir / LOGITS_FILE, allow_pickle=False)
        return ConstantSession(compiled, row, takes_pixels=takes_pixels)


class ConstantSession:
    """See `Session`."""

    def __init__(self, compiled: CompiledModel, row: Logits, *, takes_pixels: bool) -> None:
        self._compiled = compiled
        self._takes_pixels = takes_pixels
        self._row: Logits | None = row
        self._chip = threading.Lock()
        rate = compiled.settings.get("images_per_second")
        self._seconds_per_image = 1 / int(rate) if rate else 0.0

    @property
    def concurrency(self) -> int:
        """See `Session.concurrency`."""
        return 1

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        return SessionDescription(
            runtime=f"assay {__version__}",
            device_name="nothing is computed",
            takes_pixels=self._takes_pixels,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        if self._row is None:
            raise ValueError("the session is closed")
        compiled = self._compiled
        check_images(images, compiled.model, compiled.batch_size, takes_pixels=self._takes_pixels)
        if self._seconds_per_image:
            with self._chip:  # a chip computes one batch after the other
                time.sleep(len(images) * self._seconds_per_image)
        return np.tile(self._row, (len(images), 1))  # (N, classes)

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: nothing is known of a device."""
        return ()

    def close(self) -> None:
        """See `Session.close`."""
        self._row = None
