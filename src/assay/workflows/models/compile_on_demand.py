"""A model file to a compiled model in the user's cache, which its whole recipe names."""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from filelock import FileLock
from platformdirs import user_cache_path

from assay import __version__
from assay.defaults import DEFAULT_OPSET
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import COMPILED_JSON
from assay.engines.engine import CompileChoice
from assay.engines.sources import describe_source
from assay.errors import UsageError
from assay.files import hash_file
from assay.images.sample_images import load_sample_images
from assay.models.choose_record import choose_record
from assay.models.hugging_face.folder import CONFIG_FILE, find_model_file, is_model_folder, list_weight_files
from assay.models.model_file import is_model_file
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.workflows.models.compile import compile_model

_EXPORTERS = ("torch", "onnx", "timm", "torchvision", "transformers")  # whose versions decide the ONNX file


def is_source(model: Path) -> bool:
    """Whether the path is a file, or a folder of the hub, that a model is compiled from; not its folder."""
    return not (model / COMPILED_JSON).is_file() and (
        is_model_file(model) or model.is_file() or is_model_folder(model)
    )


def provide_compiled(
    model: Path, record_name: str, choice: CompileChoice, listener: Listener, cache: Path | None = None
) -> Path:
    """The folder of the compiled model: the given one, or one of the cache that is made of a model file.

    The cache names it by its recipe: all that decides what it is, down to the content of the files, the
    runtime's version and the processor. One that is there is used again where its files have their hashes.

    Args:
        model: A compiled model's folder, an ONNX file, an OpenVINO IR, a checkpoint or a folder of the hub.
        record_name: Name or path of the model record; empty for the one that the file carries.
        choice: The engine, and how it compiles.
        listener: Hears of the steps.
        cache: Where such folders lie; the user's cache if None.

    Raises:
        UsageError: The engine compiles for one batch size, and none is chosen.
        AssayError: As `export_checkpoint` and `compile_model`.
    """
    if not is_source(model):
        return model
    cache = cache or user_cache_path("assay") / "models"
    engine = find_engine(choice.engine)
    if engine.batch_sizes == "fixed" and choice.batch_size is None:
        raise UsageError(
            f"engine {engine.name} compiles for one batch size, which {model} does not say",
            hint=f"assay compile {model} compiled --engine {engine.name} --batch-size N first",
        )
    record = choose_record(record_name, model)
    options = engine.resolve(choice, record)
    source = find_model_file(model)
    if engine.source == "ONNX file" and not is_model_file(source):
        source = _export(source, record, cache, listener)
    recipe = describe_source(engine, source, options).recipe
    folder = cache / recipe
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{recipe}.lock"):  # of processes that want it at once, one compiles
        compile_model(source, folder, options, overwrite=True, listener=listener)
    return folder


def _export(weights: Path, record: ModelRecord, cache: Path, listener: Listener) -> Path:
    """The ONNX file of a checkpoint, which is named by all that decides what it is."""
    from assay.workflows.models.export import PARITY_IMAGE_COUNT, ExportOptions, export_checkpoint

    configs = [weights / CONFIG_FILE] if is_model_folder(weights) else []
    decides = [
        [hash_file(file) for file in (*list_weight_files(weights), *configs)],
        [__version__, DEFAULT_OPSET, *map(_find_version, _EXPORTERS)],
        msgspec.to_builtins(record, str_keys=True),
    ]
    key = hashlib.sha256(msgspec.json.encode(decides, order="deterministic")).hexdigest()
    onnx_path = cache / f"{key}.onnx"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{key}.lock"):
        if onnx_path.is_file():
            listener.announce(f"{weights}: exported already; {onnx_path} is used again")
        else:
            samples = load_sample_images(record, None, PARITY_IMAGE_COUNT, listener.announce)
            export_checkpoint(weights, onnx_path, record, samples, listener, ExportOptions())
    return onnx_path


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
