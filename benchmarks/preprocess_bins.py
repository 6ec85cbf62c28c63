"""Images to `.bin` files: assay against the original script's steps in one process.

Lets both preprocess a folder of images (300 drawn ones where none is given), in turn and five times each.
The original's steps: Pillow decodes and resizes, numpy converts the whole picture to float32 and normalises
it, then it is cropped, and the transposed view is written; a line is printed for each image.

    python benchmarks/preprocess_bins.py [IMAGES]
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from assay.images.drawn_images import draw_labelled_images
from assay.models.read_record import read_model_record
from assay.runs.listener import SILENT
from assay.workflows.modelzoo.preprocess_bins import preprocess_to_bins

IMAGE_COUNT = 300
REPEATS = 5


def preprocess_as_original(images: Path, folder: Path) -> None:
    """Write a `.bin` file for each image, one after the other."""
    folder.mkdir()
    for number, file in enumerate(images.iterdir()):
        name = file.name
        print(f"{name} === {number}")
        picture = Image.open(file).convert("RGB")
        width, height = picture.size
        short = min(width, height)
        size = int(256 * width / short), int(256 * height / short)
        picture = picture.resize(size, Image.Resampling.BILINEAR)
        values = np.array(picture, dtype=np.float32)  # (height, width, 3)
        values /= 255
        values -= np.array([0.485, 0.456, 0.406], dtype=np.float32)
        values /= np.array([0.229, 0.224, 0.225], dtype=np.float32)
        top, left = int((values.shape[0] - 224) / 2), int((values.shape[1] - 224) / 2)
        cropped = values[top : top + 224, left : left + 224]  # (224, 224, 3)
        cropped.transpose(2, 0, 1).tofile(folder / (name.split(".")[0] + ".bin"))  # (3, 224, 224)


def time_call(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print images per second of both, and the ratio of the medians."""
    record = read_model_record("se_resnext50_32x4d")
    original: list[float] = []
    assay: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "images"
        if len(sys.argv) == 1:
            draw_labelled_images(images, folder / "labels.txt", image_count=IMAGE_COUNT, seed=0)
        count = len(list(images.iterdir()))

        def run_original() -> None:
            with Path(os.devnull).open("w") as sink, contextlib.redirect_stdout(sink):
                preprocess_as_original(images, folder / "original")

        def run_assay() -> None:
            preprocess_to_bins(images, folder / "assay", record, "new", SILENT)

        for _ in range(REPEATS):
            original.append(count / time_call(run_original))
            assay.append(count / time_call(run_assay))
            for file in (folder / "original").iterdir():
                assert file.read_bytes() == (folder / "assay" / file.name).read_bytes()
            shutil.rmtree(folder / "original")
            shutil.rmtree(folder / "assay")
    for title, rates in (("original, one process", original), ("assay", assay)):
        print(f"{title:24} {statistics.median(rates):7.1f} images/s ({min(rates):.1f} to {max(rates):.1f})")
    print(f"ratio of the medians: {statistics.median(assay) / statistics.median(original):.2f}")


if __name__ == "__main__":
    main()
