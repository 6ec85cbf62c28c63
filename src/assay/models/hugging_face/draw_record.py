"""The model record that a folder of the Hugging Face hub gives, each line with the file that says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from assay.errors import BadModelError, UsageError, quote, shorten
from assay.models.hugging_face.folder import CONFIG_FILE, read_config
from assay.models.hugging_face.image_processors import read_processor
from assay.models.inspection.record_lines import Lines, RecordLine, build_record
from assay.models.preprocessing import Preprocessing
from assay.models.published.timm_records import TimmEvaluation, make_timm_preprocessing
from assay.models.record import ModelRecord
from assay.models.tables.read import TimmModel

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Of config.json: not about the network's layers, as all that begins with an underscore
_NOT_OPTIONS = frozenset(
    {
        "architectures",
        "attn_implementation",
        "dtype",
        "id2label",
        "label2id",
        "model_type",
        "num_labels",
        "problem_type",
        "torch_dtype",
        "transformers_version",
    }
)


def read_folder_record(folder: Path) -> ModelRecord:
    """The record that the folder's own files give.

    Raises:
        BadModelError: They do not give one, or one that cannot be.
    """
    try:
        return build_record(read_folder_lines(folder))
    except UsageError as error:
        raise BadModelError(f"folder {folder}: {error.message}", hint=error.hint) from error


def read_folder_lines(folder: Path) -> Lines:
    """The lines of the record that a folder gives, in transformers' form or in timm's own.

    Args:
        folder: With a config.json.

    Raises:
        BadModelError: Its files cannot be read, want code to be run, or do not say how pictures are prepared.
    """
    config = read_config(folder / CONFIG_FILE)
    try:
        is_timm = "pretrained_cfg" in config or "architecture" in config
        found = _draw_timm(config) if is_timm else _draw_transformers(config, folder)
        return {line.key: line for line in found}
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BadModelError(
            f"{folder / CONFIG_FILE}, or the file beside it with the preprocessing, is not as its library "
            f"writes it: {type(error).__name__}: {shorten(error)}",
            hint="download the folder again, or write the record yourself: --model record.toml",
        ) from error


def _say(source: str, **values: object) -> Iterator[RecordLine]:
    """Yield a line for each value; a double underscore stands between table and key."""
    for key, value in values.items():
        yield RecordLine(key=key.replace("__", "."), value=value, source=source)


def _say_preprocessing(made: Preprocessing, source: str) -> Iterator[RecordLine]:
    """Yield the lines of preprocessing, and of the input's size, which follows from it."""
    for field in msgspec.structs.fields(made):
        value = getattr(made, field.name)
        if value != field.default:
            yield RecordLine(key=f"preprocessing.{field.name}", value=value, source=source)
    shape = made.find_output_shape()
    if shape is None:
        raise BadModelError(
            f"{source}: pictures keep a size of their own, since nothing is cropped",
            hint="write the record yourself, with the crop that the network takes: --model record.toml",
        )
    yield from _say(source, input__height=shape[0], input__width=shape[1])


def _say_classes(config: Mapping[str, Any], keys: tuple[str, ...], count: int) -> Iterator[RecordLine]:
    """Yield the line of the class names, where they are all there."""
    for key in keys:
        names = _order_names(config.get(key))
        if len(names) == count and not all(name.startswith("LABEL_") for name in names):
            yield RecordLine(key="output.class_names", value=list(names), source=f"{CONFIG_FILE}: {key}")
            return
        if names and len(names) != count:
            raise BadModelError(
                f"{CONFIG_FILE}: {key} names {len(names):,} classes, the network has {count:,}",
                hint="correct the file, or write the record yourself: --model record.toml",
            )


