"""What a checkpoint is by its tensors, and the record of one that was trained on other classes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from assay.errors import UsageError, shorten
from assay.files import refuse_same_file, write_in_place_of
from assay.models.choose_record import describes_itself, list_sources
from assay.models.hugging_face.folder import is_model_folder
from assay.models.inspection.architecture import count_classes, recognise_checkpoint
from assay.models.inspection.draw_record import make_name
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.models.write_record import write_record_toml
from assay.report.inspection import Inspection
from assay.runs.listener import Listener

_SHOWN = 300  # characters of a value of the metadata
Shapes = Mapping[str, tuple[int, ...]]


def inspect_checkpoint(path: Path, form: str, like: str, record_path: Path | None) -> Inspection:
    """What the checkpoint is by its tensors, and how it is run.

    Args:
        path: The checkpoint.
        form: Its form in words.
        like: Name or path of the record whose architecture and preprocessing it has; empty for none.
        record_path: Where its record is written as TOML; None for nowhere.

    Raises:
        BadCheckpointError: The checkpoint cannot be read.
        BadModelError: There is no record `like`.
        UsageError: A record is to be written, and `like` is not given: tensors do not tell the preprocessing.
    """
    from assay.checkpoint.tensor_shapes import count_parameters, read_tensor_shapes

    shapes, notes = read_tensor_shapes(path)
    found, has_names = recognise_checkpoint(shapes)
    names = [each.record_name for each in found]
    record = _draw_record(path, shapes, like) if like else None
    if record_path is not None:
        if record is None:
            raise _refuse_without_like(path, names)
        refuse_same_file(record_path, path, Path(like) if like.endswith(".toml") else None)
        with write_in_place_of(record_path) as temporary:
            temporary.write_text(write_record_toml(record), encoding="utf-8")
    return Inspection(
        model=str(path),
        form=form,
        version="",
        opset=None,
        producer="",
        tensor_count=len(shapes),
        parameter_count=count_parameters(shapes),
        metadata={key: shorten(value, _SHOWN) for key, value in notes.items()},
        architectures=tuple(f"{each.library_name} {each.architecture}" for each in found),
        same=("names and shapes" if has_names else "shapes") if found else "",
        next=tuple(_say_next(path, names, count_classes(shapes), record_path)),
    )


def _draw_record(path: Path, shapes: Shapes, like: str) -> ModelRecord:
    """The record `like`, for as many classes as the checkpoint has; nothing published is of these weights."""
    known = read_model_record(like)
    count = count_classes(shapes)
    output = known.output
    if count not in (None, output.class_count):
        output = replace(output, class_count=count, label_offset=0, class_names=(), class_synsets=())
    return replace(
        known,
        name=make_name(path),
        output=output,
        weights=(),
        published_accuracy=(),
        published_throughput=(),
        speed_target=(),
    )


def _refuse_without_like(path: Path, names: list[str]) -> UsageError:
    like = names[0] if names else "NAME"
    return UsageError(
        f"{path} is a checkpoint, and its tensors do not say how its images are prepared",
        hint=f"assay init {shlex.quote(str(path))} --like {like} takes that of a network trained as this one "
        "was; assay models WORD finds names",
    )


def _say_next(path: Path, names: list[str], count: int | None, record_path: Path | None) -> list[str]:
    """What the user does now, as lines of text and commands."""
    file = shlex.quote(str(path))
    sorted_classes = " --classes sorted" if count is not None else ""
    if record_path is not None:
        use = f"--model {shlex.quote(str(record_path))} --images DIR{sorted_classes}"
        return ["Run it:", f"  assay run --weights {file} {use}"]
    if not names:
        return [
            "Its tensors are of no network that is known here; where you know it:",
            f"  assay run --weights {file} --model NAME --images DIR",
        ]
    if count is None:
        which = "Run it:" if len(names) == 1 else "Run it as the one that it is; its tensors do not tell:"
        return [which, *(f"  assay run --weights {file} --model {name} --images DIR" for name in names)]
    lines = [
        f"It has {count:,} classes of its own. Write its record, prepared as that network is, and run it:",
        *(f"  assay init {file} --like {name}" for name in names),
    ]
    run = f"  assay run --weights {file} --model {shlex.quote(path.stem)}.toml --images DIR --classes sorted"
    return [*lines, run]


def find_sources(weights: Path, record: ModelRecord, listener: Listener) -> list[str]:
    """Where each line of a record comes from that no --model named; says what a checkpoint is taken for."""
    if not describes_itself(weights) and not is_model_folder(weights):
        listener.announce(
            f"Note: without --model {weights} is taken for {record.name}; "
            f"assay inspect {weights} says what it is"
        )
    return list_sources(record, weights)
