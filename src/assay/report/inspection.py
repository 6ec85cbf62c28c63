"""What `assay inspect` finds in a model file, and how it is shown in 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import msgspec

from assay.errors import shorten
from assay.models.inspection.record_lines import RecordLine, write_short_value

WIDTH = 80
_COLUMN = 16
_MARKS = {"known": "", "default": "", "guess": "guess", "open": "OPEN"}


class InspectedInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input: `shape` has None for an axis that is free; None where no shape is declared."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


class InspectedOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output: what it holds as the end of the graph tells, and whether it is taken for the scores."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    scores: str
    decided_by: str
    class_count: int | None
    fault: str
    is_taken: bool


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says of itself, and the record that would be used.

    `multiply_adds` are for one image, None where they are not known: `multiply_adds_unknown` says why.
    `architectures` are those with the same tensors, `same` by "names and shapes" or by "shapes". `steps` are
    the nodes before the first layer. `record` holds the lines, `open` the keys that have to be decided, and
    `next` what to do now.
    """

    model: str
    form: str
    version: str
    opset: int | None
    producer: str
    graph_name: str = ""
    tensor_count: int = 0
    parameter_count: int | None = None
    multiply_adds: int | None = None
    multiply_adds_unknown: str = ""
    is_quantised: bool = False
    training_nodes: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    architectures: tuple[str, ...] = ()
    same: str = ""
    inputs: tuple[InspectedInput, ...] = ()
    layout: str = ""
    steps: tuple[str, ...] = ()
    normalises: bool = False
    outputs: tuple[InspectedOutput, ...] = ()
    record_from: str = ""
    record: tuple[RecordLine, ...] = ()
    open: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    next: tuple[str, ...] = ()


def summarise_inspection(found: Inspection) -> list[str]:
    """What a model file says of itself, in lines of 80 columns."""
    lines = [found.model, "", "What it is", *_describe_file(found)]
    if found.inputs:
        lines += ["", "Input", *_describe_input(found)]
    if found.outputs:
        lines += ["", "Output", *(line for each in found.outputs for line in _describe_output(each))]
    if found.record:
        lines += ["", f"Record{found.record_from and ', ' + found.record_from}", *_describe_record(found)]
    for note in found.notes:
        lines += ["", *textwrap.wrap(note, WIDTH)]
    for step in found.next:
        is_command = step.startswith(" ")
        lines += [step] if is_command else ["", *textwrap.wrap(step, WIDTH)]
    return lines


def _row(name: str, text: str) -> list[str]:
    """A name and what belongs to it; a name that is too long stands on a line of its own."""
    name = shorten(name, WIDTH - 4)
    indent = " " * (_COLUMN + 2)
    if len(name) < _COLUMN:
        return textwrap.wrap(
            text, WIDTH, initial_indent=f"  {name:<{_COLUMN}}", subsequent_indent=indent
        ) or [f"  {name}"]
    return [f"  {name}", *textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)]


def _describe_file(found: Inspection) -> Iterator[str]:
    version = [found.version, f"opset {found.opset}" if found.opset else ""]
    form = ", ".join(filter(None, [found.form, *version]))
    yield from _row("Form", f"{form}; by {shorten(found.producer)}" if found.producer else form)
    if found.parameter_count is not None:
        kind = "quantised" if found.is_quantised else "not quantised"
        count = f"{found.parameter_count:,} parameters in {found.tensor_count:,} tensors"
        yield from _row("Weights", f"{count}, {kind}" if found.inputs else count)
    if found.multiply_adds is not None:
        yield from _row("Multiply-adds", f"{_write_count(found.multiply_adds)} for an image")
    elif found.multiply_adds_unknown:
        yield from _row("Multiply-adds", f"not known: {found.multiply_adds_unknown}")
    if found.architectures:
        yield from _row("Architecture", _describe_architectures(found))
    if found.training_nodes:
        text = f"{len(found.training_nodes)} nodes compute as during training: {found.training_nodes[0]}"
        yield from _row("FAULT", text)
    if found.functions:
        yield from _row("Functions", ", ".join(found.functions))
    for key, value in found.metadata.items():
        yield from _row(key, shorten(value, 100))


def _describe_architectures(found: Inspection) -> str:
    named = ", ".join(found.architectures)
    text = f"{named}: by the {found.same} of its tensors"
    several = len({name.rpartition(" ")[2] for name in found.architectures}) > 1
    return f"{text}, which do not tell these apart" if several else text


def _describe_input(found: Inspection) -> Iterator[str]:
    for each in found.inputs:
        layout = f", {found.layout}" if found.layout else ""
        free = [place for place, size in enumerate(each.shape or ()) if size is None]
        takes = "batch of any size" if free == [0] else "size of the batch is fixed" if not free else ""
        takes = takes or "several axes are free"
        text = f"{each.dtype} {_write_shape(each.shape)}{layout}; {takes}"
        yield from _row(each.name, text if each.shape is not None else f"{each.dtype}, no shape declared")
    steps = "; ".join(found.steps) or "nothing before the first layer"
    yield from _row("In the graph", f"{steps}{': normalises itself' if found.normalises else ''}")


def _describe_output(each: InspectedOutput) -> list[str]:
    held = each.scores or "not told"
    by = f" ({each.decided_by})" if each.decided_by else ""
    classes = (
        f" of {each.class_count:,} classes"
        if each.class_count and each.scores not in ("class index", "best scores")
        else ""
    )
    text = f"{each.dtype} {_write_shape(each.shape)}: {held}{by}{classes}"
    text += f"; {each.fault}" if each.fault else ""
    return _row(each.name, f"{text}; taken for the scores" if each.is_taken else text)


def _describe_record(found: Inspection) -> Iterator[str]:
    table = ""
    for line in found.record:
        own, _, key = line.key.rpartition(".")
        if own != table:
            yield f"  [{own}]"
            table = own
        mark = _MARKS[line.state]
        if line.state == "open":
            guesses = "; or ".join(f"{', '.join(one.lines)} ({one.reason})" for one in line.likely)
            text = f"{key}: {line.source}{'. Likely: ' + guesses if guesses else ''}"
            yield from textwrap.wrap(text, WIDTH, initial_indent="  OPEN   ", subsequent_indent=" " * 11)
            continue
        yield from textwrap.wrap(
            f"{key} = {write_short_value(line.value)}  # {line.source}",
            WIDTH,
            initial_indent=f"  {mark:<7}",
            subsequent_indent=" " * 11,
        )


def _write_shape(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "of any shape"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _write_count(count: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"