def _order_names(found: object) -> tuple[str, ...]:
    """Names by a map of index to name, or of a list; empty where there are none."""
    if isinstance(found, dict):
        numbered = {int(key): str(name) for key, name in found.items()}
        if sorted(numbered) != [*range(len(numbered))]:
            raise ValueError("the numbers of the classes have gaps")
        return tuple(numbered[key] for key in sorted(numbered))
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _draw_transformers(config: dict[str, Any], folder: Path) -> Iterator[RecordLine]:
    """Yield the lines of a folder in transformers' own form."""
    names = config.get("architectures") or [config["model_type"]]
    count = len(config["id2label"]) if config.get("id2label") else int(config.get("num_labels", 2))
    options = {key: value for key, value in config.items() if _is_option(key)}
    architecture = f"transformers/{names[0]}"
    yield from _say("the record's form", schema_version=1)
    yield from _say(CONFIG_FILE, name=architecture, architecture=architecture, architecture_options=options)
    yield from _say(
        CONFIG_FILE, input__channels=int(config.get("num_channels", 3)), output__class_count=count
    )
    yield from _say("named by the ONNX file", input__name="", output__name="")
    yield from _say_classes(config, ("id2label",), count)
    file, processor = _read_processor_config(folder)
    made, colour_order, class_name, defaults = read_processor(processor, str(config.get("model_type", "")))
    taken = f", with the class's own {', '.join(defaults)}" if defaults else ""
    yield from _say_preprocessing(made, f"{file}: {class_name}{taken}")
    yield from _say(class_name, input__colour_order=colour_order)


def _is_option(key: str) -> bool:
    return key not in _NOT_OPTIONS and not key.startswith("_")


def _read_processor_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """The name of the file with the image processor's configuration, and that."""
    inner = read_config(folder / "processor_config.json").get("image_processor")
    if isinstance(inner, dict):
        return "processor_config.json", inner
    found = read_config(folder / "preprocessor_config.json")
    if found:
        return "preprocessor_config.json", found
    raise BadModelError(
        f"folder {folder} holds no preprocessor_config.json, so nothing says how its pictures are prepared",
        hint="download the whole folder (hf download NAME --local-dir DIR), or give --model record.toml",
    )


def _draw_timm(config: dict[str, Any]) -> Iterator[RecordLine]:
    """Yield the lines of a folder in timm's form: config.json with `architecture` and `pretrained_cfg`."""
    facts = config.get("pretrained_cfg", config)  # older files are flat
    architecture = str(config.get("architecture") or facts["architecture"])
    count = int(config.get("num_classes", facts.get("num_classes", 1000)))  # what stands outside counts
    if count < 2:
        raise BadModelError(f"{CONFIG_FILE}: num_classes is {count}, so the network is no classifier")
    options = {
        key: value
        for key, value in (config.get("model_args") or {}).items()
        if key not in ("num_classes", "in_chans")
    }
    tag = facts.get("tag")
    name = f"timm/{architecture}.{tag}" if tag else f"timm/{architecture}"
    channels, height, width = map(int, facts.get("input_size") or (3, 224, 224))
    yield from _say("the record's form", schema_version=1)
    yield from _say(CONFIG_FILE, name=name, architecture=f"timm/{architecture}")
    if options:
        yield from _say(f"{CONFIG_FILE}: model_args", architecture_options=options)
    yield from _say(CONFIG_FILE, input__channels=channels, output__class_count=count)
    yield from _say(CONFIG_FILE, output__label_offset=int(facts.get("label_offset") or 0))
    yield from _say("timm's", input__colour_order="grey" if channels == 1 else "RGB")
    yield from _say("named by the ONNX file", input__name="", output__name="")
    yield from _say_classes({**facts, **config}, ("label_names", "labels"), count)
    row = _make_row(name, facts, count)
    made = make_timm_preprocessing(row, TimmEvaluation(height, width, row.crop_pct))
    yield from _say_preprocessing(made, f"{CONFIG_FILE}: pretrained_cfg")


def _make_row(name: str, facts: Mapping[str, Any], count: int) -> TimmModel:
    """The configuration as timm's table has it, with timm's defaults (timm 1.0.31, data/config.py)."""
    crop_mode: Any = facts.get("crop_mode") or "center"
    interpolation: Any = facts.get("interpolation") or "bicubic"
    if crop_mode not in ("center", "squash", "border") or interpolation == "random":
        raise ValueError(f"crop_mode is {quote(crop_mode)}, interpolation {quote(interpolation)}")
    mean, std = facts.get("mean") or _IMAGENET[0], facts.get("std") or _IMAGENET[1]
    return TimmModel(
        name=name,
        input_size="",
        crop_pct=float(facts.get("crop_pct") or 0.875),
        crop_mode=crop_mode,
        interpolation=interpolation,
        mean=",".join(repr(float(value)) for value in mean),
        std=",".join(repr(float(value)) for value in std),
        num_classes=count,
        label_offset=0,
    )
