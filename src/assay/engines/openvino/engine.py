"""The `openvino` engine: Intel's OpenVINO runtime, on the CPU or an Intel GPU."""

from __future__ import annotations

import collections
import dataclasses
import math
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import openvino
from msgspec.structs import replace
from openvino import properties
from openvino.properties import hint

from assay.arrays import Batch, Logits
from assay.engines.arrays import check_images, pad_images, take_logits
from assay.engines.compiled_model import CompiledModel, Tuning, read_compiled_for, write_compiled_json
from assay.engines.engine import BatchSizes, CompileChoice, CompileOptions, SessionDescription, SourceKind
from assay.engines.neighbours import LARGEST_SIZE, check_neighbours
from assay.engines.openvino.pixels import gives_the_same, normalise_in_graph, take_images
from assay.engines.openvino.source import name_nodes, read_onnx, reshape, set_shape
from assay.engines.openvino.tuning import INNER_BATCHES, choose_tuning, count_hinted_streams
from assay.engines.options import check_options, choose_count, choose_setting
from assay.engines.sources import check_source, describe_source
from assay.errors import EngineError, MissingRuntimeError, quote_reason
from assay.models.record import ModelRecord
from assay.processors import count_processors

MODEL_FILE = "model.xml"
NORMALISE = ("in_graph", "on_host")
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
            "normalise": "in_graph (if not given): of pixels, where that gives the same; or on_host",
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

    def resolve(self, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        """See `Engine.resolve`."""
        options = check_options(self, choice, record)
        for name in ("threads", "streams", "inner_batch"):
            choose_count(options, name)
        choose_setting(options, "normalise", NORMALISE)
        _check_device(openvino.Core(), options.device, options.precision)
        return options

    def compile(self, source: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        shape = check_source(source, options, takes_ir=True).inputs[0].shape
        model = read_onnx(source, options.record)
        batch_size = set_shape(model, source, options, shape[0] if shape else None)
        name_nodes(model)
        try:
            openvino.save_model(model, compiled_dir / MODEL_FILE, compress_to_fp16=False)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO cannot write {source} as its own model: {quote_reason(error)}"
            ) from error
        compiled = replace(describe_source(self, source, options), batch_size=batch_size)
        if options.compares_batches:
            _check_neighbours(compiled_dir, compiled, source)
        if options.device == "CPU":
            fitting = dataclasses.replace(options, batch_size=batch_size)
            compiled = replace(compiled, tuning=_tune(compiled_dir / MODEL_FILE, fitting))
        in_graph = choose_setting(options, "normalise", NORMALISE) == "in_graph"
        if in_graph and options.record.preprocessing.makes_pixels:
            compiled = replace(compiled, takes_pixels=_is_same_from_pixels(compiled_dir, compiled))
        return write_compiled_json(compiled, compiled_dir)

    def load(self, compiled_dir: Path) -> OpenVinoSession:
        """See `Engine.load`."""
        return _open(compiled_dir, read_compiled_for(self.name, compiled_dir), takes_pixels=False)

    def load_for_pixels(self, compiled_dir: Path) -> OpenVinoSession:
        """See `PixelEngine.load_for_pixels`."""
        compiled = read_compiled_for(self.name, compiled_dir)
        return _open(compiled_dir, compiled, takes_pixels=compiled.takes_pixels)


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

    def run(self, images: Batch) -> Logits:
        """See `Session.run`."""
        if self._loaded is None:
            raise ValueError("the session is closed")
        compiled = self._compiled
        check_images(images, compiled.model, compiled.batch_size, takes_pixels=self._description.takes_pixels)
        size = self._choose_piece_size(len(images))
        pieces = [images[start : start + size] for start in range(0, len(images), size)]
        try:
            if len(pieces) == 1:
                logits = self._infer(images)
            else:
                logits = np.concatenate(list(self._callers.map(self._infer, pieces)))  # (N, classes)
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed on a batch of {len(images)}: {quote_reason(error)}"
            ) from error
        return logits

    def _choose_piece_size(self, count: int) -> int:
        """How many images one inference takes: few enough that every stream has work."""
        if self._fixed_size is not None or self._piece_size is None:
            return self._piece_size or count
        return min(self._piece_size, math.ceil(count / self._concurrency))

    def _infer(self, piece: Batch) -> Logits:
        """Return a copy of the logits of at most as many images as one inference takes."""
        request = self._requests.get()
        try:
            fed = pad_images(piece, self._fixed_size)
            output = request.infer([fed], share_inputs=True)
            return take_logits(output[0], len(piece), len(fed), self._compiled.model)  # (n, classes)
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


