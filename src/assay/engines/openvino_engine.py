"""The `openvino` engine: Intel's OpenVINO runtime, on the CPU or an Intel GPU."""

from __future__ import annotations

import collections
import math
import queue
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import openvino
from openvino import properties
from openvino.properties import hint

from assay.arrays import Images, Logits
from assay.engines.base import (
    BatchSizes,
    CompileOptions,
    SessionDescription,
    SourceKind,
    check_images,
    check_logits_shape,
    check_onnx_path,
    check_options,
    check_quantisation,
    choose_count,
    pad_images,
    record_compiled,
)
from assay.engines.compiled_model import CompiledModel, Tuning, read_compiled_for
from assay.engines.openvino_tuning import INNER_BATCHES, choose_tuning, count_hinted_streams
from assay.errors import BadModelError, EngineError, MissingRuntimeError
from assay.models.record import ModelRecord
from assay.processors import count_processors

MODEL_FILE = "model.xml"
# Precision names are ours; the values are OpenVINO's. The hint is always set: left alone, OpenVINO
# computes in bf16 on processors that have it.
# An int8 model's float layers run in fp32.
_TYPES = {
    "fp32": openvino.Type.f32,
    "bf16": openvino.Type.bf16,
    "fp16": openvino.Type.f16,
    "int8": openvino.Type.f32,
}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}
# What the execution graph calls the arithmetic of a layer.
_ARITHMETIC = {"fp32": {"f32"}, "bf16": {"bf16"}, "fp16": {"f16"}, "int8": {"i8", "u8"}}
_COMPUTING_LAYERS = frozenset({"Convolution", "FullyConnected", "MatMul", "Deconvolution"})


