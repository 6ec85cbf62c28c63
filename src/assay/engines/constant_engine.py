"""The `constant` engine: the same logits for every image, to show what everything but the model costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assay import __version__
from assay.arrays import Images, Logits
from assay.engines.base import (
    CompiledModel,
    CompileOptions,
    check_engine_name,
    check_images,
    check_onnx_path,
    check_options,
    read_compiled_json,
    write_compiled_json,
)
from assay.errors import EngineError

LOGITS_FILE = "logits.npy"


class ConstantEngine:
    """Computes nothing: its compiled model is one row of logits, class 0 highest."""

    name: str = "constant"
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("none",)

    def compile(self, onnx_path: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """Write the row of logits: 0, -1, -2, … See `Engine.compile`."""
        options = check_options(self, options)
        check_onnx_path(onnx_path)
        class_count = options.record.output.class_count
        np.save(compiled_dir / LOGITS_FILE, -np.arange(class_count, dtype=np.float32))
        return write_compiled_json(self, __version__, onnx_path, compiled_dir, options)

    def load(self, compiled_dir: Path) -> ConstantSession:
        """See `Engine.load`."""
        compiled = read_compiled_json(compiled_dir)
        check_engine_name(self, compiled, compiled_dir)
        try:
            row = np.load(compiled_dir / LOGITS_FILE, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise EngineError(f"{compiled_dir / LOGITS_FILE} cannot be loaded: {error}") from error
        return ConstantSession(compiled, row)


class ConstantSession:
    """See `Session`."""

    def __init__(self, compiled: CompiledModel, row: Logits) -> None:
        self._compiled = compiled
        self._row: Logits | None = row

    @property
    def concurrency(self) -> int:
        """See `Session.concurrency`."""
        return 1

    def run(self, images: Images) -> Logits:
        """See `Session.run`."""
        if self._row is None:
            raise ValueError("the session is closed")
        check_images(images, self._compiled)
        return np.tile(self._row, (len(images), 1))  # (N, classes)

    def close(self) -> None:
        """See `Session.close`."""
        self._row = None
