"""What a model file says of itself, and the record that would be used; nothing of the file runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from assay.errors import UsageError, shorten
from assay.files import refuse_same_file, write_in_place_of
from assay.models.choose_record import RECORD_KEY, read_stored_record
from assay.models.inspection.draw_record import draw_record
from assay.models.inspection.facts import NetworkFacts, read_network_facts
from assay.models.inspection.form import (
    HUGGING_FACE,
    SAFETENSORS,
    STATE_DICT,
    TIMM_FOLDER,
    recognise_form,
    refuse_unreadable,
)
from assay.models.inspection.record_lines import (
    TABLES,
    Lines,
    RecordLine,
    build_record,
    list_open,
    list_record_lines,
    parse_lines,
    sort_lines,
)
from assay.models.inspection.record_text import write_drawn_record
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.report.inspection import InspectedInput, InspectedOutput, Inspection
from assay.workflows.models.inspect_checkpoint import inspect_checkpoint
from assay.workflows.models.inspect_folder import inspect_folder

_SHOWN = 300  # characters of a value of the metadata


def inspect_model(
    model: Path, *, like: str = "", given: Sequence[str] = (), record_path: Path | None = None
) -> Inspection:
    """What the model file says of itself, and the record that would be used.

    Args:
        model: An ONNX file, an OpenVINO IR's .xml, a checkpoint, or a folder of the Hugging Face hub.
        like: Name or path of a record that knows the preprocessing and the classes; empty for none.
        given: Lines of the record that the user decides, as KEY=VALUE.
        record_path: Where the record is written as TOML; None for nowhere.

    Raises:
        BadModelError: The file cannot be read, or runs code when it is loaded.
        BadCheckpointError: The checkpoint cannot be read.
        UsageError: A checkpoint's record is asked without `like`, or with lines; or given lines are none, or
            do not fit together with the others.
    """
    form = recognise_form(model)
    refuse_unreadable(model, form)
    if record_path is not None and record_path.suffix != ".toml":
        raise UsageError(f"{record_path}: expected a name ending in .toml for the record")
    if form in (STATE_DICT, SAFETENSORS):
        if given:
            raise UsageError(
                f"--set {given[0]}: {model} is a checkpoint, and its record that of a network known by name",
                hint="write it with --like NAME -o record.toml, and change the line there",
            )
        return inspect_checkpoint(model, form, like, record_path)
    if form in (HUGGING_FACE, TIMM_FOLDER):
        if like:
            raise UsageError(f"--like {like}: the folder {model} says itself how its pictures are prepared")
        found, lines = inspect_folder(model, form, parse_lines(given), record_path)
        _write_record(lines, model, record_path)
        return found
    facts = read_network_facts(model)
    known = read_model_record(like) if like else None
    lines, stored_name = _choose_lines(facts, known, parse_lines(given))
    if not list_open(lines):
        build_record(lines)
    _write_record(lines, model, record_path, Path(like) if like.endswith(".toml") else None)
    return _describe(facts, lines, stored_name, record_path)


def _write_record(lines: Lines, model: Path, record_path: Path | None, like: Path | None = None) -> None:
    """Write the record as TOML, unless it is to be written nowhere."""
    if record_path is not None:
        refuse_same_file(record_path, model, like)
        with write_in_place_of(record_path) as temporary:
            temporary.write_text(write_drawn_record(lines, model.name), encoding="utf-8")


def _choose_lines(facts: NetworkFacts, like: ModelRecord | None, given: Lines) -> tuple[Lines, str]:
    """The record's lines, and the name of the record that the file carries, where that is the one."""
    if like is None and (stored := _find_stored(facts)) is not None:
        source = "assay's own record in the file"
        drawn = draw_record(facts)
        lines = {key: drawn[key] for key in ("schema_version",)}
        for key in ("name", "architecture"):
            lines[key] = RecordLine(key=key, value=getattr(stored, key), source=source)
        lines |= {line.key: line for line in list_record_lines(stored, list(TABLES), source)}
        return lines | given, stored.name
    return draw_record(facts, like, given), ""