class OpenVinoEngine:
    """Compiles to OpenVINO's IR with float32 weights; the device's own code is made when it is loaded."""

    name = "openvino"
    version = openvino.get_version()
    source: SourceKind = "ONNX file"
    precisions: tuple[str, ...] = ("fp32", "bf16", "fp16", "int8")
    devices: tuple[str, ...] = ("CPU", "GPU")
    proven_devices: tuple[str, ...] = ("CPU",)
    batch_sizes: BatchSizes = "any"
    settings: Mapping[str, str] = MappingProxyType(
        {
            "threads": "processors to use on the CPU; all of them if not given",
            "streams": "inferences at once on the CPU; measured when compiling if not given",
            "inner_batch": "images in one inference on the CPU; measured when compiling if not given",
        }
    )

    def find_devices(self) -> dict[str, str]:
        """See `Engine.find_devices`."""
        core = openvino.Core()
        found = {name.split(".")[0]: name for name in reversed(core.available_devices)}
        return {
            device: core.get_property(found[device], properties.device.full_name).strip()
            for device in self.devices
            if device in found
        }

    def resolve(self, options: CompileOptions) -> CompileOptions:
        """See `Engine.resolve`."""
        options = check_options(self, options)
        for name in ("threads", "streams", "inner_batch"):
            choose_count(options, name)
        _check_device(openvino.Core(), options.device, options.precision)
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        options = self.resolve(options)
        check_onnx_path(source)
        check_quantisation(source, options.precision)
        model = _read_onnx(source, options.record)
        _set_shape(model, source, options)
        try:
            openvino.save_model(model, compiled_dir / MODEL_FILE, compress_to_fp16=False)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot write {source} as its own model: {error}") from error
        tuning = _tune(compiled_dir / MODEL_FILE, options) if options.device == "CPU" else None
        return record_compiled(self, source, compiled_dir, options, tuning=tuning)

    def load(self, compiled_dir: Path) -> OpenVinoSession:
        """See `Engine.load`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        _check_device(openvino.Core(), compiled.device, compiled.precision)
        settings = _configure(compiled.precision, compiled.settings, compiled.device)
        try:
            if compiled.tuning is None:
                loaded = _load(compiled_dir / MODEL_FILE, compiled.device, settings, None, None)
            else:
                streams, size = compiled.tuning.streams, compiled.tuning.inner_batch
                loaded = _load(compiled_dir / MODEL_FILE, compiled.device, settings, streams, size)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot load {compiled_dir}: {error}") from error
        description = _describe(loaded, compiled)
        _check_loaded(loaded, compiled, description)
        # The table of types is built at its first use, and two threads that use it first at once wait for
        # each other for ever: one holds the GIL, the other the table's guard (OpenVINO 2026.4.1, measured).
        openvino.Type.f32.to_dtype()
        return OpenVinoSession(compiled, loaded, description)


class OpenVinoSession:
    """See `Session`. As many requests as OpenVINO has streams; a batch is shared out among them in pieces."""

    def __init__(
        self, compiled: CompiledModel, loaded: openvino.CompiledModel, description: SessionDescription
    ) -> None:
        self._compiled = compiled
        self._description = description
        self._piece_size = compiled.tuning.inner_batch if compiled.tuning else compiled.batch_size
        rows = loaded.inputs[0].get_partial_shape()[0]
        self._fixed_size = None if rows.is_dynamic else rows.get_length()
        self._concurrency = int(loaded.get_property(properties.optimal_number_of_infer_requests))
        self._loaded: openvino.CompiledModel | None = loaded
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self._concurrency):
            self._requests.put(loaded.create_infer_request())
        self._callers = ThreadPoolExecutor(self._concurrency, "openvino")

    @property
    def concurrency(self) -> int:
        """See `Session.concurrency`."""
        return self._concurrency

    @property
    def description(self) -> SessionDescription:
        """See `Session.description`."""
        return self._description

    def run(self, images: Images) -> Logits:
        """See `Session.run`."""
        if self._loaded is None:
            raise ValueError("the session is closed")
        check_images(images, self._compiled.model, self._compiled.batch_size)
        size = self._choose_piece_size(len(images))
        pieces = [images[start : start + size] for start in range(0, len(images), size)]
        try:
            if len(pieces) == 1:
                logits = self._infer(images)
            else:
                logits = np.concatenate(list(self._callers.map(self._infer, pieces)))  # (N, classes)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a batch of {len(images)}: {error}") from error
        check_logits_shape(logits.shape, len(images), self._compiled.model)
        return logits

    def _choose_piece_size(self, count: int) -> int:
        """Return how many images one inference takes: no more than leave work for every stream."""
        if self._fixed_size is not None or self._piece_size is None:
            return self._piece_size or count
        return min(self._piece_size, math.ceil(count / self._concurrency))

    def _infer(self, piece: Images) -> Logits:
        """Return a copy of the logits of at most as many images as one inference takes."""
        request = self._requests.get()
        try:
            output = request.infer([pad_images(piece, self._fixed_size)], share_inputs=True)
            return np.array(output[0][: len(piece)], dtype=np.float32)  # (n, classes)
        finally:
            self._requests.put(request)

    def take_device_ms(self) -> tuple[float, ...]:
        """See `Session.take_device_ms`: OpenVINO tells it only while it profiles, which costs time."""
        return ()

    def close(self) -> None:
        """See `Session.close`."""
        self._callers.shutdown()
        self._requests = queue.SimpleQueue()
        self._loaded = None


def _check_device(core: openvino.Core, device: str, precision: str) -> None:
    available = [name.split(".")[0] for name in core.available_devices]
    if device not in available:
        raise MissingRuntimeError(
            f"OpenVINO finds no device {device}; it finds: {', '.join(available) or 'none'}",
            hint="install the device's driver, or choose another --device",
        )
    capabilities = core.get_property(device, properties.device.capabilities)
    if _CAPABILITIES[precision] not in capabilities:
        raise MissingRuntimeError(
            f"{device} ({core.get_property(device, properties.device.full_name)}) does not compute in "
            f"{precision}; it can: {', '.join(capabilities)}",
            hint="choose another --precision",
        )


def _read_onnx(onnx_path: Path, record: ModelRecord) -> openvino.Model:
    try:
        model = openvino.Core().read_model(onnx_path)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise BadModelError(
            f"{onnx_path} cannot be read as an ONNX file: {reason}",
            hint="expected a file written by `assay export` or another ONNX exporter",
        ) from error
    _check_name("input", record.input.name, [port.names for port in model.inputs], onnx_path)
    _check_name("output", record.output.name, [port.names for port in model.outputs], onnx_path)
    return model


def _check_name(kind: str, name: str, ports: list[set[str]], onnx_path: Path) -> None:
    if len(ports) != 1 or name not in ports[0]:
        found = ", ".join(sorted(min(names, default="(unnamed)") for names in ports)) or "none"
        raise BadModelError(
            f"{onnx_path}: expected one {kind} named {name!r}, found: {found}",
            hint=f"set {kind}.name of the model record to what the network has",
        )


def _set_shape(model: openvino.Model, onnx_path: Path, options: CompileOptions) -> None:
    tensor = options.record.input
    batch = -1 if options.batch_size is None else options.batch_size
    shape = openvino.PartialShape([batch, tensor.channels, tensor.height, tensor.width])
    own = model.inputs[0].get_partial_shape()
    if own.rank.is_dynamic or own.rank.get_length() != 4 or not own[1:].compatible(shape[1:]):
        raise BadModelError(
            f"{onnx_path}: input {tensor.name!r} has shape {own}, the model record says {shape}",
            hint="set input and preprocessing of the model record to what the network takes",
        )
    try:
        model.reshape({tensor.name: shape})
    except RuntimeError as error:
        raise BadModelError(
            f"{onnx_path}: cannot take batches of {options.batch_size or 'any size'}: {error}",
            hint="export it with a dynamic batch, or compile with the --batch-size it was exported for",
        ) from error
    classes = model.outputs[0].get_partial_shape()
    expected = openvino.PartialShape([batch, options.record.output.class_count])
    if not classes.compatible(expected):
        raise BadModelError(
            f"{onnx_path}: output {options.record.output.name!r} has shape {classes}, expected {expected}",
            hint="set output.class_count of the model record to what the network has",
        )


def _tune(model_path: Path, options: CompileOptions) -> Tuning:
    """Return how sessions on the CPU run the model: as the user said, else as measured."""
    settings = _configure(options.precision, options.settings, options.device)
    streams, size = choose_count(options, "streams"), choose_count(options, "inner_batch")
    try:
        if streams is None:
            model = openvino.Core().read_model(model_path)
            streams = count_hinted_streams(model, options.device, settings)
        sizes = (size,) if size is not None else _list_inner_batches(model_path, options)
        return choose_tuning(partial(_load, model_path, options.device, settings), (streams,), sizes)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot run {model_path}: {error}") from error


def _list_inner_batches(model_path: Path, options: CompileOptions) -> tuple[int, ...]:
    """Return what is measured; a network that takes no other batch is run as it was compiled."""
    if options.batch_size is None:
        return INNER_BATCHES
    smaller = [size for size in INNER_BATCHES if size < options.batch_size]
    model = openvino.Core().read_model(model_path)
    classes = options.record.output.class_count
    try:
        for size in smaller:
            _reshape(model, size)
            if list(model.outputs[0].get_partial_shape().to_shape()) != [size, classes]:
                return (options.batch_size,)
    except RuntimeError:
        return (options.batch_size,)
    return (*smaller, options.batch_size)


def _load(
    model_path: Path, device: str, settings: dict[Any, Any], streams: int | None, inner_batch: int | None
) -> openvino.CompiledModel:
    """Load a model; by OpenVINO's throughput hint where nothing was measured.

    An inner batch of 1 divides every batch, so the model is then loaded for just that shape, which is faster.
    """
    core = openvino.Core()
    model = core.read_model(model_path)
    if streams is None:
        throughput = {hint.performance_mode: hint.PerformanceMode.THROUGHPUT}
        return core.compile_model(model, device, settings | throughput)
    if inner_batch == 1 or model.inputs[0].get_partial_shape()[0].is_static:
        _reshape(model, inner_batch)
    return core.compile_model(model, device, settings | {properties.num_streams: streams})


def _reshape(model: openvino.Model, batch_size: int | None) -> None:
    shape = model.inputs[0].get_partial_shape()
    shape[0] = -1 if batch_size is None else batch_size
    model.reshape(shape)


def _configure(precision: str, settings: Mapping[str, str], device: str) -> dict[Any, Any]:
    """Return the runtime's options."""
    chosen: dict[Any, Any] = {hint.inference_precision: _TYPES[precision]}
    if device == "CPU":
        chosen[properties.inference_num_threads] = int(settings.get("threads") or count_processors())
    return chosen


