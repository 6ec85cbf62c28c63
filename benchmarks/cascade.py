"""Images per second of SE_ResNeXt50 as a cascade of int8 and float, against float alone, in turns.

Both are made on the spot, of the same seeded weights; the threshold hands on the share that is asked for, and
every turn runs all of the same images. Float also runs in ONNX Runtime and torch, and the best
of the three is what the cascade is compared with. CPU seconds are those of the whole process: on a machine
that others use too they tell more than the clock on the wall.

    python benchmarks/cascade.py [--share 15] [--turns 5] [--images 96] [--batch 8]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from assay.arrays import Images
from assay.checkpoint.fitted_network import save_checkpoint, seed_network
from assay.convert.export_onnx import export_onnx
from assay.convert.quantize import quantize_onnx, read_float_onnx
from assay.engines.cascade.compose import describe_cascade, name_compiled, write_cascade
from assay.engines.cascade.margins import compute_margins
from assay.engines.cascade.record import CascadeCount, CascadeRecord
from assay.engines.catalog import find_engine
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileChoice, Session
from assay.images.sample_images import load_sample_images
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

CALIBRATION_COUNT = 16
OPSET = 18
FLOAT = ("openvino fp32", "onnxruntime fp32", "torch fp32")


def main() -> None:
    """Make the models, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--share", type=float, default=15.0)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the models are made, or were")
    arguments = parser.parse_args()
    record = read_model_record("se_resnext50_32x4d")
    images = load_sample_images(record, None, arguments.images, print)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        dirs = make_models(folder, record, images)
        cascade = compose(folder, dirs["openvino int8"], dirs["openvino fp32"], images, arguments.share)
        sessions = {name: find_engine(name.split()[0]).load(path) for name, path in dirs.items()}
        sessions["cascade"] = find_engine("cascade").load(cascade)
        compare(sessions, images, arguments.batch, arguments.turns)
        for session in sessions.values():
            session.close()


def make_models(folder: Path, record: ModelRecord, images: Images) -> dict[str, Path]:
    """Export, quantise and compile what is not there yet; the compiled models by name."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, float_path, int8_path = (folder / name for name in ("weights.pth", "float.onnx", "int8.onnx"))
    if not int8_path.exists():
        say("exporting and quantising")
        network = seed_network(0).eval()
        save_checkpoint(network, checkpoint)
        export_onnx(network, float_path, record, OPSET)
        quantize_onnx(
            read_float_onnx(float_path),
            int8_path,
            [image[np.newaxis] for image in images[:CALIBRATION_COUNT]],
            record=record,
            preset="mixed",
            float_layers=[],
        )
    dirs = {}
    for name in ("openvino int8", *FLOAT):
        engine_name, precision = name.split()
        dirs[name] = folder / name.replace(" ", "_")
        if not dirs[name].exists():
            say(f"compiling {name}")
            engine = find_engine(engine_name)
            source = (
                checkpoint
                if engine.source == "checkpoint"
                else {"int8": int8_path}.get(precision, float_path)
            )
            dirs[name].mkdir()
            engine.compile(
                source,
                dirs[name],
                engine.resolve(CompileChoice(engine=engine_name, precision=precision), record),
            )
    return dirs


def compose(folder: Path, fast_dir: Path, exact_dir: Path, images: Images, share: float) -> Path:
    """A cascade that hands on that share of the images, in percent."""
    fast, exact = read_compiled_json(fast_dir), read_compiled_json(exact_dir)
    with closing(find_engine(fast.engine).load(fast_dir)) as session:
        margins = np.concatenate(
            [compute_margins(session.run(image[np.newaxis]), "logits") for image in images]
        )
    handed_on = round(share / 100 * len(images))
    threshold = float(np.sort(margins)[handed_on - 1]) if handed_on else 0.0
    say(f"{handed_on} of {len(images)} images are handed on: {100 * handed_on / len(images):.1f} %")
    nothing = CascadeCount(
        image_count=0,
        failed_count=0,
        fast_different_count=0,
        different_count=0,
        handed_on_count=0,
        upper_percent=None,
    )
    record = CascadeRecord(
        fast=name_compiled(fast),
        exact=name_compiled(exact),
        scores="logits",
        threshold=threshold,
        max_different_percent=0.1,
        noise_threshold=threshold,
        counted_threshold=threshold,
        chosen_on=nothing,
        stated=nothing,
        needed_count=2995,
    )
    cascade = Path(tempfile.mkdtemp(dir=folder))
    write_cascade(fast_dir, exact_dir, cascade, describe_cascade(fast, exact), record)
    return cascade


def compare(sessions: dict[str, Session], images: Images, batch_size: int, turns: int) -> None:
    """Print images/s and CPU seconds for an image of each, and its ratio to the best float peer by turn."""
    batches = [images[start : start + batch_size] for start in range(0, len(images), batch_size)]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for turn in range(turns + 1):
        for name, session in sessions.items():
            measured = measure(session, batches)
            if turn:  # the first is the warm-up
                found[name].append(measured)
        say(f"turn {turn} of {turns}")
    best_by_turn = [min(found[name][turn] for name in FLOAT) for turn in range(turns)]
    best_cpu = [min(found[name][turn][1] for name in FLOAT) for turn in range(turns)]
    print(f"{'':18} {'images/s':>9} {'x best float':>13} {'CPU ms/image':>13} {'x best float':>13}")
    for name, rows in found.items():
        wall, cpu = (statistics.median(row[place] for row in rows) for place in (0, 1))
        ratio = statistics.median(best[0] / row[0] for best, row in zip(best_by_turn, rows, strict=True))
        cpu_ratio = statistics.median(best / row[1] for best, row in zip(best_cpu, rows, strict=True))
        count = len(images)
        print(f"{name:18} {count / wall:9.2f} {ratio:13.2f} {1000 * cpu / count:13.1f} {cpu_ratio:13.2f}")


def measure(session: Session, batches: Sequence[Images]) -> tuple[float, float]:
    """Wall seconds and CPU seconds of a job: all batches, each by whichever caller is free."""
    waiting = iter(batches)
    lock = threading.Lock()

    def call() -> None:
        while True:
            with lock:
                batch = next(waiting, None)
            if batch is None:
                return
            session.run(batch)

    callers = [threading.Thread(target=call) for _ in range(session.concurrency)]
    start, cpu = time.perf_counter(), time.process_time()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return time.perf_counter() - start, time.process_time() - cpu


def say(text: str) -> None:
    """Show how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
