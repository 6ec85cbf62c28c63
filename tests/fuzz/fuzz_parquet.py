"""Feeds damaged Parquet files to the index by coverage: any error but our own is a find.

By hand, for as long as you like: python tests/fuzz/fuzz_parquet.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import atheris
import pyarrow
import pyarrow.parquet as pq
from watch import fuzz

with atheris.instrument_imports(include=["assay"]):
    from assay.errors import BadImagesError, SourceError
    from assay.images import read
    from assay.images.classes import IMAGENET_CLASSES
    from assay.images.read import read_image
    from assay.images.sources import index_images

PLACE = Path(tempfile.mkdtemp()) / "data.parquet"
ROWS = [{"bytes": b"one", "path": "a.jpg"}, {"bytes": b"two", "path": "b.jpg"}, None]


def index(content: bytes) -> None:
    PLACE.write_bytes(content)
    found = index_images(PLACE, IMAGENET_CLASSES)
    for image in found.images[:20]:
        with contextlib.suppress(SourceError, BadImagesError):  # fails its shard, or is its status
            read_image(image)


def write_seeds(folder: Path) -> None:
    """Write a small file of every kind of column, to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "structs": {"image": ROWS, "label": [1, 2, None]},
        "bytes": {"jpg": [b"one", b"two", b"two"], "cls": ["crane", "kite", ""]},
        "lists": {
            "img": pyarrow.array([[1, 2], [None], None], pyarrow.list_(pyarrow.uint8())),
            "label": [-1] * 3,
        },
        "dictionary": {"image": ROWS, "label": pyarrow.array(["a", "b", "a"]).dictionary_encode()},
    }
    for name, columns in tables.items():
        for compression in ("none", "zstd", "snappy"):
            path = folder / f"{name}_{compression}"
            pq.write_table(pyarrow.table(columns), path, compression=compression, row_group_size=2)


if __name__ == "__main__":
    read.PAUSES_S = ()  # here, not above: pytest imports this file for its doctests
    fuzz(index, (BadImagesError, SourceError), write_seeds, "-keep_seed=1", "-len_control=0")
