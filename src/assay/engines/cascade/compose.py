"""Two compiled models of one network to the folder of a cascade, which holds copies of both."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import msgspec

from assay.engines.cascade.record import (
    CASCADE,
    EXACT_FOLDER,
    FAST_FOLDER,
    CascadeRecord,
    name_model,
    write_cascade_json,
)
from assay.engines.compiled_model import COMPILED_JSON, CompiledModel, compute_recipe, write_compiled_json
from assay.errors import BadModelError, UsageError
from assay.files import decode_json
from assay.models.record import ModelRecord


def name_compiled(compiled: CompiledModel) -> str:
    """See `name_model`."""
    return name_model(compiled.engine, compiled.precision, compiled.device)


def list_engines(compiled: CompiledModel) -> list[str]:
    """The engines whose runtimes compute a compiled model: its own, or those of both models of a cascade."""
    if compiled.engine != CASCADE:
        return [compiled.engine]
    return [name.split()[0] for name in compiled.settings.values()]


def describe_cascade(fast: CompiledModel, exact: CompiledModel) -> CompiledModel:
    """What `compiled.json` will say of a cascade of the two, whatever its threshold.

    Raises:
        UsageError: One is a cascade itself, or both are the same model.
        BadModelError: They are not of one network.
    """
    check_one_network(fast, exact)
    both = ((FAST_FOLDER, fast), (EXACT_FOLDER, exact))
    described = CompiledModel(
        engine=CASCADE,
        engine_version=" then ".join(dict.fromkeys(one.engine_version for _, one in both)),
        device="+".join(dict.fromkeys(one.device for _, one in both)),
        device_name=" then ".join(dict.fromkeys(one.device_name for _, one in both)),
        precision="+".join(one.precision for _, one in both),
        batch_size=fast.batch_size,
        settings={folder: name_compiled(one) for folder, one in both},
        call_size=fast.call_size,
        takes_pixels=fast.takes_pixels and exact.takes_pixels,
        source_files={
            f"{folder}: {name}": sha256 for folder, one in both for name, sha256 in one.source_files.items()
        },
        files={},
        model=exact.model,
        calibration=fast.calibration or exact.calibration,
        weight_range=fast.weight_range or exact.weight_range,
    )
    return msgspec.structs.replace(described, recipe=compute_recipe(described))


def write_cascade(
    fast_dir: Path, exact_dir: Path, folder: Path, made: CompiledModel, record: CascadeRecord
) -> CompiledModel:
    """Write copies of both models, `cascade.json` and `compiled.json` into an empty folder.

    Args:
        fast_dir: The model that answers.
        exact_dir: The model that answers the images that are handed on.
        folder: An empty folder.
        made: As `describe_cascade` gives it.
        record: The threshold, and how it was chosen.
    """
    for name, compiled_dir in ((FAST_FOLDER, fast_dir), (EXACT_FOLDER, exact_dir)):
        # only what compiled.json names, whose hashes were checked
        compiled = decode_json((compiled_dir / COMPILED_JSON).read_bytes(), kind=CompiledModel)
        for file in (*compiled.files, COMPILED_JSON):
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(compiled_dir / file, folder / name / file)
    write_cascade_json(record, folder)
    return write_compiled_json(made, folder)


def check_one_network(fast: CompiledModel, exact: CompiledModel) -> None:
    """Refuse two compiled models that are not of one network, as far as they tell.

    Raises:
        UsageError: One is a cascade itself, or both are the same model.
        BadModelError: Other classes, another input or preprocessing, other weights.
    """
    if CASCADE in (fast.engine, exact.engine):
        raise UsageError(
            "a cascade cannot be one of the two models of a cascade", hint="give the model that is in it"
        )
    if fast.recipe and fast.recipe == exact.recipe:
        raise UsageError(
            f"both are the same compiled model, {name_compiled(fast)}",
            hint="give a fast one, such as int8, and an exact one, such as fp32",
        )
    refuse_other_record((name_compiled(fast), fast.model), (name_compiled(exact), exact.model))
    source, exact_source = (find_float_source(one) for one in (fast, exact))
    if source and exact_source and source != exact_source:
        raise BadModelError(
            f"the two models are of other weights: {name_compiled(fast)} is of an ONNX file with sha256 "
            f"{source[:12]}…, {name_compiled(exact)} of {exact_source[:12]}…",
            hint="quantise and compile the same float file",
        )


def refuse_other_record(one: tuple[str, ModelRecord], other: tuple[str, ModelRecord]) -> None:
    """Refuse two model records, each with what it is of, that are not of one network.

    Raises:
        BadModelError: Other classes, another input or preprocessing.
    """
    for what, found, expected in _list_facts(one[1], other[1]):
        if found != expected:
            raise BadModelError(
                f"{one[0]} and {other[0]} are not of one network: {what} differs: {found} and {expected}",
                hint="compile both from the same weights with the same --model",
            )


def _list_facts(fast: ModelRecord, exact: ModelRecord) -> list[tuple[str, object, object]]:
    """What must be the same of two records, by name with both values; tensors may be called otherwise."""

    def describe(record: ModelRecord) -> dict[str, object]:
        size = (record.input.channels, record.input.height, record.input.width, record.input.colour_order)
        classes = (record.output.class_count, record.output.label_offset, record.output.scores)
        names = hashlib.sha256(repr((record.output.class_names, record.output.class_synsets)).encode())
        return {
            "the input": size,
            "the output": classes,
            "the names of the classes": f"sha256 {names.hexdigest()[:12]}…",
            "the preprocessing": record.preprocessing,
        }

    one, other = describe(fast), describe(exact)
    return [(name, one[name], other[name]) for name in one]


def find_float_source(compiled: CompiledModel) -> str:
    """The sha256 of the float ONNX file that a model was made of; empty where that is not known."""
    if compiled.calibration is not None:
        return compiled.calibration.source_sha256
    own = {name: sha256 for name, sha256 in compiled.source_files.items() if ": " not in name}
    if compiled.precision == "int8" or not any(name.lower().endswith(".onnx") for name in own):
        return ""
    hashes = list(own.values())
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(f"{one}\n" for one in hashes).encode()).hexdigest()
