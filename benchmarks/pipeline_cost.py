"""What everything but the model costs: assay's pipeline on the constant engine against plain Pillow.

Draws 200 JPEGs, then measures, in turn and five times each:
- plain: one thread, Pillow to decode and resize, numpy to crop and normalise, nothing else;
- assay: the whole pipeline with the constant engine, predictions written.

    python benchmarks/pipeline_cost.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from assay.engines.base import CompileOptions
from assay.engines.constant_engine import ConstantEngine
from assay.images.drawn_images import draw_labelled_images
from assay.images.label_files import LabelOptions
from assay.images.sources import index_images
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.shards import cut_shards, write_shard
from assay.models.record import read_model_record

IMAGE_COUNT = 200
REPEATS = 5
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def preprocess_plainly(folder: Path) -> None:
    """Decode, resize, crop and normalise every image, one after the other."""
    for file in sorted(folder.iterdir()):
        picture = Image.open(file).convert("RGB")
        width, height = picture.size
        short = min(width, height)
        picture = picture.resize(
            (int(256 * width / short), int(256 * height / short)), Image.Resampling.BILINEAR
        )
        left, top = int((picture.width - 224) / 2), int((picture.height - 224) / 2)
        pixels = np.asarray(picture, dtype=np.float32)[top : top + 224, left : left + 224]
        np.ascontiguousarray(((pixels / 255 - MEAN) / STD).transpose(2, 0, 1))  # (3, 224, 224)


def time_call(call: Callable[[], None]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print images per second of both, and the ratio of the medians."""
    record = read_model_record("se_resnext50_32x4d")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_labelled_images(folder / "images", folder / "labels.txt", image_count=IMAGE_COUNT, seed=0)
        (folder / "model.onnx").write_bytes(b"the constant engine does not read it")
        (folder / "compiled").mkdir()
        engine = ConstantEngine()
        engine.compile(folder / "model.onnx", folder / "compiled", CompileOptions(record=record))
        session = engine.load(folder / "compiled")
        index = index_images(folder / "images", record.label_count, LabelOptions(path=folder / "labels.txt"))
        shards = cut_shards(index.images, 1024)
        options = PipelineOptions(batch_size=16)

        def run_pipeline() -> None:
            for shard, predictions in predict_shards(session, shards, record, options, lambda _: None):
                write_shard(folder / "predictions" / shard.file_name, predictions, "0" * 64)

        plain: list[float] = []
        assay: list[float] = []
        for _ in range(REPEATS):
            plain.append(IMAGE_COUNT / time_call(lambda: preprocess_plainly(folder / "images")))
            assay.append(IMAGE_COUNT / time_call(run_pipeline))
    for title, rates in (("plain Pillow, one thread", plain), ("assay, constant engine", assay)):
        print(f"{title:28} {statistics.median(rates):7.1f} images/s ({min(rates):.1f} to {max(rates):.1f})")
    print(f"ratio of the medians: {statistics.median(assay) / statistics.median(plain):.2f}")


if __name__ == "__main__":
    main()
