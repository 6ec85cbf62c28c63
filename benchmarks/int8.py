"""int8 in OpenVINO against float: images per second in turns, and how many answers are float's.

Answers are counted in this processor's own integers and in exact sums, as processors with VNNI add them
(computed in float from the same file). The int8 models are one in half the range of int8, one in the full
range, and two that leave a layer to float, which shows what that layer costs or gains in int8.

    python benchmarks/int8.py [--onnx FLOAT.onnx --images DIR] [--batch-sizes 1,4] [--turns 5] [--seconds 3]

Without `--onnx` it is SE_ResNeXt50 of random weights, made on the spot: its speed does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images
from assay.checkpoint.fitted_network import seed_network
from assay.convert.export_onnx import export_onnx
from assay.convert.quantize import (
    Quantisation,
    list_layers,
    quantize_onnx,
    read_float_onnx,
    read_onnx,
    return_to_float,
    write_onnx,
)
from assay.engines.engine import CompileChoice, Session
from assay.engines.openvino.engine import OpenVinoEngine
from assay.engines.openvino.tensors import compute_outputs
from assay.images.classes import read_classes
from assay.images.sample_images import load_sample_images
from assay.images.sources import index_images
from assay.models.choose_record import choose_record
from assay.models.network_input import make_network_input
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

IMAGE_COUNT = 100
CALIBRATION_COUNT = 16  # without images of one's own
OPSET = 18
FLOAT, HALF, FULL = "float", "int8", "int8, full range"


def main() -> None:
    """Make the models, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--model", default="", help="its model record")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--batch-sizes", default="1,4,8,16,32,64")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.onnx:
            record = choose_record(given.model, given.onnx)
            index = index_images(given.images, read_classes(record)) if given.images else None
            images, source = load_sample_images(record, index, IMAGE_COUNT, print), given.onnx
        else:
            record, source = read_model_record("se_resnext50_32x4d"), folder / "network.onnx"
            images = load_sample_images(record, None, CALIBRATION_COUNT, print)
            export_onnx(seed_network(0).eval(), source, record, OPSET)
        models = make_models(folder, source, record, images)
        count_answers(models, record, images)
        sessions = open_sessions(folder, models, record)
        for size in map(int, given.batch_sizes.split(",")):
            compare(sessions, images, size, given.turns, given.seconds)


def make_models(folder: Path, source: Path, record: ModelRecord, images: Images) -> dict[str, Path]:
    """Quantise the float model in each way; returns the ONNX files by what they are called."""
    original = read_float_onnx(source)
    models = {FLOAT: source, HALF: folder / "half.onnx", FULL: folder / "full.onnx"}
    for name, quantisation in ((HALF, Quantisation()), (FULL, Quantisation(weight_range="full"))):
        say(f"quantising: {name}")
        rows = (image[np.newaxis] for image in images)
        quantize_onnx(original, models[name], rows, record=record, quantisation=quantisation)
    layers = list_layers(original)
    for name, layer in (("first layer in float", layers[0]), ("last layer in float", layers[-1])):
        models[name] = folder / f"{name}.onnx"
        write_onnx(return_to_float(read_onnx(models[HALF]), original, [layer]), models[name])
    return models


def count_answers(models: dict[str, Path], record: ModelRecord, images: Images) -> None:
    """Print how many answers are those of float, and the root mean square error of a logit."""
    fed = make_network_input(images, record)

    def compute(name: str, *, exact: bool = False) -> NDArray[np.float32]:
        outputs = compute_outputs(read_onnx(models[name]).SerializeToString(), fed, in_float=exact)
        return outputs[record.output.name]

    expected = compute(FLOAT)
    print(f"Answers as float, of {len(images)}, and the error of a logit: own integers | exact sums")
    for name in [name for name in models if name != FLOAT]:
        found = [compute(name), compute(name, exact=True)]
        same = [int((each.argmax(1) == expected.argmax(1)).sum()) for each in found]
        errors = [float(np.sqrt(np.square(each - expected).mean())) for each in found]
        print(f"{name:22} {same[0]:>4} {errors[0]:.3f} | {same[1]:>4} {errors[1]:.3f}", flush=True)


def open_sessions(folder: Path, models: dict[str, Path], record: ModelRecord) -> dict[str, Session]:
    """Compile and load each."""
    sessions: dict[str, Session] = {}
    engine = OpenVinoEngine()
    for name, path in models.items():
        compiled = folder / f"compiled {name}"
        compiled.mkdir()
        choice = CompileChoice(precision="fp32" if name == FLOAT else "int8")
        engine.compile(path, compiled, engine.resolve(choice, record))
        sessions[name] = engine.load(compiled)
        say(f"{name}: layers by arithmetic {sessions[name].description.computed_in}")
    return sessions


def compare(sessions: dict[str, Session], images: Images, size: int, turns: int, seconds: float) -> None:
    """Print images per second of all at a batch size, and the medians of the turns' ratios to int8."""
    batch = np.ascontiguousarray(np.resize(images, (size, *images.shape[1:])))
    for session in sessions.values():
        session.run(batch)
    rates: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(turns):
        for name in list(sessions)[:: 1 if turn % 2 else -1]:
            rates[name].append(measure(sessions[name], batch, seconds))
    print(f"Batch {size}: images/s, medians of {turns} turns, and the median ratio to int8")
    for name, found in rates.items():
        ratios = [one / int8 for one, int8 in zip(found, rates[HALF], strict=True)]
        print(f"{name:22} {statistics.median(found):>8.2f} {statistics.median(ratios):>6.2f}", flush=True)


def measure(session: Session, batch: Images, seconds: float) -> float:
    """Return images per second of all callers, each of which begins no call after `seconds`."""
    counts: list[int] = []

    def call() -> None:
        count = 0
        while time.perf_counter() - start < seconds:
            session.run(batch)
            count += 1
        counts.append(count)

    callers = [threading.Thread(target=call) for _ in range(session.concurrency)]
    start = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts) * len(batch) / (time.perf_counter() - start)


def say(text: str) -> None:
    """Show how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
