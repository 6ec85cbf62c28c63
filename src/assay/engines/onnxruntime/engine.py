"""The `onnxruntime` engine: Microsoft's ONNX Runtime, on the CPU or by the provider that is asked for."""

from __future__ import annotations

import functools
import platform
import re
import shutil
import warnings
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, pad_images, take_logits
from assay.engines.compiled_model import (
    COMPILED_JSON,
    CompiledModel,
    read_compiled_for,
    write_compiled_json,
)
from assay.engines.engine import BatchSizes, CompileChoice, CompileOptions, SessionDescription, SourceKind
from assay.engines.native_output import NativeOutput, capture_native_output
from assay.engines.neighbours import check_neighbours
from assay.engines.onnxruntime.distributions import find_distribution, import_onnxruntime
from assay.engines.onnxruntime.providers import NUMBERED, PROVIDERS, configure_provider, describe_arithmetic
from assay.engines.options import check_options, choose_thread_count
from assay.engines.sources import (
    check_source,
    computes_in_float16,
    describe_source,
    fix_batch_size,
    recall_options,
)
from assay.errors import (
    BadModelError,
    EngineError,
    FixedBatchError,
    MissingRuntimeError,
    UsageError,
    quote,
    quote_reason,
)
from assay.models.check_network import fits_logits
from assay.models.network_input import make_network_input
from assay.models.onnx_file import list_weight_files
from assay.models.record import ModelRecord
from assay.processors import describe_processor

onnxruntime = import_onnxruntime()