def _find_stored(facts: NetworkFacts) -> ModelRecord | None:
    return read_stored_record(facts.path) if RECORD_KEY in facts.graph.metadata else None


def _describe(facts: NetworkFacts, lines: Lines, stored_name: str, record_path: Path | None) -> Inspection:
    graph, front = facts.graph, facts.front
    counted = _count_multiply_adds(facts, lines)
    return Inspection(
        model=str(facts.path),
        form=graph.form,
        version=graph.version,
        opset=graph.opset or None,
        producer=graph.producer,
        graph_name=graph.name,
        tensor_count=len(facts.weights),
        parameter_count=sum(tensor.size for tensor in facts.weights),
        multiply_adds=counted if isinstance(counted, int) else None,
        multiply_adds_unknown=counted if isinstance(counted, str) else "",
        is_quantised=facts.is_quantised,
        training_nodes=facts.training_nodes,
        functions=tuple(sorted(graph.functions)),
        metadata={key: shorten(value, _SHOWN) for key, value in graph.metadata.items() if key != RECORD_KEY},
        architectures=tuple(f"{each.library_name} {each.architecture}" for each in facts.architectures),
        same=("names and shapes" if facts.has_names else "shapes") if facts.architectures else "",
        inputs=tuple(InspectedInput(name=p.name, dtype=p.dtype, shape=p.shape) for p in graph.inputs),
        layout=front.layout if front else "",
        steps=front.steps if front else (),
        normalises=bool(front and front.normalises),
        outputs=tuple(
            InspectedOutput(
                name=tail.port.name,
                dtype=tail.port.dtype,
                shape=tail.port.shape,
                scores=tail.scores,
                decided_by=tail.decided_by,
                class_count=tail.class_count,
                fault=tail.fault,
                is_taken=tail is facts.scores,
            )
            for tail in facts.tails
        ),
        record_from=f"as assay stored it in the file ({stored_name})" if stored_name else "",
        record=tuple(sort_lines(lines)),
        open=tuple(line.key for line in list_open(lines)),
        next=tuple(_say_next(facts, lines, record_path)),
    )


def _count_multiply_adds(facts: NetworkFacts, lines: Lines) -> int | str:
    from assay.engines.openvino.multiply_adds import count_multiply_adds

    sizes = [
        lines[f"input.{key}"].value if f"input.{key}" in lines else None
        for key in ("channels", "height", "width")
    ]
    known = [size for size in sizes if isinstance(size, int)]
    is_last = facts.front is not None and facts.front.layout == "NHWC"
    shape = None
    if len(known) == len(sizes):
        channels, height, width = known
        shape = (height, width, channels) if is_last else (channels, height, width)
    return count_multiply_adds(facts.path, shape)


def _say_next(facts: NetworkFacts, lines: Lines, record_path: Path | None) -> list[str]:
    """What the user does now, as lines of text and commands."""
    model = shlex.quote(str(facts.path))
    left = list_open(lines)
    if not left:
        use = f" --model {shlex.quote(str(record_path))}" if record_path else ""
        return ["Nothing is open. Run it:", f"  assay run --weights {model}{use} --images DIR"]
    target = shlex.quote(str(record_path or "record.toml"))
    option = " --overwrite" if record_path else ""
    names = ", ".join(dict.fromkeys(line.key for line in left))
    like = next((each.record_name for each in facts.architectures), "timm/NAME")
    return [
        f"Open: {names}." + (f" {target} is refused until they are filled." if record_path else ""),
        "Fill them from a record of a network that was trained like this one, or by hand:",
        f"  assay inspect {model} --like {like} -o {target}{option}",
        f"  assay inspect {model} --set {left[-1].key}=… -o {target}{option}",
    ]
