"""How photographs are shown to a network: the record's preprocessing, and what no record can say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from assay.arrays import Images, Pixels
from assay.images.decode import decode_image
from assay.images.prepare import prepare_into
from assay.models.record import ModelRecord

Orientation = Literal[
    "as stored", "as EXIF says", "turned by 180", "turned left", "turned right", "transposed"
]
Layout = Literal["as recorded", "NHWC", "NCHW"]

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
        exif_orientation: 1 to 8; 1 where nothing is said.
        label: None without one.
        traits: What can be said of it without a network, such as "greyscale".
    """

    name: str
    stored: Pixels | bytes
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


@dataclass(frozen=True, kw_only=True)
class View:
    """How photographs are shown to a network.

    Args:
        record: The preprocessing, and the colour order.
        orientation: How pictures are turned before anything else.
        layout: Other than "as recorded", the values stand in that order in memory, and the network reads
            them in the order that it takes.
    """

    record: ModelRecord
    orientation: Orientation = "as stored"
    layout: Layout = "as recorded"


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"old": "from", "new": "to"}):
    """One thing that differs between two views; `factor` is the record's key where it has one."""

    factor: str
    old: object
    new: object


def is_of_record(change: Change) -> bool:
    """Whether the change is the record's: not of the files, their labels, or the layout in memory."""
    return change.factor not in ("orientation", "label_order", "label_offset", "layout")


def make_images(photographs: Sequence[Photograph], view: View) -> Images:
    """The photographs as the network is given them, float32 (N, channels, height, width)."""
    tensor = view.record.input
    images = np.empty((len(photographs), tensor.channels, tensor.height, tensor.width), dtype=np.float32)
    for photograph, row in zip(photographs, images, strict=True):
        prepare_into(_orient(photograph, view.orientation), view.record, row)
    return _misread(images, view.layout)


def list_changes(old: View, new: View) -> list[Change]:
    """What differs between two views, in the order of the record."""
    changes = [
        *_compare_structs(old.record.input, new.record.input),
        *_compare_structs(old.record.preprocessing, new.record.preprocessing),
        *_compare_structs(old.record.output, new.record.output),
    ]
    for factor in ("orientation", "layout"):
        one, other = getattr(old, factor), getattr(new, factor)
        if one != other:
            changes.append(Change(factor=factor, old=one, new=other))
    return changes


def _compare_structs(old: msgspec.Struct, new: msgspec.Struct) -> Iterable[Change]:
    for name in old.__struct_fields__:
        one, other = getattr(old, name), getattr(new, name)
        if one != other:
            yield Change(factor=name, old=one, new=other)


def _orient(photograph: Photograph, orientation: Orientation) -> Pixels:
    turn = _TURNS.get(orientation)
    if orientation == "as EXIF says":
        turn = _UPRIGHT.get(photograph.exif_orientation)
    return np.ascontiguousarray(turn(photograph.pixels)) if turn else photograph.pixels


def _misread(images: Images, layout: Layout) -> Images:
    """The values in another order of memory, read as if they stood in the network's own."""
    count, channels, height, width = images.shape
    if layout == "NHWC":
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(images.shape)
    if layout == "NCHW":
        last = images.reshape(count, height, width, channels)
        return np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    return images
