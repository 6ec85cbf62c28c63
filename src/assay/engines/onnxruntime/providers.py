"""ONNX Runtime's providers: their names, and the options that each is given."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from assay.engines.compiled_model import CompiledModel
from assay.engines.engine import CompileOptions
from assay.models.network_input import order_axes
from assay.models.record import ModelRecord

LARGEST_BATCH = 64  # that a TensorRT profile is made for where the batch size is left open
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cann": "CANNExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}
NUMBERED = ("cuda", "tensorrt", "cann")  # those with the option device_id
_CANN_PRECISION_MODES = {"fp32": "must_keep_origin_dtype", "fp16": "force_fp16"}


def describe_arithmetic(options: CompileOptions) -> dict[str, str]:
    """What of the settings changes the last bits of logits."""
    return {"graph_mode": options.settings.get("graph_mode", "yes")} if options.device == "cann" else {}


def configure_provider(compiled: CompiledModel) -> dict[str, str]:
    """Return the provider's options; the names are the provider's own."""
    device_id = {"device_id": compiled.settings.get("device_id", "0")}
    if compiled.device == "cuda":
        # TF32 rounds the factors of fp32 to 10 bits: that is not fp32.
        return {**device_id, "use_tf32": "0"}
    if compiled.device == "tensorrt":
        return {**device_id, **_configure_tensorrt(compiled)}
    if compiled.device == "cann":
        return {
            **device_id,
            "precision_mode": _CANN_PRECISION_MODES[compiled.precision],
            "enable_cann_graph": "1" if compiled.settings.get("graph_mode", "yes") == "yes" else "0",
        }
    if compiled.device == "openvino":
        return {"device_type": "CPU", "precision": "FP16" if compiled.precision == "fp16" else "FP32"}
    return {}


def _configure_tensorrt(compiled: CompiledModel) -> dict[str, str]:
    """Return TensorRT's options: precision, a cache of its engines, one profile over the batch sizes."""
    number = compiled.settings.get("device_id", "0")  # processes of several devices write their own
    cache = Path(platformdirs.user_cache_dir("assay")) / "tensorrt" / compiled.recipe / number
    cache.mkdir(parents=True, exist_ok=True)
    largest = compiled.batch_size or LARGEST_BATCH
    return {
        "trt_fp16_enable": str(compiled.precision == "fp16"),
        "trt_int8_enable": str(compiled.precision == "int8"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache),
        "trt_profile_min_shapes": _write_shape(compiled.model, compiled.batch_size or 1),
        "trt_profile_opt_shapes": _write_shape(compiled.model, largest),
        "trt_profile_max_shapes": _write_shape(compiled.model, largest),
    }


def _write_shape(record: ModelRecord, batch_size: int) -> str:
    """Return the input's shape as TensorRT's provider reads it, such as `image:16x3x224x224`."""
    sizes = (batch_size, *order_axes(record.input))
    return f"{record.input.name}:{'x'.join(map(str, sizes))}"
