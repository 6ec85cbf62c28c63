"""A session on an Ascend chip by the inference tool's Python interface, both of its generations."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, check_logits_shape, pad_images
from assay.engines.ascend.model_input import ModelInput
from assay.engines.ascend.staging import stage_model
from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import SessionDescription
from assay.engines.native_output import NativeOutput, capture_native_output
from assay.errors import EngineError, MissingRuntimeError, quote_reason, shorten
from assay.files import make_temporary_folder

WHEELS_HINT = (
    "install the aclruntime and ais_bench wheels for this Python from Huawei's tools repository, or let "
    "another Python run them: --set runner=process --set python=/usr/bin/python3.9"
)


def import_interface() -> ModuleType:
    """Return the tool's module `ais_bench.infer.interface`.

    Raises:
        MissingRuntimeError: It, or what it needs, is not installed for this Python.
    """
    try:
        return importlib.import_module("ais_bench.infer.interface")
    except ImportError as error:
        raise MissingRuntimeError(
            f"the inference tool's Python packages are not here: {shorten(error)}", hint=WHEELS_HINT
        ) from error


class AscendSession:
    """See `Session`. One caller; each call is padded to the smallest size that was compiled for and fits.

    Args:
        compiled: What was compiled.
        om_path: The model's file.
        model_input: What it takes.
    """

    concurrency = 1

    def __init__(self, compiled: CompiledModel, om_path: Path, model_input: ModelInput) -> None:
        interface = import_interface()
        self._compiled = compiled
        self._input = model_input
        self._lock = threading.Lock()
        self._tool: Any = _load_model(interface, om_path, int(compiled.settings.get("device_id", "0")))
        self._is_newer = hasattr(self._tool, "summary")  # sumary until 2024
        if len(model_input.sizes) > 1 and not self._is_newer:
            self.close()
            raise EngineError(
                "this generation of ais_bench cannot set the batch of a model with dynamic_batch_size",
                hint="compile with --batch-size instead, or use --set runner=process",
            )
        self._check_input()

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        generation = "ais_bench, 2024 or later" if self._is_newer else "ais_bench, 2023 or earlier"
        return SessionDescription(
            runtime=f"{self._compiled.engine_version}, {generation}",
            device_name=self._compiled.settings["soc_version"],
            stream_count=1,
            takes_pixels=self._input.takes_pixels,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        if self._tool is None:
            raise ValueError("the session is closed")
        compiled = self._compiled
        check_images(images, compiled.model, compiled.batch_size, takes_pixels=self._input.takes_pixels)
        largest = self._input.sizes[-1]
        starts = range(0, len(images), largest)
        with self._lock:
            parts = [self._run_part(images[start : start + largest]) for start in starts]
        return np.concatenate(parts)  # (N, classes)

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: the tool's own list, kernel execution alone."""
        summary = self._tool.summary() if self._is_newer else self._tool.sumary()
        times = [
            entry[1] - entry[0] if isinstance(entry, tuple) else entry for entry in summary.exec_time_list
        ]
        if self._is_newer:
            self._tool.reset_summaryinfo()
        else:
            self._tool.reset_sumaryinfo()
        return tuple(map(float, times))

    def close(self) -> None:
        """See `Session.close`."""
        if self._tool is None:
            return
        if self._is_newer:
            self._tool.free_resource()  # its finalize() would end the chip's use for the whole process
        else:
            self._tool.finalize()
        self._tool = None

    def _run_part(self, images: Batch) -> Logits:
        row_count = len(images)
        size = next(size for size in self._input.sizes if size >= row_count)
        padded = pad_images(self._input.suit_model(images, self._compiled.model), size)  # (size, …)
        mode = "dymbatch" if len(self._input.sizes) > 1 else "static"
        try:
            outputs = self._tool.infer([padded], mode)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"the chip failed on a batch of {row_count}: {quote_reason(error)}") from error
        class_count = self._compiled.model.output.class_count
        logits = np.asarray(outputs[0], dtype=np.float32).reshape(size, -1)  # (size, classes)
        check_logits_shape(logits.shape, size, self._compiled.model)
        return np.array(logits[:row_count, :class_count])  # (N, classes), a copy

    def _check_input(self) -> None:
        """Refuse a model whose input has another size in bytes than the record says."""
        tensor = self._compiled.model.input
        value_bytes = 1 if self._input.has_aipp else np.dtype(tensor.dtype).itemsize
        expected = self._input.sizes[-1] * tensor.channels * tensor.height * tensor.width * value_bytes
        inputs = self._tool.get_inputs()
        found = inputs[0].realsize if inputs else 0
        if len(inputs) != 1 or (found != expected and len(self._input.sizes) == 1):
            self.close()
            raise EngineError(
                f"the compiled model takes {len(inputs)} inputs, the first of {found:,} bytes; "
                f"expected one of {expected:,}",
                hint="compile it again with the right model record",
            )


def _load_model(interface: ModuleType, om_path: Path, device_id: int) -> Any:
    """Return the tool's session of a model, which it reads while this runs.

    Raises:
        EngineError: The chip or its driver refuses; the reason is in what the tool prints.
    """
    said = NativeOutput()
    try:
        with (
            make_temporary_folder("om") as folder,
            capture_native_output() as said,
        ):
            return interface.InferSession(device_id, str(stage_model(om_path, folder)))
    except (RuntimeError, ValueError, OSError) as error:
        raise EngineError(
            f"the chip cannot load {om_path}: {_find_reason(said.text) or error}",
            hint="toolkit, kernels and driver must be of one CANN release, and the model of this chip",
        ) from error


def _find_reason(said: str) -> str:
    """Return the first line with an error in what the tool printed."""
    lines = [line.strip() for line in said.splitlines()]
    return next(
        (line for line in lines if "[ERROR]" in line or "ACL ERROR" in line or line[:2] in {"EL", "E1"}), ""
    )
