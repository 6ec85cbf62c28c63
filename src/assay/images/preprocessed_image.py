"""An image on its way to the network, or why it failed; imports nothing that reads images."""

from __future__ import annotations

from dataclasses import dataclass

from assay.arrays import Images, Pixels
from assay.images.listing import LabelledImage

OK = "ok"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessedImage:
    """One image on its way to the network.

    Args:
        source: Where it came from.
        image: float32 (channels, height, width), or pixels that are normalised later, uint8 (height, width,
            channels); None where it failed.
        status: `ok`, or the reason it failed.
        note: What was odd about it though it did not fail; mostly empty.
    """

    source: LabelledImage
    image: Images | Pixels | None
    status: str = OK
    note: str = ""
