"""How photographs are shown to a network: the record's preprocessing, and what no record can say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from assay.arrays import Images, Picture, Pixels
from assay.images.decode import decode_image
from assay.images.resize import resize_and_crop
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord

Orientation = Literal[
    "as stored", "as EXIF says", "turned by 180", "turned left", "turned right", "transposed"
]
Layout = Literal["as recorded", "NHWC", "NCHW"]
Decoding = Literal["full size", "half size"]
Family = Literal[
    "labels", "output", "colour", "values", "layout", "orientation", "decoding", "geometry", "filter", "joint"
]
Pictures = NDArray[Any]
"""Resized and cropped, (N, height, width, channels): uint8, or float32 where sampling makes fractions."""

_TURNS: dict[Orientation, Callable[[Pixels], Pixels]] = {
    "turned by 180": lambda pixels: pixels[::-1, ::-1],
    "turned left": lambda pixels: pixels.swapaxes(0, 1)[::-1],
    "turned right": lambda pixels: pixels[::-1].swapaxes(0, 1),
    "transposed": lambda pixels: pixels.swapaxes(0, 1),
}
# What shows a picture upright, by its EXIF orientation (CIPA DC-008, 4.6.4)
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Photograph:
    """An image of the data set, as pixels or as the file that is decoded whenever it is shown.

    Args:
        name: Its relative path.
        stored: uint8 (height, width, 3), RGB, or the encoded file, which can be decoded.
        jpeg: The encoded file where it is a JPEG, which can be decoded at half its size too; empty elsewhere.
        exif_orientation: 1 to 8; 1 where nothing is said.
        label: None without one.
        traits: What can be said of it without a network, such as "greyscale".
    """

    name: str
    stored: Pixels | bytes
    jpeg: bytes = b""
    exif_orientation: int = 1
    label: int | None = None
    traits: Mapping[str, bool] = field(default_factory=dict)

    @property
    def pixels(self) -> Pixels:
        """uint8 (height, width, 3), RGB."""
        return decode_image(self.stored).pixels if isinstance(self.stored, bytes) else self.stored

    @property
    def held_bytes(self) -> int:
        """What it takes of the memory."""
        return len(self.stored) if isinstance(self.stored, bytes) else self.stored.nbytes

    def decode(self, decoding: Decoding) -> Pixels:
        """The pixels; at "half size" as libjpeg's scaled DCT gives them, of JPEGs alone."""
        if decoding == "full size" or not self.jpeg:
            return self.pixels
        height, width, _, _ = simplejpeg.decode_jpeg_header(self.jpeg)
        half: Pixels = simplejpeg.decode_jpeg(
            self.jpeg, colorspace="RGB", min_height=(height + 1) // 2, min_width=(width + 1) // 2
        )
        return half


@dataclass(frozen=True, kw_only=True)
class View:
    """How photographs are shown to a network.

    Args:
        record: The preprocessing, the colour order, and which output is read.
        orientation: How pictures are turned before anything else.
        layout: Other than "as recorded", the values stand in that order in memory, and the network reads
            them in the order that it takes.
        decoding: At which size JPEGs are decoded.
    """

    record: ModelRecord
    orientation: Orientation = "as stored"
    layout: Layout = "as recorded"
    decoding: Decoding = "full size"

    @property
    def resizing(self) -> tuple[object, ...]:
        """What decides the resized pictures: views that agree in it have the same."""
        made, count = self.record.preprocessing, self.record.input.channels
        plain = msgspec.structs.replace(
            made,
            mean=(0.0,) * count,
            std=(1.0,) * count,
            pixel_scale=1.0,
            std_twice=False,
            arithmetic="divide",
        )
        return plain, self.orientation, self.decoding


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"old": "from", "new": "to"}):
    """One thing that differs between two views; `factor` is the record's key where it has one."""

    factor: str
    old: object
    new: object


ELSEWHERE = ("orientation", "layout", "decoding")
"""Factors that neither a record nor labels can say: files are to be changed, or how the network is fed."""
_VALUES = ("pixel_scale", "mean", "std", "arithmetic", "std_twice")


def is_of_record(change: Change) -> bool:
    """Whether the change is the record's: not of the files, their labels, or the layout in memory."""
    return change.factor not in (*ELSEWHERE, "label_order", "label_offset")


def make_images(photographs: Sequence[Photograph], view: View) -> Images:
    """The photographs as the network is given them, float32 (N, channels, height, width)."""
    return normalise_pictures(resize_photographs(photographs, view), view)


def resize_photographs(photographs: Sequence[Photograph], view: View) -> Pictures:
    """The photographs decoded, turned, resized and cropped, (N, height, width, channels)."""
    return np.stack([_resize(photograph, view) for photograph in photographs])


def normalise_pictures(pictures: Pictures, view: View) -> Images:
    """Resized pictures as the network is given them, float32 (N, channels, height, width)."""
    return _misread(normalise_pixels(pictures, view.record), view.layout)


def list_changes(old: View, new: View) -> list[Change]:
    """What differs between two views, in the order of the record."""
    changes = [
        *_compare_structs(old.record.input, new.record.input),
        *_compare_structs(old.record.preprocessing, new.record.preprocessing),
        *_compare_structs(old.record.output, new.record.output, {"name": "output.name"}),
    ]
    for factor in ("orientation", "layout", "decoding"):
        one, other = getattr(old, factor), getattr(new, factor)
        if one != other:
            changes.append(Change(factor=factor, old=one, new=other))
    return changes


def take_over(view: View, other: View, family: Family) -> View:
    """The view with what belongs to one family of hypotheses taken from another view."""
    if family in ("layout", "orientation", "decoding"):
        return replace(view, **{family: getattr(other, family)})
    record, source = view.record, other.record
    if family == "colour":
        tensor = msgspec.structs.replace(record.input, colour_order=source.input.colour_order)
        return replace(view, record=msgspec.structs.replace(record, input=tensor))
    if family == "output":
        return replace(view, record=msgspec.structs.replace(record, output=source.output))
    kept = {key: getattr(record.preprocessing, key) for key in _VALUES}
    if family == "values":
        taken = {key: getattr(source.preprocessing, key) for key in _VALUES}
        made = msgspec.structs.replace(record.preprocessing, **taken)
    else:  # geometry and filter, which depend on each other
        made = msgspec.structs.replace(source.preprocessing, **kept)
    return replace(view, record=msgspec.structs.replace(record, preprocessing=made))


def _compare_structs(
    old: msgspec.Struct, new: msgspec.Struct, names: Mapping[str, str] | None = None
) -> Iterable[Change]:
    for name in old.__struct_fields__:
        one, other = getattr(old, name), getattr(new, name)
        if one != other:
            yield Change(factor=(names or {}).get(name, name), old=one, new=other)


def _resize(photograph: Photograph, view: View) -> Picture:
    turn = _TURNS.get(view.orientation)
    if view.orientation == "as EXIF says":
        turn = _UPRIGHT.get(photograph.exif_orientation)
    pixels = photograph.decode(view.decoding)
    turned = np.ascontiguousarray(turn(pixels)) if turn else pixels
    return resize_and_crop(turned, view.record.preprocessing)


def _misread(images: Images, layout: Layout) -> Images:
    """The values in another order of memory, read as if they stood in the network's own."""
    count, channels, height, width = images.shape
    if layout == "NHWC":
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(images.shape)
    if layout == "NCHW":
        last = images.reshape(count, height, width, channels)
        return np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    return images
