"""From JPEG to the network's input: assay's code against Pillow and numpy, on one thread.

For every image the two take turns, so that both meet the same state of the machine; the medians over the
rounds are compared. The bits of both results are compared too. Images are drawn unless a folder is given.

    python benchmarks/resize.py [--images DIR] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from assay.arrays import Images, Pixels
from assay.images.classes import read_classes
from assay.images.decode import decode_image
from assay.images.drawn_images import draw_labelled_images
from assay.images.listing import DEFAULT_READ_OPTIONS, LabelledImage
from assay.images.prepare import prepare_into, preprocess_into
from assay.images.resample import FASTEST
from assay.images.resize import resize_and_crop
from assay.images.sources import index_images
from assay.models.pixel_values import normalise_pixels
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

Step = Callable[[LabelledImage], object]


def main() -> None:
    """Measure the four comparisons, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    record = read_model_record("se_resnext50_32x4d")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.images is None:
            draw_labelled_images(folder / "images", folder / "labels.txt", image_count=100, seed=0)
        sources = index_images(arguments.images or folder / "images", read_classes(record)).images
        print(f"{len(sources)} images, one thread, {arguments.rounds} rounds, by {FASTEST}; ms per image")
        print(f"{'what':<28} {'plain':>7} {'assay':>7} {'ratio':>6}")
        for what, (plain, ours) in make_comparisons(sources, record).items():
            before, after = measure(sources, plain, ours, arguments.rounds)
            print(f"{what:<28} {before:>7.3f} {after:>7.3f} {before / after:>6.2f}", flush=True)


def make_comparisons(sources: tuple[LabelledImage, ...], record: ModelRecord) -> dict[str, tuple[Step, Step]]:
    """Return the plain step and assay's, for each part of the way."""
    size = record.input.height
    row: Images = np.empty((3, size, size), dtype=np.float32)
    pixels = {source.name: decode_image(source.read_bytes()).pixels for source in sources}
    crops = {
        # enlarged to the size that is not resampled: its centre is all that is used
        source.name: np.resize(resize_and_crop(pixels[source.name], record.preprocessing), (256, 256, 3))
        for source in sources
    }

    def make_plainly(decoded: Pixels) -> None:
        row[...] = normalise_pixels(resize_and_crop(decoded, record.preprocessing, "pillow"), record)

    def read_plainly(source: LabelledImage) -> None:
        make_plainly(decode_image(source.read_bytes()).pixels)

    def read_into_row(source: LabelledImage) -> None:
        preprocess_into(source, record, DEFAULT_READ_OPTIONS, row)

    check_bits(sources, row, read_plainly, read_into_row)
    return {
        "resize and crop": (
            lambda source: resize_and_crop(pixels[source.name], record.preprocessing, "pillow"),
            lambda source: resize_and_crop(pixels[source.name], record.preprocessing),
        ),
        "normalise": (
            lambda source: make_plainly(crops[source.name]),
            lambda source: prepare_into(crops[source.name], record, row),
        ),
        "resize, crop and normalise": (
            lambda source: make_plainly(pixels[source.name]),
            lambda source: prepare_into(pixels[source.name], record, row),
        ),
        "file to row of the batch": (read_plainly, read_into_row),
    }


def check_bits(sources: tuple[LabelledImage, ...], row: Images, plain: Step, ours: Step) -> None:
    """End the program where the two make different rows."""
    for source in sources:
        plain(source)
        expected = row.tobytes()
        ours(source)
        if row.tobytes() != expected:
            raise SystemExit(f"{source.name}: the results differ")


def measure(sources: tuple[LabelledImage, ...], plain: Step, ours: Step, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds per image of both, which take turns at every image."""
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        spent = [0.0, 0.0]
        for source in sources:
            for place, step in enumerate((plain, ours)):
                start = time.perf_counter()
                step(source)
                spent[place] += time.perf_counter() - start
        for rate, seconds in zip(rates, spent, strict=True):
            rate.append(seconds / len(sources) * 1000)
    return statistics.median(rates[0]), statistics.median(rates[1])


if __name__ == "__main__":
    main()
