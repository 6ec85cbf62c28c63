"""JPEG to predictions with the constant engine, against the plain Pillow and numpy steps.

Measured in turn: the original's steps on one thread, which write a `.bin` file for each image; assay's whole
pipeline, predictions written. The engine is given pixels, in one row images that a table normalised. And by
itself: what follows the session, that is ranking, writing and scoring. Images are drawn unless a folder is
given.

    python benchmarks/host_pipeline.py [--images DIR] [--turns 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from original_way import write_bins
from turns import print_rates, take_turns, time_call

from assay.arrays import Images
from assay.engines.constant_engine import ConstantEngine
from assay.engines.engine import CompileChoice, Session
from assay.images.classes import read_classes
from assay.images.drawn_images import draw_labelled_images
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.sources import index_images
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.predictions import make_predictions
from assay.inference.shards import StoredPredictions, cut_shards, write_shard
from assay.measure.accuracy.accuracy import measure_accuracy
from assay.models.read_record import read_model_record

ROUNDS = 5  # over the images in one turn of the pipeline
PLAIN = "original steps, one thread, to .bin"
AFTER = "after the session: rank, write, score"


def main() -> None:
    """Print images per second of both, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    record = read_model_record("se_resnext50_32x4d")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = arguments.images or folder / "images"
        if arguments.images is None:
            draw_labelled_images(images, folder / "labels.txt", image_count=200, seed=0)
        (folder / "model.onnx").write_bytes(b"the constant engine does not read it")
        (folder / "compiled").mkdir()
        engine = ConstantEngine()
        options = engine.resolve(CompileChoice(engine=engine.name), record)
        engine.compile(folder / "model.onnx", folder / "compiled", options)
        by_table = engine.load(folder / "compiled")
        from_pixels = engine.load_for_pixels(folder / "compiled")
        index = index_images(images, read_classes(record))
        shards = cut_shards(index.images * ROUNDS, 1024)
        sources = sorted(images.iterdir())

        def run_pipeline(batch_size: int, session: Session = from_pixels) -> float:
            options = PipelineOptions(batch_size=batch_size)
            count = ROUNDS * len(index.images)

            def run() -> None:
                for shard, predictions in predict_shards(session, shards, record, options, lambda _: None):
                    write_shard(folder / "predictions" / shard.file_name, predictions, "0" * 64)

            return count / time_call(run)

        ways = {
            PLAIN: lambda: len(sources) / time_call(lambda: write_bins(sources, folder / "bins")),
            "assay, batch 1": lambda: run_pipeline(1),
            "assay, batch 16": lambda: run_pipeline(16),
            "assay, batch 64": lambda: run_pipeline(64),
            "assay, batch 16, by table": lambda: run_pipeline(16, by_table),
        }
        print_rates(take_turns(ways, arguments.turns), PLAIN)
        blank: Images = np.empty((3, 224, 224), dtype=np.float32)
        images = [PreprocessedImage(source=source, image=blank) for source in index.images]
        after = {AFTER: lambda: len(images) / time_call(lambda: follow_session(images, folder / "after"))}
        (rates,) = take_turns(after, arguments.turns).values()
        print(f"{AFTER}: {1000 / statistics.median(rates):.3f} ms an image")


def follow_session(images: Sequence[PreprocessedImage], folder: Path) -> None:
    """Rank logits of 1,000 classes in batches of 16, write the predictions, and score them."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 1000)).astype(np.float32)  # (16, classes)
    predictions = [
        prediction
        for start in range(0, len(images), 16)
        for prediction in make_predictions(
            images[start : start + 16], logits[: len(images) - start], keep_logits=False
        )
    ]
    path = folder / "predictions" / "part-00000.parquet"
    write_shard(path, predictions, "0" * 64)
    measure_accuracy(StoredPredictions(paths=[path]))


if __name__ == "__main__":
    main()
