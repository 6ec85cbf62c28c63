"""The preprocessing that a file states, in its graph or its metadata; what it leaves open is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from assay.models.inspection.facts import NetworkFacts
from assay.models.inspection.front import Front, Values
from assay.models.inspection.metadata import UltralyticsNotes
from assay.models.inspection.model_info import state_model_info_geometry, state_model_info_values
from assay.models.inspection.record_lines import Lines, RecordLine, State, list_record_lines, make_open_line
from assay.models.record import ModelRecord

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PIXEL_SPREAD = 20.0  # a std above this is of pixels of 0 to 255, below of values of 0 to 1
_KNOWN_ULTRALYTICS = ((8, 0), (8, 4))
_VALUE_KEYS = ("pixel_scale", "mean", "std", "arithmetic", "std_twice")
_NOMINAL_RANGES: dict[str, tuple[float, float, float]] = {  # pixel_scale, mean, std
    "nominalrange_0_255": (1.0, 0.0, 1.0),
    "normalized_0_1": (255.0, 0.0, 1.0),
    "normalized_1_1": (255.0, 0.5, 0.5),
}


def state_preprocessing(
    facts: NetworkFacts,
    notes: UltralyticsNotes | None,
    like: ModelRecord | None,
    size: tuple[int, int] | None,
) -> Lines:
    """The lines of the table `preprocessing`.

    Args:
        facts: What the file says of itself.
        notes: Ultralytics' own, where it wrote the file.
        like: A record that knows the preprocessing.
        size: Height and width of the input, where they are known.
    """
    front = facts.front or Front()
    lines = {line.key: line for line in _state_geometry(facts, notes, like, size)}
    values = list(_state_values(facts, front, notes, like))
    return lines | {line.key: line for line in values}


def _line(key: str, value: object, source: str, state: State = "known") -> RecordLine:
    return RecordLine(key=f"preprocessing.{key}", value=value, source=source, state=state)


def _open(key: str, why: str, likely: Mapping[str, str] | None = None) -> RecordLine:
    return make_open_line(f"preprocessing.{key}", why, likely)


def _state_geometry(
    facts: NetworkFacts,
    notes: UltralyticsNotes | None,
    like: ModelRecord | None,
    size: tuple[int, int] | None,
) -> Iterator[RecordLine]:
    """Yield how pictures are resized and cropped."""
    front = facts.front or Front()
    if noted := list(state_model_info_geometry(facts.graph.metadata, size)):
        yield from noted
        return
    if like is not None and not front.resizes:
        for line in list_record_lines(like, ["preprocessing"], f"record {like.name}"):
            if line.key.rpartition(".")[2] not in _VALUE_KEYS:
                yield line
        return
    if notes is not None and notes.task == "classify" and size is not None and size[0] == size[1]:
        if notes.release == (8, 0):
            source = f"ultralytics {notes.version}: centre square, then OpenCV's resize"
            yield _line("square_first", True, source)
            yield _line("resize", "squash", source)
            yield _line("resize_size", size, source)
            yield _line("resize_filter", "bilinear", source)
            yield _line("sampling", "opencv", source)
            return
        if _KNOWN_ULTRALYTICS[0] < notes.release <= _KNOWN_ULTRALYTICS[1]:
            source = f"ultralytics {notes.version}: short side to imgsz, Pillow"
            yield _line("resize_side", size[0], source)
            yield _line("resize_filter", "bilinear", source)
            yield _line("crop_size", size[0], source)
            yield _line("crop_rounding", "torchvision", source)
            return
    yield from _leave_geometry_open(size, front)


def _leave_geometry_open(size: tuple[int, int] | None, front: Front) -> Iterator[RecordLine]:
    height, width = size or (224, 224)
    why = "the network itself resizes or crops" if front.resizes else "no file says it"
    side = int(min(height, width) / 0.875)
    crop = f"crop_size = {height}" if height == width else f"crop_shape = [{height}, {width}]"
    resizes = {
        "torchvision, timm": f'resize = "short side"\nresize_side = {side}\n{crop}',
        "Keras, many of Hugging Face": f'resize = "squash"\nresize_size = [{height}, {width}]',
    }
    filters = {"torchvision": "bilinear", "timm": "bicubic", "Keras": "nearest"}
    yield _open("resize", why, resizes)
    yield _open("resize_filter", why, {who: f'resize_filter = "{name}"' for who, name in filters.items()})


def _state_values(
    facts: NetworkFacts, front: Front, notes: UltralyticsNotes | None, like: ModelRecord | None
) -> Iterator[RecordLine]:
    """Yield what becomes of the values before the network takes them."""
    channels = front.channels or 3
    in_graph = list(_read_from_graph(facts, front, channels))
    stated = {name.casefold(): value.casefold() for name, value in facts.graph.metadata.items()}
    nominal = _NOMINAL_RANGES.get(stated.get("image.nominalpixelrange", ""))
    if in_graph:
        yield from in_graph
    elif nominal is not None:
        source = "Image.NominalPixelRange in the file"
        yield from _spell_values(nominal[0], (nominal[1],), (nominal[2],), channels, source)
    elif notes is not None and notes.task == "classify":
        yield from _spell_values(255.0, (0.0,), (1.0,), channels, f"ultralytics {notes.version}")
    elif like is not None and not front.resizes:
        for line in list_record_lines(like, ["preprocessing"], f"record {like.name}"):
            if line.key.rpartition(".")[2] in _VALUE_KEYS:
                yield line
    else:
        yield from _leave_values_open(channels, front)


def _read_from_graph(facts: NetworkFacts, front: Front, channels: int) -> Iterator[RecordLine]:
    """Yield what the graph itself tells, against what Model API notes; nothing where neither does."""
    noted = list(state_model_info_values(facts.graph.metadata, front, channels))
    if facts.image is not None and facts.image.dtype == "uint8":
        yield from _spell_values(1.0, (0.0,), (1.0,), channels, "the network takes uint8: pixels as they are")
    elif noted:
        yield from noted
    elif front.is_transform_input:
        source = "torchvision's transform_input in the graph takes images normalised for ImageNet"
        yield from _spell_values(255.0, *_IMAGENET, channels, source)
    elif front.normalises and not front.has_batch_norm and (scale := find_pixel_scale(front)) is not None:
        source = f"the graph normalises itself ({'; '.join(front.steps[:4])})"
        yield from _spell_values(scale, (0.0,), (1.0,), channels, source)
    elif front.normalises or front.has_batch_norm:
        why = f"the graph begins with {'; '.join(front.steps)}: what it takes cannot be told from that"
        yield _open("mean", why)
        yield _open("std", why)


def find_pixel_scale(front: Front) -> float | None:
    """What pixels are divided by before a network that normalises itself; None where that is not clear.

    A std of 58 or a mean of 123.7 is of pixels of 0 to 255; a std of 0.226 of values of 0 to 1.
    """
    if min(front.std) > _PIXEL_SPREAD or max(map(abs, front.mean)) > _PIXEL_SPREAD:
        return 1.0
    is_unit = all(-0.01 <= mean <= 1 for mean in front.mean) and all(0.05 <= std <= 1.01 for std in front.std)
    return 255.0 if is_unit and front.mean != (0.0,) * len(front.mean) else None


def _leave_values_open(channels: int, front: Front) -> Iterator[RecordLine]:
    why = "no file says it" if front.is_understood else "the graph's first nodes are not known here"
    mean, std = _IMAGENET if channels == 3 else ((0.485,), (0.229,))
    half = [0.5] * channels
    for key, value in (("mean", mean), ("std", std)):
        guesses = {"ImageNet's": list(value), "Inception's, of TensorFlow": half}
        yield _open(key, why, {who: f"{key} = {values}" for who, values in guesses.items()})


def _spell_values(
    scale: float, mean: Values, std: Values, channels: int, source: str
) -> Iterator[RecordLine]:
    if scale != 255.0:
        yield _line("pixel_scale", scale, source)
    yield _line("mean", mean * channels if len(mean) == 1 else mean, source)
    yield _line("std", std * channels if len(std) == 1 else std, source)


def name_stated(lines: Mapping[str, RecordLine]) -> str:
    """Where the preprocessing comes from, in words: each source once."""
    sources = dict.fromkeys(
        line.source
        for key, line in lines.items()
        if key.startswith("preprocessing.") and line.state != "open"
    )
    return "; ".join(sources)
