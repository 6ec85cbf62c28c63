"""What a folder of the Hugging Face hub holds: its configurations, and which files are the weights."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay.errors import BadCheckpointError, BadModelError, UsageError, quote
from assay.files import hash_file
from assay.models.inspection.form import read_json_file

CONFIG_FILE = "config.json"
SHARD_INDEX = "model.safetensors.index.json"
# In this order; a pickle is read by the same safe reader as any checkpoint.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth")
ONNX_FILES = ("onnx/model.onnx", "model.onnx")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_FILE_NAME = re.compile(r"[\w][\w.-]*\.safetensors")


def read_config(path: Path) -> dict[str, Any]:
    """A JSON file of the folder; empty where it is not there.

    Raises:
        BadModelError: It is no JSON object, or asks for code of its own to be run.
    """
    config = read_json_file(path) or {}
    if "auto_map" in config:
        raise BadModelError(
            f"{path}: auto_map wants Python code of the folder to be run, which assay never does",
            hint="export the network with that code to ONNX, and give the ONNX file with --model record.toml",
        )
    return config


def find_model_file(source: Path) -> Path:
    """What of a folder is loaded: itself, where it holds weights, else its ONNX file; any file is itself.

    Raises:
        BadCheckpointError: The folder holds neither.
    """
    if not source.is_dir() or list_weight_files(source, must_exist=False):
        return source
    for name in ONNX_FILES:
        if (source / name).is_file():
            return source / name
    expected = ", ".join((*WEIGHT_FILES, SHARD_INDEX, *ONNX_FILES))
    raise BadCheckpointError(
        f"folder {source} holds no weights: expected one of {expected}",
        hint="download the whole folder: hf download NAME --local-dir DIR",
    )


def list_weight_files(source: Path, *, must_exist: bool = True) -> list[Path]:
    """The files with the weights: the file itself, or those of a folder; several where they are in shards.

    Raises:
        BadCheckpointError: A folder without weights, or shards that are not all there.
    """
    if not source.is_dir():
        return [source]
    if (source / SHARD_INDEX).is_file():
        return _list_shards(source)
    for name in WEIGHT_FILES:
        if (source / name).is_file():
            return [source / name]
    if must_exist:
        raise BadCheckpointError(
            f"folder {source} holds no weights: expected one of {', '.join((*WEIGHT_FILES, SHARD_INDEX))}",
            hint="download the whole folder: hf download NAME --local-dir DIR",
        )
    return []


def _list_shards(folder: Path) -> list[Path]:
    path = folder / SHARD_INDEX
    weight_map = read_config(path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadCheckpointError(f"{path}: expected weight_map, the file of each tensor")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if not _FILE_NAME.fullmatch(name):  # could lead out of the folder
            raise BadCheckpointError(f"{path}: expected names of safetensors files, found {quote(name)}")
        if not (folder / name).is_file():
            raise BadCheckpointError(
                f"folder {folder}: {name} is missing, which {SHARD_INDEX} names",
                hint="download the whole folder: hf download NAME --local-dir DIR",
            )
    return [folder / name for name in names]


def hash_weights(files: Sequence[Path]) -> str:
    """The sha256 of a file; of several, that of their hashes and names, as sha256sum lists them."""
    if len(files) == 1:
        return hash_file(files[0])
    listed = "".join(f"{hash_file(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def is_model_folder(source: Path) -> bool:
    """Whether it is a folder with a configuration, as the hub holds them."""
    return (source / CONFIG_FILE).is_file()


def refuse_hub_name(source: Path) -> None:
    """Refuse what is no file here and looks like a model's name on the hub: nothing is downloaded.

    Raises:
        UsageError: It is so.
    """
    if not source.exists() and not source.suffix and _HUB_NAME.fullmatch(str(source)):
        name = str(source)
        raise UsageError(
            f"--weights {name} is no file or folder here; names on the Hugging Face hub are not downloaded",
            hint=f"hf download {name} --local-dir {source.name}, then --weights {source.name}",
        )
