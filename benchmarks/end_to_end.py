"""A folder of JPEGs to metrics: assay against the original way with the same runtime, and the session alone.

The original way: all images to `.bin`, then inference in batches, then text results, then scoring. Once with
SE_ResNeXt50 in OpenVINO (random weights), once with a stand-in chip: the constant engine, which holds every
batch as long as an Ascend 310 is published to.

    python benchmarks/end_to_end.py [--images DIR] [--turns 3] [--chip-only] [--decode-threads 1,2,4]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from original_way import infer_to_texts, score_texts, write_bins
from turns import Load, measure_session, print_rates, take_turns, time_call

from assay.checkpoint.fitted_network import seed_network
from assay.convert.export_onnx import export_onnx
from assay.defaults import DEFAULT_OPSET
from assay.engines.arrays import as_session_input
from assay.engines.constant_engine import ConstantEngine
from assay.engines.engine import CompileChoice, Session
from assay.engines.openvino.engine import OpenVinoEngine
from assay.images.classes import read_classes
from assay.images.drawn_images import draw_labelled_images
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex, index_images
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.shards import StoredPredictions, cut_shards, write_shard
from assay.measure.accuracy.accuracy import measure_accuracy
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

BATCH_SIZE = 16
CHIP = "1113"  # images/s of an Ascend 310 at batch 16, as published by the ModelZoo
ORIGINAL, ALONE = "the original way", "the session alone, on ready arrays"


def main() -> None:
    """Print images/s of each way with each runtime, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--chip-only", action="store_true")
    parser.add_argument("--decode-threads", default="", help="also with so many, such as 1,2,4")
    arguments = parser.parse_args()
    decoders = [int(count) for count in arguments.decode_threads.split(",") if count]
    record = read_model_record("se_resnext50_32x4d")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = arguments.images or folder / "images"
        if arguments.images is None:
            draw_labelled_images(images, folder / "labels.txt", image_count=160, seed=0)
        index = index_images(images, read_classes(record))
        print("stand-in chip")
        chip = _load(ConstantEngine(), folder, record, {"images_per_second": CHIP})
        compare(chip, index, images, record, folder, arguments.turns, rounds=5, decoders=decoders)
        if not arguments.chip_only:
            print("SE_ResNeXt50 in OpenVINO")
            network = _load(OpenVinoEngine(), folder, record, {})
            compare(network, index, images, record, folder, arguments.turns, rounds=1, decoders=decoders)


def _load(
    engine: ConstantEngine | OpenVinoEngine, folder: Path, record: ModelRecord, settings: dict[str, str]
) -> tuple[Session, Session]:
    """Return a session for images, which the original way has, and one for pictures."""
    onnx_path, compiled = folder / "model.onnx", folder / engine.name
    if not onnx_path.exists():
        export_onnx(seed_network(0).eval(), onnx_path, record, DEFAULT_OPSET)
    compiled.mkdir()
    choice = CompileChoice(engine=engine.name, settings=settings)
    engine.compile(onnx_path, compiled, engine.resolve(choice, record))
    return engine.load(compiled), engine.load_for_pixels(compiled)


def compare(  # noqa: PLR0913 - a script's one call
    sessions: tuple[Session, Session],
    index: ImageIndex,
    images: Path,
    record: ModelRecord,
    folder: Path,
    turns: int,
    *,
    rounds: int,
    decoders: Sequence[int],
) -> None:
    """Print images/s of the original way, of assay (over `rounds` times the images), of the session alone.

    Assay is measured with as many decoders as it chooses by itself, and with those numbers.
    """
    for_files, session = sessions
    sources = sorted(images.iterdir())
    labels = {source.stem: 0 for source in sources}
    ready = as_session_input(load_sample_images(record, index, BATCH_SIZE, print), session, record)
    shards = cut_shards(index.images * rounds, 1024)

    def run_original() -> None:
        bins = write_bins(sources, folder / "bins")
        infer_to_texts(for_files, bins, BATCH_SIZE, folder / "texts")
        score_texts(folder / "texts", labels)

    def run_assay(decode_threads: int) -> None:
        options = PipelineOptions(batch_size=BATCH_SIZE, decode_threads=decode_threads)
        for shard, predictions in predict_shards(session, shards, record, options, lambda _: None):
            write_shard(folder / "predictions" / shard.file_name, predictions, "0" * 64)
        paths = [folder / "predictions" / shard.file_name for shard in shards]
        measure_accuracy(StoredPredictions(paths=paths))

    ways = {
        ORIGINAL: lambda: len(sources) / time_call(run_original),
        **{
            f"assay, {count} decoders" if count else "assay": lambda count=count: (
                rounds * len(index.images) / time_call(lambda: run_assay(count))
            )
            for count in (0, *decoders)
        },
        ALONE: partial(measure_session, session, ready, Load(seconds=3)),
    }
    rates = take_turns(ways, turns)
    print_rates(rates, ORIGINAL)
    print_rates({name: rates[name] for name in ways if name != ORIGINAL}, ALONE)


if __name__ == "__main__":
    main()
