"""The compiled model's folder: `compiled.json`, written and read back with every file's hash checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from assay import __version__
from assay.errors import BadModelError, quote, shorten
from assay.files import decode_json, hash_file, is_inner_path, write_file
from assay.models.calibration import CalibrationRecord, WeightRange
from assay.models.record import ModelRecord

COMPILED_JSON = "compiled.json"


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How a session runs a compiled model, as a short measurement chose when it was compiled.

    Args:
        streams: Inferences that run at once.
        inner_batch: Images in one inference; a larger batch of the caller runs as several.
        images_per_second: What each choice reached in its fastest turn; empty where the user chose.
    """

    streams: int
    inner_batch: int
    images_per_second: dict[str, float] = {}


class CompiledModel(msgspec.Struct, frozen=True, kw_only=True):
    """What `compiled.json` says of the folder it is in; hashes are sha256 by file name.

    `call_size` is how many images a call of the session should hold; 0 means the batch size. `takes_pixels`
    says that the model can also be loaded for pixels, which it normalises itself.
    `weights_key` is where in a checkpoint the weights were, "" for its top level, None where the source is
    none; `other_weights_keys` are where other sets of the same weights are.
    `arithmetic` is what of the settings changes the last bits of answers, where the files do not show it.
    `calibration` says how an int8 source was made, where that is known, and `weight_range` how much of int8
    its weights fill, as they were found; None in other precisions. `recipe` is the sha256 of all that
    was asked for: a compiled model is used again where that is the same. `tuning` was measured on the machine
    it was compiled on, and is no part of the recipe.
    """

    schema_version: int = 1
    assay_version: str = __version__
    engine: str
    engine_version: str
    device: str
    device_name: str = ""
    precision: str
    batch_size: int | None
    call_size: int = 0
    takes_pixels: bool = False
    settings: dict[str, str] = {}
    weights_key: str | None = None
    other_weights_keys: tuple[str, ...] = ()
    source_files: dict[str, str]
    files: dict[str, str]
    model: ModelRecord
    arithmetic: dict[str, str] = {}
    calibration: CalibrationRecord | None = None
    weight_range: WeightRange | Literal["unknown"] | None = None
    recipe: str = ""
    tuning: Tuning | None = None


def compute_recipe(compiled: CompiledModel) -> str:
    """The sha256, as 64 hex digits, of all that was asked for and decides what a compiled model is.

    That is the content of the source with all its files and of those that settings name, how the source was
    calibrated, the model record, engine, runtime version, device, precision, batch size and settings; not the
    files that came out, nor what the source is called.
    """
    decides = [
        list(compiled.source_files.values()),
        msgspec.to_builtins(compiled.calibration),
        [compiled.assay_version, compiled.engine, compiled.engine_version],
        [compiled.device, compiled.device_name, compiled.precision, compiled.batch_size],
        compiled.settings,
        msgspec.to_builtins(compiled.model, str_keys=True),
    ]
    return hashlib.sha256(msgspec.json.encode(decides, order="deterministic")).hexdigest()


def write_compiled_json(compiled: CompiledModel, compiled_dir: Path) -> CompiledModel:
    """Write `compiled.json` for the files that are in `compiled_dir` now; returns what it says."""
    paths = sorted(path for path in compiled_dir.rglob("*") if path.is_file())
    files = {path.relative_to(compiled_dir).as_posix(): hash_file(path) for path in paths}
    compiled = msgspec.structs.replace(compiled, files=files)
    text = msgspec.json.format(msgspec.json.encode(compiled), indent=2)
    write_file(compiled_dir / COMPILED_JSON, text + b"\n")
    return compiled


def read_compiled_json(compiled_dir: Path) -> CompiledModel:
    """What `compiled.json` says, after checking every file's sha256.

    Raises:
        BadModelError: No compiled model there, unreadable, or a file is missing or has changed.
    """
    path = compiled_dir / COMPILED_JSON
    try:
        compiled = decode_json(path.read_bytes(), kind=CompiledModel)
    except OSError as error:
        raise BadModelError(
            f"{compiled_dir} holds no compiled model: {path}: {error.strerror}",
            hint="expected a folder written by `assay compile`",
        ) from error
    except msgspec.DecodeError as error:
        raise BadModelError(
            f"{path} cannot be read: {shorten(error)}", hint="compile the model again"
        ) from error
    for name, sha256 in compiled.files.items():
        if not is_inner_path(name):
            raise BadModelError(f"{path}: {quote(name)} is no file of a compiled model")
        _check_compiled_file(compiled_dir / name, sha256)
    return compiled


def _check_compiled_file(file: Path, sha256: str) -> None:
    if not file.is_file():
        raise BadModelError(f"compiled model: {file} is missing", hint="compile the model again")
    found = hash_file(file)
    if found != sha256:
        raise BadModelError(
            f"compiled model: {file} has changed since it was compiled: "
            f"expected sha256 {sha256[:12]}…, found {found[:12]}…",
            hint="compile the model again",
        )


def read_compiled_for(engine_name: str, compiled_dir: Path) -> CompiledModel:
    """What `compiled.json` says, after checking every file's sha256 and whose model it is.

    Raises:
        BadModelError: As `read_compiled_json`, or it was compiled for another engine.
    """
    compiled = read_compiled_json(compiled_dir)
    if compiled.engine != engine_name:
        raise BadModelError(
            f"{compiled_dir} was compiled for engine {compiled.engine}, not for {engine_name}",
            hint=f"load it with engine {compiled.engine}, or compile it for {engine_name}",
        )
    return compiled
