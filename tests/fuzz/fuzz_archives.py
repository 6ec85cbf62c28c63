"""Feeds damaged archives to the index by coverage: any error but our own is a find.

By hand, for as long as you like: python tests/fuzz/fuzz_archives.py FOLDER -max_total_time=3600
FOLDER keeps the inputs that were worth keeping; a find is written to ./crash-….
"""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import atheris
from watch import fuzz

with atheris.instrument_imports(include=["assay", "tarfile", "zipfile"]):
    from assay.errors import BadImagesError, SourceError
    from assay.images import read
    from assay.images.classes import IMAGENET_CLASSES
    from assay.images.sources import index_images

NAMES = ("val/ILSVRC2012_val_00000001.JPEG", "n01440764/ILSVRC2012_val_00000002.JPEG", "a.jpg", "a.cls")
PLACE = Path(tempfile.mkdtemp()) / "data.tar"


def index(content: bytes) -> None:
    PLACE.write_bytes(content)
    found = index_images(PLACE, IMAGENET_CLASSES)
    for image in found.images:
        if image.size_bytes < 2**20:
            with contextlib.suppress(
                OSError, SourceError, BadImagesError
            ):  # fails its shard, or is its status
                image.read_bytes()


def write_seeds(folder: Path) -> None:
    """Write a small archive of every kind, to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "tar", "w") as archive:
        for name in NAMES:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"7 \n"))
    (folder / "gzip").write_bytes(gzip.compress((folder / "tar").read_bytes()))
    with zipfile.ZipFile(folder / "zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in NAMES:
            zipped.writestr(name, b"7 \n" * 20)
    (folder / "list").write_text("val/ILSVRC2012_val_00000001.JPEG 65\n")


if __name__ == "__main__":
    read.PAUSES_S = ()  # here, not above: pytest imports this file for its doctests
    fuzz(index, (BadImagesError, SourceError), write_seeds)
