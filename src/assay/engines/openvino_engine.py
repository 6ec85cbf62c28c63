"""The `openvino` engine: Intel's OpenVINO runtime, on the CPU or an Intel GPU."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import properties
from openvino.properties import hint

from assay.arrays import Images, Logits
from assay.engines.base import (
    CompiledModel,
    CompileOptions,
    check_engine_name,
    check_images,
    check_logits_shape,
    check_onnx_path,
    check_options,
    read_compiled_json,
    write_compiled_json,
)
from assay.errors import BadModelError, EngineError, MissingRuntimeError
from assay.models.record import ModelRecord

MODEL_FILE = "model.xml"
# Precision names are ours; the values are OpenVINO's. The hint is always set: left alone, OpenVINO
# computes in bf16 on processors that have it.
_TYPES = {"fp32": openvino.Type.f32, "bf16": openvino.Type.bf16, "fp16": openvino.Type.f16}
_CAPABILITIES = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16"}


class OpenVinoEngine:
    """Compiles to OpenVINO's IR with float32 weights; the device's own code is made when it is loaded."""

    name: str = "openvino"
    precisions: tuple[str, ...] = ("fp32", "bf16", "fp16")
    devices: tuple[str, ...] = ("CPU", "GPU")

    def compile(self, onnx_path: Path, compiled_dir: Path, options: CompileOptions) -> CompiledModel:
        """See `Engine.compile`."""
        options = check_options(self, options)
        _check_device(openvino.Core(), options.device, options.precision)
        model = _read_onnx(onnx_path, options.record)
        _set_shape(model, onnx_path, options)
        try:
            openvino.save_model(model, compiled_dir / MODEL_FILE, compress_to_fp16=False)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot write {onnx_path} as its own model: {error}") from error
        return write_compiled_json(self, openvino.get_version(), onnx_path, compiled_dir, options)

    def load(self, compiled_dir: Path) -> OpenVinoSession:
        """See `Engine.load`."""
        compiled = read_compiled_json(compiled_dir)
        check_engine_name(self, compiled, compiled_dir)
        core = openvino.Core()
        _check_device(core, compiled.device, compiled.precision)
        try:
            loaded = core.compile_model(
                compiled_dir / MODEL_FILE,
                compiled.device,
                {
                    hint.performance_mode: hint.PerformanceMode.THROUGHPUT,
                    hint.inference_precision: _TYPES[compiled.precision],
                },
            )
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot load {compiled_dir}: {error}") from error
        _check_loaded(loaded, compiled)
        # The table of types is built at its first use, and two threads that use it first at once wait for
        # each other for ever: one holds the GIL, the other the table's guard (OpenVINO 2026.4.1, measured).
        openvino.Type.f32.to_dtype()
        return OpenVinoSession(compiled, loaded)


class OpenVinoSession:
    """See `Session`. As many requests as OpenVINO's throughput hint asks for, handed out to callers."""

    def __init__(self, compiled: CompiledModel, loaded: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._concurrency = int(loaded.get_property(properties.optimal_number_of_infer_requests))
        self._loaded: openvino.CompiledModel | None = loaded
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self._concurrency):
            self._requests.put(loaded.create_infer_request())

    @property
    def concurrency(self) -> int:
        """See `Session.concurrency`."""
        return self._concurrency

    def run(self, images: Images) -> Logits:
        """See `Session.run`."""
        if self._loaded is None:
            raise ValueError("the session is closed")
        check_images(images, self._compiled)
        row_count = len(images)
        request = self._requests.get()
        try:
            output = request.infer([_pad(images, self._compiled.batch_size)], share_inputs=True)
            logits = np.array(output[0][:row_count], dtype=np.float32)  # (N, classes), a copy
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a batch of {row_count}: {error}") from error
        finally:
            self._requests.put(request)
        check_logits_shape(logits.shape, row_count, self._compiled.model)
        return logits

    def close(self) -> None:
        """See `Session.close`."""
        self._requests = queue.SimpleQueue()
        self._loaded = None


def _pad(images: Images, batch_size: int | None) -> Images:
    """Return the images with rows of zeros behind them, up to the batch size."""
    if batch_size is None or len(images) == batch_size:
        return images
    padded = np.zeros((batch_size, *images.shape[1:]), dtype=np.float32)  # (batch_size, 3, H, W)
    padded[: len(images)] = images
    return padded


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
    check_onnx_path(onnx_path)
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


def _check_loaded(loaded: openvino.CompiledModel, compiled: CompiledModel) -> None:
    """Refuse a session on another device or in another precision than was asked for."""
    execution_devices = loaded.get_property(properties.execution_devices)
    devices = [name.split(".")[0] for name in execution_devices]
    if devices != [compiled.device]:
        raise EngineError(f"OpenVINO loaded the model on {devices}, not on {compiled.device}")
    precision = loaded.get_property(hint.inference_precision)
    if precision != _TYPES[compiled.precision]:
        raise EngineError(f"OpenVINO computes in {precision}, not in {compiled.precision}")