def _describe(loaded: openvino.CompiledModel, compiled: CompiledModel) -> SessionDescription:
    """Return what the loaded model runs on, and the arithmetic of its computing layers."""
    layers: collections.Counter[str] = collections.Counter()
    for layer in loaded.get_runtime_model().get_ops():
        about = layer.get_rt_info()
        if about["layerType"].astype(str) in _COMPUTING_LAYERS:
            layers[about["runtimePrecision"].astype(str)] += 1
    is_on_cpu = compiled.device == "CPU"
    return SessionDescription(
        runtime=f"OpenVINO {openvino.get_version()}",
        device_name=openvino.Core().get_property(compiled.device, properties.device.full_name).strip(),
        thread_count=int(loaded.get_property(properties.inference_num_threads)) if is_on_cpu else None,
        stream_count=int(loaded.get_property(properties.num_streams)),
        computed_in=dict(layers),
    )


def _check_loaded(
    loaded: openvino.CompiledModel, compiled: CompiledModel, description: SessionDescription
) -> None:
    """Refuse a session on another device, or whose layers run in other arithmetic than was asked for.

    Layers that quantisation left in float are allowed in int8, as long as some run in integers.
    """
    execution_devices = loaded.get_property(properties.execution_devices)
    devices = [name.split(".")[0] for name in execution_devices]
    if devices != [compiled.device]:
        raise EngineError(f"OpenVINO loaded the model on {devices}, not on {compiled.device}")
    precision = loaded.get_property(hint.inference_precision)
    if precision != _TYPES[compiled.precision]:
        raise EngineError(f"OpenVINO computes in {precision}, not in {compiled.precision}")
    expected, found = _ARITHMETIC[compiled.precision], set(description.computed_in)
    is_kept = bool(found & expected) if compiled.precision == "int8" else found <= expected
    if not is_kept:
        raise EngineError(
            f"OpenVINO runs the layers in {description.computed_in}, not in {compiled.precision}",
            hint="choose another --precision, or report it with the model",
        )
