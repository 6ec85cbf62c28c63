"""The photographs of a diagnosis: drawn from the data set, read and decoded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images
from assay.diagnose.view import Photograph, View
from assay.errors import BadImagesError, UndecodableImageError
from assay.files import escape_name
from assay.images.decode import decode_image
from assay.images.jpeg_header import JPEG_MAGIC, find_orientation
from assay.images.listing import LabelledImage, ReadOptions
from assay.images.read import Patience, read_image
from assay.images.sources import ImageIndex
from assay.images.subset import draw_order
from assay.workflows.diagnose.traits import list_traits

_HELD_BYTES = 2**30  # of decoded pixels; what is over that is decoded whenever it is shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Photographs as a network is shown them.

    Args:
        photographs: N of them.
        images: float32 (N, channels, height, width), normalised.
        view: How they are shown.
        classes: The class of each one's label, (N,); None without labels.
    """

    photographs: Sequence[Photograph]
    images: Images
    view: View
    classes: NDArray[np.int64] | None

    @property
    def names(self) -> list[str]:
        """Of the photographs."""
        return [one.name for one in self.photographs]

    @property
    def traits(self) -> list[Mapping[str, bool]]:
        """Of the photographs."""
        return [one.traits for one in self.photographs]


def load_photographs(
    index: ImageIndex, *, labelled: bool, advance: Callable[[int, int], None]
) -> tuple[list[Photograph], list[str]]:
    """The images of an index that can be decoded, in random order, and what is to be said of the others.

    Args:
        index: The images.
        labelled: Whether those without a label are left out.
        advance: Told how many of how many are read.

    Raises:
        BadImagesError: Fewer than two can be decoded.
        SourceError: The place that holds the images failed.
    """
    chosen = [image for image in draw_order(index.images) if not labelled or image.label is not None]
    photographs, faults, patience = [], [], Patience()
    held = 0
    for number, image in enumerate(chosen):
        try:
            photograph = _load(image, index.reading, patience, keep=held < _HELD_BYTES)
        except UndecodableImageError as error:
            faults.append(f"{escape_name(image.relative_path)} ({error})")
        else:
            held += photograph.held_bytes
            photographs.append(photograph)
        advance(number + 1, len(chosen))
    if len(photographs) < 2:
        raise BadImagesError(
            f"--images {index.path}: {len(photographs)} images can be decoded; a diagnosis needs 16 or more",
            hint=faults[0] if faults else "give more images",
        )
    return photographs, _describe_faults(faults, len(chosen))


def _load(image: LabelledImage, reading: ReadOptions, patience: Patience, *, keep: bool) -> Photograph:
    if image.fault:
        raise UndecodableImageError(image.fault)
    encoded = read_image(image, reading, patience)
    pixels = decode_image(encoded, max_pixels=reading.max_pixels).pixels
    is_jpeg = encoded.startswith(JPEG_MAGIC)
    return Photograph(
        name=image.relative_path,
        stored=pixels if keep else encoded,
        jpeg=encoded if is_jpeg else b"",
        exif_orientation=find_orientation(encoded) if is_jpeg else 1,
        label=image.label,
        traits=list_traits(encoded, pixels),
    )


def _describe_faults(faults: Sequence[str], count: int) -> list[str]:
    if not faults:
        return []
    return [f"{len(faults)} of {count} images cannot be decoded and are left out: {', '.join(faults[:3])}"]