MODEL_FILE = "model.onnx"
_WARNING, _FATAL = 2, 4  # ONNX Runtime's severities
# The precisions that each provider is told; the CPU and CUDA compute in what the file holds.
_PRECISIONS = {
    "cpu": ("fp32", "int8"),
    "cuda": ("fp32", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "cann": ("fp32", "fp16"),
    "openvino": ("fp32", "fp16", "int8"),
}
# The smallest ONNX file, one Relu of one value (opset 17), to see whether a provider can be used.
_PROBE_MODEL = bytes.fromhex(
    "080812003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112"
    "040a02080142040a001011"
)


class OnnxRuntimeEngine:
    """Keeps the ONNX file as it is; the provider makes the device's code when it is loaded."""

    name = "onnxruntime"
    version: str = onnxruntime.__version__
    source: SourceKind = "ONNX file"
    precisions: tuple[str, ...] = ("fp32", "fp16", "int8")
    devices: tuple[str, ...] = tuple(PROVIDERS)
    proven_devices: tuple[str, ...] = ("cpu",)
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType(
        {
            "threads": "processors to use; all of them if not given",
            "device_id": "number of the device, 0 if not given (cuda, tensorrt, cann)",
            "graph_mode": "yes (if not given) or no: whole graphs at once, or operator by operator (cann)",
        }
    )

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`; each provider that is built in is tried."""
        built_in = onnxruntime.get_available_providers()
        names = {"cpu": describe_processor()}
        return {
            device: names.get(device, provider)
            for device, provider in PROVIDERS.items()
            if provider in built_in and _is_usable(device)
        }

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`."""
        options = check_options(self, choice, record)
        _check_precision(options)
        choose_thread_count(options)
        _check_provider(options.device)
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        fitting = fix_batch_size(source, check_source(source, options), options)
        _check_arithmetic(source, options)
        _copy_model(source, compiled_dir)
        _check_loads(compiled_dir / MODEL_FILE, source, fitting)
        described = describe_source(self, source, options)
        described = replace(described, batch_size=fitting.batch_size, arithmetic=describe_arithmetic(options))
        compiled = write_compiled_json(described, compiled_dir)
        if options.compares_batches:
            with closing(self.load(compiled_dir)) as session:
                check_neighbours(session.run, compiled, source)
        return compiled

    def load(self, compiled_dir: Path) -> OnnxRuntimeSession:
        """See `Engine.load`."""
        return _load(read_compiled_for(self.name, compiled_dir), compiled_dir)

    def count_devices(self, options: CompileOptions) -> int | None:
        """See `NumberedEngine.count_devices`: ONNX Runtime does not tell."""
        return None if options.device in NUMBERED else 0

    def load_on(self, compiled_dir: Path, number: int) -> OnnxRuntimeSession:
        """See `NumberedEngine.load_on`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        settings = compiled.settings | {"device_id": str(number)}
        return _load(replace(compiled, settings=settings), compiled_dir)


def _load(compiled: CompiledModel, compiled_dir: Path) -> OnnxRuntimeSession:
    _check_provider(compiled.device)
    return OnnxRuntimeSession(compiled, _open_session(compiled_dir / MODEL_FILE, compiled))


class OnnxRuntimeSession:
    """See `Session`. One caller: ONNX Runtime keeps its threads busy with one call."""

    concurrency = 1

    def __init__(self, compiled: CompiledModel, loaded: Any) -> None:
        self._compiled = compiled
        self._loaded = loaded
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = _FATAL  # its errors are raised too
        self._has_run = False

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`; providers do not tell in what their layers run."""
        compiled = self._compiled
        on_cpu = compiled.device == "cpu"
        return SessionDescription(
            runtime=f"{find_distribution()} {onnxruntime.__version__}, {PROVIDERS[compiled.device]}",
            device_name=describe_processor() if on_cpu else PROVIDERS[compiled.device],
            thread_count=choose_thread_count(recall_options(compiled)),
            stream_count=1,
        )

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        loaded = self._loaded
        if loaded is None:
            raise ValueError("the session is closed")
        check_images(images, self._compiled.model, self._compiled.batch_size)
        record, row_count = self._compiled.model, len(images)
        fed = make_network_input(pad_images(images, self._compiled.batch_size), record)
        try:
            output = loaded.run([record.output.name], {record.input.name: fed}, self._run_options)
        except RUNTIME_ERRORS as error:
            raise EngineError(
                f"ONNX Runtime failed on a batch of {row_count}: {quote_reason(error)}"
            ) from error
        if not self._has_run:
            _check_used_provider(loaded, self._compiled.device, "")
            self._has_run = True
        return take_logits(output[0], row_count, len(fed), record)

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: ONNX Runtime tells only while it profiles, which costs time."""
        return ()

    def close(self) -> None:
        """See `Session.close`."""
        self._loaded = None


RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(
        error
        for error in vars(onnxruntime.capi.onnxruntime_pybind11_state).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
)
"""What ONNX Runtime raises: each of its statuses is an exception of its own, below Exception."""


def _check_precision(options: CompileOptions) -> None:
    allowed = _PRECISIONS[options.device]
    if options.precision not in allowed:
        raise UsageError(
            f"engine onnxruntime does not compute in {options.precision} on {options.device}",
            hint=f"--precision can be: {', '.join(allowed)}",
        )
    if options.settings.get("graph_mode", "yes") not in {"yes", "no"}:
        raise UsageError(f"graph_mode={options.settings['graph_mode']}: expected yes or no")
    if not options.settings.get("device_id", "0").isdigit():
        raise UsageError(f"device_id={options.settings['device_id']}: expected a whole number from 0")


def _check_arithmetic(source: Path, options: CompileOptions) -> None:
    """Refuse a float16 file for fp32 where the provider computes in what the file holds.

    On x86 the CPU has no float16 layers: ONNX Runtime casts to float32 around each.

    Raises:
        BadModelError: It would run in float16.
    """
    is_cast = options.device == "openvino" or (
        options.device == "cpu" and platform.machine().lower() in {"x86_64", "amd64"}
    )
    if options.precision == "fp32" and not is_cast and computes_in_float16(source):
        others = "--precision fp16, or " if "fp16" in _PRECISIONS[options.device] else ""
        raise BadModelError(
            f"{source} holds float16 weights, so {PROVIDERS[options.device]} would not run it in fp32",
            hint=f"compile it with {others}the float32 file that it was made of",
        )


def _check_provider(device: str) -> None:
    """Refuse a provider that this distribution of ONNX Runtime was not built with."""
    available = onnxruntime.get_available_providers()
    if PROVIDERS[device] not in available:
        wheel = {"cpu": "onnxruntime", "cuda": "onnxruntime-gpu", "tensorrt": "onnxruntime-gpu"}.get(
            device, f"onnxruntime-{device}"
        )
        raise MissingRuntimeError(
            f"{find_distribution()} {onnxruntime.__version__} has no {PROVIDERS[device]}; "
            f"it has: {', '.join(available)}",
            hint=f"pip uninstall {find_distribution()}, then pip install {wheel}: never two at once",
        )
    _try_provider(device)


def _is_usable(device: str) -> bool:
    try:
        _try_provider(device)
    except MissingRuntimeError:
        return False
    return True


@functools.cache
def _try_provider(device: str) -> None:
    """Refuse a provider that is built in but cannot be used: its own library or its device is missing."""
    try:
        _open(_PROBE_MODEL, _set_up(1, _WARNING), device, {})
    except RUNTIME_ERRORS as error:
        raise MissingRuntimeError(f"{PROVIDERS[device]} cannot be used: {quote_reason(error)}") from error


def _copy_model(source: Path, compiled_dir: Path) -> None:
    """Copy an ONNX file, and beside it the files with its weights, where the file expects them."""
    shutil.copyfile(source, compiled_dir / MODEL_FILE)
    for location, path in list_weight_files(source).items():
        target = compiled_dir / location
        if location in (MODEL_FILE, COMPILED_JSON):
            raise BadModelError(
                f"{source}: its weights are in {location}, a name that compiled models use themselves",
                hint="save the model again with its weights in a file of another name",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _check_loads(copy: Path, source: Path, options: CompileOptions) -> None:
    """Refuse a file that ONNX Runtime cannot load, or whose output has another shape than the record says.

    Raises:
        BadModelError: That.
        FixedBatchError: The network makes batches of another size, whatever its file declares.
    """
    try:
        loaded = onnxruntime.InferenceSession(copy, _set_up(1), providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise BadModelError(
            f"ONNX Runtime cannot load {source}: {quote_reason(error)}",
            hint="expected a file written by `assay export` or another exporter",
        ) from error
    output = options.record.output
    shape = next(port.shape for port in loaded.get_outputs() if port.name == output.name)
    shape = tuple(size if isinstance(size, int) else None for size in shape)
    if not fits_logits(shape, output.class_count):
        raise BadModelError(
            f"{source}: output {quote(output.name)} has shape {shape}, expected {(None, output.class_count)}",
            hint="set output.class_count of the model record to what the network has",
        )
    if shape[0] not in (None, options.batch_size):
        raise FixedBatchError(source, shape[0])


def _set_up(thread_count: int, severity: int = _FATAL) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count
    options.inter_op_num_threads = 1
    options.log_severity_level = severity
    return options


def _open_session(model_path: Path, compiled: CompiledModel) -> Any:
    """Return ONNX Runtime's session of a compiled model."""
    # the loader gives its reasons for falling back as warnings; on the CPU there is nothing to fall back from
    severity = _FATAL if compiled.device == "cpu" else _WARNING
    options = _set_up(choose_thread_count(recall_options(compiled)), severity)
    try:
        return _open(model_path, options, compiled.device, configure_provider(compiled))
    except RUNTIME_ERRORS as error:
        raise EngineError(f"ONNX Runtime cannot load {model_path.parent}: {quote_reason(error)}") from error


def _open(model: Path | bytes, options: Any, device: str, provider_options: dict[str, str]) -> Any:
    """Return a session by the provider that was asked for, and no other."""
    provider = (PROVIDERS[device], provider_options)
    # what is captured cannot be seen while it is waited for, so only where a reason may be in it
    capture = nullcontext(NativeOutput()) if device == "cpu" else capture_native_output()
    with capture as said, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it falls back: an error below
        loaded = onnxruntime.InferenceSession(model, options, providers=[provider])
    loaded.disable_fallback()
    _check_used_provider(loaded, device, said.text)
    return loaded


def _check_used_provider(loaded: Any, device: str, said: str) -> None:
    """Refuse a session by another provider: ONNX Runtime falls back to the CPU in silence."""
    used = loaded.get_providers()
    if used and used[0] == PROVIDERS[device]:
        return
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in said.splitlines() if "rror" in line]
    missing = re.search(r"Failed to load library \S*?([^/\s]+) with error: (.*)", "\n".join(lines))
    reason = f": {missing.group(1)}: {missing.group(2)}" if missing else "".join(f": {x}" for x in lines[:1])
    raise MissingRuntimeError(
        f"ONNX Runtime runs on {', '.join(used)}, not on {PROVIDERS[device]}{reason}",
        hint="install what the provider's library needs (for cann: CANN, and source its set_env.sh)",
    )
