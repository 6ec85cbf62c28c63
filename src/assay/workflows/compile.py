"""ONNX file to compiled model."""

from __future__ import annotations

from pathlib import Path

from assay.engines.base import COMPILED_JSON, CompiledModel, CompileOptions
from assay.engines.catalog import find_engine
from assay.errors import UsageError
from assay.files import write_folder_in_place_of
from assay.workflows.listener import Listener


def compile_model(
    onnx_path: Path,
    compiled_dir: Path,
    engine_name: str,
    options: CompileOptions,
    *,
    overwrite: bool,
    listener: Listener,
) -> CompiledModel:
    """Write the compiled model into `compiled_dir`, whole or not at all.

    Raises:
        UsageError: The folder holds a compiled model and `overwrite` is not set, or anything else.
        AssayError: As `Engine.compile`.
    """
    engine = find_engine(engine_name)
    _check_folder(compiled_dir, overwrite=overwrite)
    listener.announce(f"Compiling {onnx_path} for {engine_name}, {options.precision}")
    with write_folder_in_place_of(compiled_dir) as temporary:
        return engine.compile(onnx_path, temporary, options)


def _check_folder(compiled_dir: Path, *, overwrite: bool) -> None:
    if not compiled_dir.exists():
        return
    if not compiled_dir.is_dir():
        raise UsageError(f"{compiled_dir}: expected a folder, found a file")
    names = sorted(entry.name for entry in compiled_dir.iterdir())
    if names and COMPILED_JSON not in names:
        raise UsageError(
            f"{compiled_dir}: holds no compiled model but {names[0]}", hint="choose another folder"
        )
    if names and not overwrite:
        raise UsageError(
            f"{compiled_dir}: holds a compiled model already", hint="replace it with --overwrite"
        )
