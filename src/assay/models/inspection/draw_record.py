"""The model record that a file's own facts give: what it says, what is a guess, and what is open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from assay.models.inspection.facts import NetworkFacts
from assay.models.inspection.front import Front
from assay.models.inspection.metadata import UltralyticsNotes, find_class_names, read_ultralytics
from assay.models.inspection.model_info import read_colour_order
from assay.models.inspection.record_lines import Lines, RecordLine, list_record_lines, make_open_line
from assay.models.inspection.stated_preprocessing import state_preprocessing
from assay.models.onnx_file import Port
from assay.models.record import ONNX_ONLY, ModelRecord
from assay.models.write_record import write_value

_DTYPES = ("float32", "float16", "uint8")
_BACKGROUND_COUNTS = (1001, 1008, 21844)
_FILE_SAYS = "the file's graph"


def draw_record(facts: NetworkFacts, like: ModelRecord | None = None, given: Lines | None = None) -> Lines:
    """The lines of the record for a file: every key that is not at its default, or has to be decided.

    Args:
        facts: What the file says of itself.
        like: A record that knows the preprocessing and the classes, for a network that was trained like it.
        given: Lines that the user gives: they come first.
    """
    lines: Lines = {}
    _add(lines, "schema_version", 1, "the form of records", "default")
    _add(lines, "name", make_name(facts.path), "the file's name")
    _add(lines, "architecture", ONNX_ONLY, f"{facts.graph.form} file")
    notes = read_ultralytics(facts.graph.metadata)
    lines |= _draw_input(facts, notes, like)
    lines |= _draw_output(facts, like)
    lines |= state_preprocessing(facts, notes, like, _find_size(lines))
    return lines | (given or {})


def _add(lines: Lines, key: str, value: object, source: str, state: str = "known") -> None:
    lines[key] = RecordLine(key=key, value=value, source=source, state=state)  # type: ignore[arg-type]


def make_name(path: Path) -> str:
    """A record's name of that of a file."""
    return re.sub(r"[^\w.+-]+", "_", path.stem, flags=re.ASCII).strip("_.+-") or "model"


def _find_size(lines: Mapping[str, RecordLine]) -> tuple[int, int] | None:
    height, width = lines["input.height"].value, lines["input.width"].value
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _draw_input(facts: NetworkFacts, notes: UltralyticsNotes | None, like: ModelRecord | None) -> Lines:
    lines: Lines = {}
    port, front = facts.image, facts.front or Front()
    if port is None:
        names = ", ".join(each.name for each in facts.graph.inputs)
        _open(lines, "input.name", f"the file has {len(facts.graph.inputs)} inputs: {names}; assay feeds one")
    else:
        _add(lines, "input.name", port.name, _FILE_SAYS)
    if front.channels is None:
        _open(lines, "input.channels", "the file's shape and nodes do not tell", {"colour": "channels = 3"})
    else:
        _add(lines, "input.channels", front.channels, _FILE_SAYS)
    lines |= _draw_size(port, front, notes, like)
    lines |= _draw_colours(facts, front, notes, like)
    if not front.layout:
        layouts = {"PyTorch": 'layout = "NCHW"', "TensorFlow": 'layout = "NHWC"'}
        _open(lines, "input.layout", "the file's shape and nodes do not tell", layouts)
    elif front.layout != "NCHW":
        _add(lines, "input.layout", front.layout, _FILE_SAYS)
    dtype = port.dtype if port else "float32"
    if dtype not in _DTYPES:
        _open(lines, "input.dtype", f"the file takes {dtype}; assay feeds {', '.join(_DTYPES)}")
    elif dtype != "float32":
        _add(lines, "input.dtype", dtype, _FILE_SAYS)
    return lines


def _draw_size(
    port: Port | None, front: Front, notes: UltralyticsNotes | None, like: ModelRecord | None
) -> Lines:
    lines: Lines = {}
    shape = port.shape if port and port.shape and len(port.shape) == 4 else (None,) * 4
    places = {"NCHW": (2, 3), "NHWC": (1, 2)}.get(front.layout, (0, 0))
    for place, side in enumerate(("height", "width")):
        size = shape[places[place]] if front.layout else None
        if size is not None:
            _add(lines, f"input.{side}", size, _FILE_SAYS)
        elif notes is not None and notes.size is not None:
            _add(lines, f"input.{side}", notes.size[place], "ultralytics' imgsz in the file")
        elif like is not None:
            _add(lines, f"input.{side}", getattr(like.input, side), f"record {like.name}; the file takes any")
        else:
            _open(lines, f"input.{side}", "the file takes any size", {"most": f"{side} = 224"})
    return lines


