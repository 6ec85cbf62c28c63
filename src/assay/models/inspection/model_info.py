"""What Model API notes in an OpenVINO IR (`rt_info/model_info`): the preprocessing outside the graph."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from assay.models.inspection.front import Front, Values
from assay.models.inspection.record_lines import RecordLine, make_open_line

PREFIX = "model_info."
_SAYS = "Model API's {} in the file"
_SAME = 1e-3


def has_model_info(metadata: Mapping[str, str]) -> bool:
    """Whether Model API noted anything."""
    return any(key.startswith(PREFIX) for key in metadata)


def read_colour_order(metadata: Mapping[str, str]) -> str:
    """The order that the network takes: Model API reads BGR, and turns it around where it says so."""
    turned = metadata.get(f"{PREFIX}reverse_input_channels", "").casefold()
    return {"true": "RGB", "yes": "RGB", "false": "BGR", "no": "BGR"}.get(turned, "")


def state_model_info_values(metadata: Mapping[str, str], front: Front, channels: int) -> Iterator[RecordLine]:
    """Yield mean and std where Model API notes them; nothing where it does not.

    They are of pixels of 0 to 255, and are for whoever runs the network, unless the graph does it already:
    then they must not be applied twice.
    """
    mean, std = (_read_numbers(metadata, f"{PREFIX}{key}") for key in ("mean_values", "scale_values"))
    if not mean and not std:
        return
    mean, std = _widen(mean or (0.0,), channels), _widen(std or (1.0,), channels)
    converted = [key for key in ("mean_values", "scale_values") if _is_converted(metadata, key)]
    if front.normalises and _agree(front.mean, mean) and _agree(front.std, std):
        source = "the graph does what Model API's mean_values and scale_values say"
        mean, std = (0.0,) * channels, (1.0,) * channels
    elif front.normalises or front.has_batch_norm or converted or not front.is_understood:
        what = (
            f"conversion noted {converted[0]} too"
            if converted
            else f"the graph begins with {'; '.join(front.steps)}"
        )
        why = f"Model API notes mean {list(mean)}, scale {list(std)}, and {what}: it may be there already"
        yield make_open_line("preprocessing.mean", why, _guess("mean", mean, 0.0))
        yield make_open_line("preprocessing.std", why, _guess("std", std, 1.0))
        return
    else:
        source = _SAYS.format("mean_values and scale_values")
    for key, value in (("pixel_scale", 1.0), ("mean", mean), ("std", std)):
        yield RecordLine(key=f"preprocessing.{key}", value=value, source=source)


def state_model_info_geometry(
    metadata: Mapping[str, str], size: tuple[int, int] | None
) -> Iterator[RecordLine]:
    """Yield how pictures are resized where Model API notes it in a way that a record can say."""
    key = f"{PREFIX}resize_type"
    resize = {"standard": "squash", "fit_to_window_letterbox": "letterbox"}.get(metadata.get(key, ""))
    if (
        resize is None
        or size is None
        or metadata.get(f"{PREFIX}embedded_processing", "").casefold() == "true"
    ):
        return
    source = _SAYS.format("resize_type")
    yield RecordLine(key="preprocessing.resize", value=resize, source=source)
    yield RecordLine(key="preprocessing.resize_size", value=size, source=source)
    by = "Model API resizes by OpenCV, bilinear, where it is not embedded"
    yield RecordLine(key="preprocessing.resize_filter", value="bilinear", source=by, state="guess")
    yield RecordLine(key="preprocessing.sampling", value="opencv", source=by, state="guess")
    if resize == "letterbox":
        shape_key = "crop_size" if size[0] == size[1] else "crop_shape"
        yield RecordLine(
            key=f"preprocessing.{shape_key}", value=size[0] if size[0] == size[1] else size, source=source
        )
        pad = _read_numbers(metadata, f"{PREFIX}pad_value") or (0.0,)
        colour = [int(value) for value in _widen(pad, 3)]
        yield RecordLine(key="preprocessing.pad_colour", value=colour, source=_SAYS.format("pad_value"))


def _is_converted(metadata: Mapping[str, str], key: str) -> bool:
    """Whether the conversion put those values into the graph, where they may have become part of weights."""
    return metadata.get(f"conversion_parameters.{key}", "").strip(" []{}()") not in ("", "None", "False")


def _read_numbers(metadata: Mapping[str, str], key: str) -> Values:
    """The numbers of an entry, separated by blanks or commas; empty where it is none."""
    text = metadata.get(key, "").replace(",", " ").strip(" []")
    try:
        numbers = tuple(float(word) for word in text.split())
    except ValueError:
        return ()
    return numbers if all(math.isfinite(number) for number in numbers) else ()


def _widen(values: Values, count: int) -> Values:
    return values * count if len(values) == 1 else values


def _agree(found: Values, said: Values) -> bool:
    wide = _widen(found, len(said))
    return len(wide) == len(said) and all(
        math.isclose(a, b, rel_tol=_SAME, abs_tol=_SAME) for a, b in zip(wide, said, strict=True)
    )


def _guess(key: str, noted: Values, neutral: float) -> dict[str, str]:
    return {
        "Model API's, if the graph does not have it": f"{key} = {list(noted)}",
        "if it has, with pixel_scale = 1.0": f"{key} = {[neutral] * len(noted)}",
    }
