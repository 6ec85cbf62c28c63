"""MNN as an engine of assay: on the CPU, in fp32, batches of any size."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import MNN
import numpy as np
from MNN import expr, nn
from msgspec.structs import replace

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, pad_images, take_logits
from assay.engines.compiled_model import CompiledModel, read_compiled_for, write_compiled_json
from assay.engines.engine import BatchSizes, CompileChoice, CompileOptions, SessionDescription, SourceKind
from assay.engines.neighbours import check_neighbours
from assay.engines.options import check_options, choose_thread_count
from assay.engines.sources import check_source, describe_source, fix_batch_size, recall_options
from assay.errors import BadModelError, EngineError, quote_reason
from assay.models.network_input import make_network_input
from assay.models.record import ModelRecord
from assay.processors import describe_processor

MODEL_FILE = "model.mnn"
# The native converter alone: `mnnconvert`, the command around it, reports its use to MNN's makers.
_CONVERT = "import sys, _tools; sys.exit(not _tools.mnnconvert(sys.argv))"
_ON_CPU = 0  # MNN_FORWARD_CPU
MNN_ERRORS = (RuntimeError, SystemError, TypeError, ValueError)
"""What the runtime was seen to raise, and what its bindings raise of arguments."""


class MnnEngine:
    """Its compiled model is MNN's own file, with float32 weights."""

    name = "mnn"
    version: str = MNN.version()
    source: SourceKind = "ONNX file"
    precisions: tuple[str, ...] = ("fp32",)
    devices: tuple[str, ...] = ("cpu",)
    proven_devices: tuple[str, ...] = ("cpu",)
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType({"threads": "processors to use; all of them if not given"})

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`."""
        return {"cpu": describe_processor()}

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`."""
        options = check_options(self, choice, record)
        choose_thread_count(options)
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        fitting = fix_batch_size(source, check_source(source, options), options)
        if options.record.input.dtype != "float32":
            raise BadModelError(
                f"{source} takes {options.record.input.dtype}, which this engine does not feed",
                hint="export it with a float32 input, or choose another --engine",
            )
        _convert(source, compiled_dir / MODEL_FILE)
        described = replace(describe_source(self, source, options), batch_size=fitting.batch_size)
        compiled = write_compiled_json(described, compiled_dir)
        if options.compares_batches:
            with closing(self.load(compiled_dir)) as session:
                check_neighbours(session.run, compiled, source)
        return compiled

    def load(self, compiled_dir: Path) -> MnnSession:
        """See `Engine.load`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        return MnnSession(compiled, compiled_dir / MODEL_FILE)


class MnnSession:
    """See `Session`. One caller: MNN keeps its threads busy with one call."""

    concurrency = 1

    def __init__(self, compiled: CompiledModel, path: Path) -> None:
        self._compiled = compiled
        self._threads = choose_thread_count(recall_options(compiled))
        self._lock = threading.Lock()
        # `high` is float32; `normal` would let a processor that has it compute in float16
        runtime = nn.create_runtime_manager(
            ({"backend": _ON_CPU, "precision": "high", "numThread": self._threads},)
        )
        names = [compiled.model.input.name], [compiled.model.output.name]
        try:
            self._module: Any = nn.load_module_from_file(str(path), *names, runtime_manager=runtime)
        except MNN_ERRORS as error:
            raise EngineError(f"MNN cannot load {path}: {quote_reason(error)}") from error

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        return SessionDescription(
            runtime=f"MNN {MNN.version()}",
            device_name=describe_processor(),
            thread_count=self._threads,
            stream_count=1,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        if self._module is None:
            raise ValueError("the session is closed")
        record, batch_size = self._compiled.model, self._compiled.batch_size
        check_images(images, record, batch_size)
        fed = make_network_input(pad_images(images, batch_size), record)
        try:
            with self._lock:
                value = expr.placeholder(list(fed.shape), expr.NCHW, expr.float)
                value.write(fed)
                (output,) = self._module.forward([value])
                logits = np.array(expr.convert(output, expr.NCHW).read())  # a copy
        except MNN_ERRORS as error:
            raise EngineError(f"MNN failed on a batch of {len(images)}: {quote_reason(error)}") from error
        return take_logits(logits, len(images), len(fed), record)

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: MNN tells only while it profiles."""
        return ()

    def close(self) -> None:
        """See `Session.close`."""
        self._module = None


def _convert(source: Path, target: Path) -> None:
    """Convert an ONNX file, in a process of its own: what the converter does not know may end it."""
    arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "assay"]
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0 or not target.is_file():
        said = [
            line for line in f"{done.stdout}\n{done.stderr}".splitlines() if "rror" in line or "not" in line
        ]
        raise EngineError(
            f"MNN cannot convert {source}: {quote_reason(said[0] if said else f'status {done.returncode}')}"
        )