def _open(compiled_dir: Path, compiled: CompiledModel, *, takes_pixels: bool) -> OpenVinoSession:
    """Return a session of a compiled model, after checking that it runs as it was asked for."""
    _check_device(openvino.Core(), compiled.device, compiled.precision)
    settings = _configure(compiled.precision, compiled.settings, compiled.device)
    prepare = partial(normalise_in_graph if takes_pixels else take_images, record=compiled.model)
    load = partial(_load, compiled_dir / MODEL_FILE, compiled.device, settings, prepare)
    try:
        if compiled.tuning is None:
            loaded = load(None, None)
        else:
            loaded = load(compiled.tuning.streams, compiled.tuning.inner_batch)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot load {compiled_dir}: {quote_reason(error)}") from error
    description = _describe(loaded, compiled, takes_pixels=takes_pixels)
    _check_loaded(loaded, compiled, description)
    # The table of types is built at its first use, and two threads that use it first at once wait for
    # each other for ever: one holds the GIL, the other the table's guard (OpenVINO 2026.4.1, measured).
    openvino.Type.f32.to_dtype()
    return OpenVinoSession(compiled, loaded, description)


def _check_neighbours(compiled_dir: Path, compiled: CompiledModel, source: Path) -> None:
    """Compare images alone with images in batches, which one inference takes whole here."""
    whole = Tuning(streams=1, inner_batch=compiled.batch_size or LARGEST_SIZE)
    as_one = replace(compiled, tuning=whole if compiled.device == "CPU" else None)
    with closing(_open(compiled_dir, as_one, takes_pixels=False)) as session:
        check_neighbours(session.run, compiled, source)


def _is_same_from_pixels(compiled_dir: Path, compiled: CompiledModel) -> bool:
    """Whether the model gives the same logits for pixels, which it normalises itself."""
    with (
        closing(_open(compiled_dir, compiled, takes_pixels=False)) as for_images,
        closing(_open(compiled_dir, compiled, takes_pixels=True)) as for_pixels,
    ):
        return gives_the_same(for_images, for_pixels, compiled.model)


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


def _tune(model_path: Path, options: CompileOptions) -> Tuning:
    """How sessions on the CPU run the model: as the user chose, or as measured."""
    settings = _configure(options.precision, options.settings, options.device)
    streams, size = choose_count(options, "streams"), choose_count(options, "inner_batch")
    try:
        if streams is None:
            model = openvino.Core().read_model(model_path)
            streams = count_hinted_streams(model, options.device, settings)
        sizes = (size,) if size is not None else _list_inner_batches(model_path, options)
        prepare = partial(take_images, record=options.record)
        load = partial(_load, model_path, options.device, settings, prepare)
        return choose_tuning(load, (streams,), sizes)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot run the network: {quote_reason(error)}") from error


def _list_inner_batches(model_path: Path, options: CompileOptions) -> tuple[int, ...]:
    """The inner batches to measure; a network with a fixed batch runs at that alone."""
    if options.batch_size is None:
        return INNER_BATCHES
    smaller = [size for size in INNER_BATCHES if size < options.batch_size]
    model = openvino.Core().read_model(model_path)
    try:
        for size in smaller:
            reshape(model, size)
            if next(iter(model.outputs[0].get_partial_shape().to_shape())) != size:
                return (options.batch_size,)
    except RuntimeError:
        return (options.batch_size,)
    return (*smaller, options.batch_size)


def _load(
    model_path: Path,
    device: str,
    settings: dict[Any, Any],
    prepare: Callable[[openvino.Model], openvino.Model],
    streams: int | None,
    inner_batch: int | None,
) -> openvino.CompiledModel:
    """Load a model; by OpenVINO's throughput hint where nothing was measured.

    An inner batch of 1 divides every batch, so the model is then loaded for just that shape, which is faster.
    `prepare` lets it take images, or pixels.
    """
    core = openvino.Core()
    model = prepare(core.read_model(model_path))
    if streams is None:
        throughput = {hint.performance_mode: hint.PerformanceMode.THROUGHPUT}
        return core.compile_model(model, device, settings | throughput)
    if inner_batch == 1 or model.inputs[0].get_partial_shape()[0].is_static:
        reshape(model, inner_batch)
    return core.compile_model(model, device, settings | {properties.num_streams: streams})


def _configure(precision: str, settings: Mapping[str, str], device: str) -> dict[Any, Any]:
    """Return the runtime's options."""
    chosen: dict[Any, Any] = {hint.inference_precision: _TYPES[precision]}
    if device == "CPU":
        chosen[properties.inference_num_threads] = int(settings.get("threads") or count_processors())
    return chosen


def _describe(
    loaded: openvino.CompiledModel, compiled: CompiledModel, *, takes_pixels: bool
) -> SessionDescription:
    """The runtime, device and arithmetic of the loaded model."""
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
        takes_pixels=takes_pixels,
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