def _draw_colours(
    facts: NetworkFacts, front: Front, notes: UltralyticsNotes | None, like: ModelRecord | None
) -> Lines:
    key, lines = "input.colour_order", Lines()
    stated = {name.casefold(): value for name, value in facts.graph.metadata.items()}
    said = stated.get("image.bitmappixelformat", "").casefold()
    if front.channels == 1:
        _add(lines, key, "grey", "one channel")
    elif said[:3] in ("rgb", "bgr"):
        _add(lines, key, said[:3].upper(), "Image.BitmapPixelFormat in the file")
    elif notes is not None:
        _add(lines, key, "RGB", f"ultralytics {notes.version}")
    elif not front.is_reversed and (order := read_colour_order(facts.graph.metadata)):
        _add(lines, key, order, "Model API's reverse_input_channels in the file")
    elif front.is_reversed:
        _open(
            lines,
            key,
            "the network turns the channels around, for one order or the other",
            {"Keras": 'colour_order = "RGB"', "pictures read by OpenCV": 'colour_order = "BGR"'},
        )
    elif like is not None:
        _add(lines, key, like.input.colour_order, f"record {like.name}")
    else:
        _add(lines, key, "RGB", "nearly all; Caffe's, pycls' and Open Model Zoo's take BGR", "guess")
    return lines


def _draw_output(facts: NetworkFacts, like: ModelRecord | None) -> Lines:
    lines: Lines = {}
    tail = facts.scores
    if tail is None:
        fitting = [each for each in facts.tails if each.can_hold_scores]
        if fitting:
            names = {
                f"{each.scores or 'scores'} of {each.class_count} classes, {each.port.name}": (
                    f"name = {write_value(each.port.name)}"
                )
                for each in fitting
            }
            why = "several outputs can hold the scores; where two heads are to be averaged, export their mean"
            _open(lines, "output.name", why, names)
        else:
            faults = [f"{each.port.name}: {each.fault or 'no row of scores'}" for each in facts.tails]
            _open(lines, "output.name", f"no output holds a score for each class: {'; '.join(faults)}")
        _open(lines, "output.class_count", "it follows from the output")
        return lines
    source = _FILE_SAYS
    if len(facts.tails) > 1:
        source = f"the longest path of {len(facts.tails)} outputs"
    _add(lines, "output.name", tail.port.name, source)
    _add(lines, "output.class_count", tail.class_count, _FILE_SAYS)
    if tail.scores in ("probabilities", "sigmoid"):
        _add(lines, "output.scores", tail.scores, f"{tail.decided_by} is the graph's end")
    elif not tail.scores:
        ends = f"the graph ends in {tail.decided_by}" if tail.decided_by else "the graph does not tell"
        _add(lines, "output.scores", "logits", ends, "guess")
    lines |= _draw_classes(facts, tail.class_count or 0, like)
    return lines


def _draw_classes(facts: NetworkFacts, count: int, like: ModelRecord | None) -> Lines:
    lines: Lines = {}
    key, names = find_class_names(facts.graph.metadata, count)
    if names:
        _add(lines, "output.class_names", names, f"{key!r} in the file")
    elif like is not None and like.output.class_count == count:
        for line in list_record_lines(like, ["output"], f"record {like.name}"):
            if line.key in ("output.label_offset", "output.class_names", "output.class_synsets"):
                lines[line.key] = line
    elif count in _BACKGROUND_COUNTS:
        _add(
            lines,
            "output.label_offset",
            1,
            f"{count} classes: TensorFlow's, the first is background",
            "guess",
        )
    return lines


def _open(lines: Lines, key: str, why: str, likely: Mapping[str, str] | None = None) -> None:
    lines[key] = make_open_line(key, why, likely)
