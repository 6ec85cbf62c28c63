"""ONNX file or checkpoint to compiled model; one that is there and was made of the same is used again."""

from __future__ import annotations

from pathlib import Path

from assay.checkpoint.weights_choice import describe_weights_choice
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import COMPILED_JSON, CompiledModel, read_compiled_json
from assay.engines.engine import CompileOptions
from assay.engines.saturation import note_saturation
from assay.engines.sources import describe_source, find_setting_files
from assay.errors import BadModelError, UsageError
from assay.files import refuse_same_file, write_folder_in_place_of
from assay.models.choose_record import describe_choice
from assay.models.hugging_face.folder import find_model_file
from assay.runs.listener import Listener, announce_wait


def compile_model(
    source: Path,
    compiled_dir: Path,
    options: CompileOptions,
    *,
    overwrite: bool,
    listener: Listener,
) -> CompiledModel:
    """Write the compiled model into `compiled_dir`, whole or not at all.

    Where the folder holds a compiled model that was made of just the same, with the same runtime and for the
    same device, that one stays and is returned.

    Args:
        source: An ONNX file, or a checkpoint, as the engine's `source` says; or a folder with it.
        compiled_dir: The folder to write.
        options: How to compile, as `Engine.resolve` made them.
        overwrite: Whether another compiled model in the folder is replaced.
        listener: Hears of the steps.

    Raises:
        UsageError: The folder holds another compiled model and `overwrite` is not set, or anything else.
        AssayError: As `Engine.compile`.
    """
    engine, given, source = find_engine(options.engine), source, find_model_file(source)
    if source.is_dir() and engine.source == "ONNX file":
        raise BadModelError(
            f"folder {source} holds a checkpoint, no ONNX file",
            hint=f"assay export {source} model.onnx first",
        )
    refuse_same_file(compiled_dir, source, *find_setting_files(options).values())
    there = find_compiled(compiled_dir)
    if (
        there is not None
        and source.exists()
        and there.recipe == describe_source(engine, source, options).recipe
    ):
        listener.announce(f"{compiled_dir}: compiled of the same already; used again")
        return there
    if there is not None and not overwrite:
        raise UsageError(
            f"{compiled_dir}: holds a compiled model already, made of something else",
            hint="replace it with --overwrite",
        )
    for note in describe_choice(options.record, given):
        listener.announce(f"Note: {note}")
    listener.announce(f"Compiling {source} for {options.engine}, {options.precision}")
    waiting = announce_wait(listener, f"compiling {source}")
    with waiting, write_folder_in_place_of(compiled_dir) as temporary:
        compiled = engine.compile(source, temporary, options)
    if compiled.tuning is not None and len(compiled.tuning.images_per_second) > 1:
        tuning = compiled.tuning
        listener.announce(
            f"Tuned for this machine: {tuning.streams} streams, inner batch {tuning.inner_batch}, "
            f"the fastest of {len(tuning.images_per_second)} measured"
        )
    for note in note_saturation(compiled):
        listener.announce(f"Note: {note}")
    if compiled.batch_size != options.batch_size:
        listener.announce(f"{source} takes batches of {compiled.batch_size} only: compiled for that")
    if choice := describe_weights_choice(compiled.weights_key or "", compiled.other_weights_keys):
        listener.announce(f"{source}: {choice}")
    return compiled


def find_compiled(compiled_dir: Path) -> CompiledModel | None:
    """Return the compiled model in the folder; None where there is nothing, or a damaged one.

    Raises:
        UsageError: The folder holds anything else, or is a file.
    """
    if not compiled_dir.exists():
        return None
    if not compiled_dir.is_dir():
        raise UsageError(f"{compiled_dir}: expected a folder, found a file")
    names = sorted(entry.name for entry in compiled_dir.iterdir())
    if not names:
        return None
    if COMPILED_JSON not in names:
        raise UsageError(
            f"{compiled_dir}: holds no compiled model but {names[0]}", hint="choose another folder"
        )
    try:
        return read_compiled_json(compiled_dir)
    except BadModelError:
        return None
