"""What engines compile: the checks on ONNX files, and the record of what a model was made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec

from assay.engines.compiled_model import CompiledModel, compute_recipe, write_compiled_json
from assay.engines.engine import CompileOptions, Engine
from assay.engines.outside import describe_version
from assay.errors import BadModelError, FixedBatchError
from assay.files import hash_file
from assay.models.calibration import read_calibration
from assay.models.check_network import check_network
from assay.models.hugging_face.folder import list_weight_files
from assay.models.inspection.onnx_graph import read_onnx_graph
from assay.models.model_file import hash_model, hash_model_files, is_openvino_ir, read_model_file
from assay.models.onnx_file import OnnxFile
from assay.models.weight_range import find_weight_range


def describe_source(engine: Engine, source: Path, options: CompileOptions) -> CompiledModel:
    """What `compiled.json` will say of a model that is made of `source`, before it is made.

    Raises:
        BadModelError: The files that hold an ONNX file's weights are not there, or elsewhere.
    """
    is_onnx = engine.source == "ONNX file"
    source_files = (
        hash_model_files(source)
        if is_onnx
        else {file.name: hash_file(file) for file in list_weight_files(source)}
    )
    described = CompiledModel(
        engine=engine.name,
        engine_version=describe_version(engine),
        device=options.device,
        device_name=engine.find_devices().get(options.device, ""),
        precision=options.precision,
        batch_size=options.batch_size,
        settings=dict(options.settings),
        source_files=source_files
        | {f"{name}: {file.name}": hash_file(file) for name, file in find_setting_files(options).items()},
        files={},
        model=options.record,
        calibration=read_calibration(source, hash_model(source)) if is_onnx else None,
        weight_range=find_weight_range(source) if is_onnx and options.precision == "int8" else None,
    )
    return msgspec.structs.replace(described, recipe=compute_recipe(described))


def recall_options(compiled: CompiledModel) -> CompileOptions:
    """The options that a model was compiled with."""
    return CompileOptions(
        engine=compiled.engine,
        record=compiled.model,
        precision=compiled.precision,
        device=compiled.device,
        batch_size=compiled.batch_size,
        settings=compiled.settings,
    )


def find_setting_files(options: CompileOptions) -> dict[str, Path]:
    """The files that settings name, by the setting."""
    return {name: path for name, value in sorted(options.settings.items()) if (path := Path(value)).is_file()}


def record_compiled(
    engine: Engine,
    source: Path,
    compiled_dir: Path,
    options: CompileOptions,
    *,
    call_size: int = 0,
    takes_pixels: bool = False,
) -> CompiledModel:
    """Write `compiled.json` for the files that are in `compiled_dir` now; returns what it says."""
    compiled = describe_source(engine, source, options)
    return write_compiled_json(
        msgspec.structs.replace(compiled, call_size=call_size, takes_pixels=takes_pixels), compiled_dir
    )


def check_source(onnx_path: Path, options: CompileOptions, *, takes_ir: bool = False) -> OnnxFile:
    """What an ONNX file says of itself, after checking that it can be compiled as the options say.

    Args:
        onnx_path: The file.
        options: How it is compiled.
        takes_ir: Whether the engine takes an OpenVINO IR in its place.

    Raises:
        BadModelError: As `check_network` and `check_quantisation`, or an OpenVINO IR that is not taken.
    """
    if is_openvino_ir(onnx_path) and not takes_ir:
        raise BadModelError(
            f"{onnx_path} is an OpenVINO IR, which engine {options.engine} does not compile",
            hint="choose --engine openvino, or give the ONNX file that it was converted from",
        )
    found = check_network(onnx_path, options.record)
    check_quantisation(onnx_path, options.precision)
    return found


def fix_batch_size(onnx_path: Path, found: OnnxFile, options: CompileOptions) -> CompileOptions:
    """The options, with the batch size that the file declares where it declares one and none was asked for.

    Raises:
        FixedBatchError: Another one was asked for.
    """
    shape = found.inputs[0].shape
    declared = shape[0] if shape else None
    if declared is None or declared == options.batch_size:
        return options
    if options.batch_size is not None:
        raise FixedBatchError(onnx_path, declared)
    return replace(options, batch_size=declared)


def is_quantised(onnx_path: Path) -> bool:
    """Whether an ONNX file has quantised layers.

    Raises:
        BadModelError: It cannot be read.
    """
    return read_model_file(onnx_path).is_quantised


def computes_in_float16(onnx_path: Path) -> bool:
    """Whether layers of an ONNX file have float16 weights, so that a runtime left alone computes in float16.

    Raises:
        BadModelError: It cannot be read.
    """
    graph = read_onnx_graph(onnx_path)
    layers = (node for node in graph.nodes if node.operator in {"Conv", "Gemm", "MatMul"})
    weights = (graph.find_constant(name) for node in layers for name in node.inputs)
    return any(tensor is not None and tensor.dtype == "float16" for tensor in weights)


def check_quantisation(onnx_path: Path, precision: str) -> None:
    """Refuse a quantised ONNX file for a float precision, and a float one for int8.

    Raises:
        BadModelError: The file is not of that precision.
    """
    if is_quantised(onnx_path) == (precision == "int8"):
        return
    if precision == "int8":
        raise BadModelError(
            f"{onnx_path} holds no quantised layers, so nothing of it would run in int8",
            hint=f"quantise it first: assay quantize {onnx_path} OUT.onnx --calibration DIR",
        )
    raise BadModelError(
        f"{onnx_path} is quantised, so it would not run in {precision}",
        hint="compile it with --precision int8, or compile the float model",
    )
