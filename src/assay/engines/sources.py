"""What engines compile: the checks on ONNX files, and the record of what a model was made of."""

from __future__ import annotations

import mmap
from pathlib import Path

import msgspec

from assay.engines.compiled_model import CompiledModel, write_compiled_json
from assay.engines.engine import CompileOptions, Engine
from assay.errors import BadModelError
from assay.files import hash_file
from assay.models.calibration import read_calibration


def describe_source(engine: Engine, source: Path, options: CompileOptions) -> CompiledModel:
    """Return what `compiled.json` will say of a model that is made of `source`, before it is made."""
    source_sha256 = hash_file(source)
    return CompiledModel(
        engine=engine.name,
        engine_version=engine.version,
        device=options.device,
        device_name=engine.find_devices().get(options.device, ""),
        precision=options.precision,
        batch_size=options.batch_size,
        settings=dict(options.settings),
        source_files={source.name: source_sha256}
        | {file.name: hash_file(file) for file in _list_setting_files(options)},
        files={},
        model=options.record,
        calibration=read_calibration(source, source_sha256),
    )


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


def _list_setting_files(options: CompileOptions) -> list[Path]:
    return [path for value in options.settings.values() if (path := Path(value)).is_file()]


def record_compiled(
    engine: Engine,
    source: Path,
    compiled_dir: Path,
    options: CompileOptions,
    *,
    call_size: int = 0,
    takes_pixels: bool = False,
) -> CompiledModel:
    """Write `compiled.json` for the files that are in `compiled_dir` now, and return what it says."""
    compiled = describe_source(engine, source, options)
    return write_compiled_json(
        msgspec.structs.replace(compiled, call_size=call_size, takes_pixels=takes_pixels), compiled_dir
    )


def check_onnx_path(onnx_path: Path) -> None:
    """Refuse what cannot be an ONNX file, before a runtime reads it.

    Raises:
        BadModelError: Missing, empty, without the suffix `.onnx`, or a git-LFS pointer.
    """
    if not onnx_path.is_file():
        raise BadModelError(f"ONNX file {onnx_path} does not exist")
    if onnx_path.suffix.lower() != ".onnx":
        raise BadModelError(f"{onnx_path}: expected an ONNX file, its name ending in .onnx")
    with onnx_path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise BadModelError(f"{onnx_path} is empty", hint="export it again")
    if head.startswith(b"version https://git-lfs"):
        raise BadModelError(f"{onnx_path} is a git-LFS pointer, not the model", hint="run `git lfs pull`")


def is_quantised(onnx_path: Path) -> bool:
    """Return whether an ONNX file has quantised layers: the names of their operators stand in it as text."""
    with onnx_path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(name) >= 0 for name in (b"QuantizeLinear", b"QLinearConv", b"FakeQuantize"))


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
