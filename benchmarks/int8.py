"""Images per second of SE_ResNeXt50 in int8 against float, in OpenVINO, in turns.

Both are made on the spot, of the same random weights: speed does not depend on them. For every batch size
the two take turns, and the medians of the turns are compared.

    python benchmarks/int8.py [--turns 5] [--seconds 3]
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

from assay.arrays import Images
from assay.checkpoint.fitted_network import seed_network
from assay.convert.export_onnx import export_onnx
from assay.convert.quantize import quantize_onnx, read_onnx
from assay.engines.engine import CompileChoice, Session
from assay.engines.openvino.engine import OpenVinoEngine
from assay.images.sample_images import load_sample_images
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

BATCH_SIZES = (1, 4, 8, 16, 32, 64)
CALIBRATION_COUNT = 16
OPSET = 18


def main() -> None:
    """Make both sessions, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    record = read_model_record("se_resnext50_32x4d")
    images = load_sample_images(record, None, CALIBRATION_COUNT, print)
    with tempfile.TemporaryDirectory() as folder:
        sessions = make_sessions(Path(folder), record, images)
        compare(sessions, images, arguments.turns, arguments.seconds)


def make_sessions(folder: Path, record: ModelRecord, images: Images) -> dict[str, Session]:
    """Export, quantise, compile and load; the float session and the int8 one."""
    say("exporting and quantising")
    float_path, int8_path = folder / "float.onnx", folder / "int8.onnx"
    export_onnx(seed_network(0).eval(), float_path, record, OPSET)
    quantize_onnx(
        read_onnx(float_path),
        int8_path,
        (image[np.newaxis] for image in images),
        record=record,
    )
    sessions: dict[str, Session] = {}
    engine = OpenVinoEngine()
    for precision, path in (("fp32", float_path), ("int8", int8_path)):
        (folder / precision).mkdir()
        options = engine.resolve(CompileChoice(precision=precision), record)
        engine.compile(path, folder / precision, options)
        sessions[precision] = engine.load(folder / precision)
        say(f"{precision}: layers by arithmetic {sessions[precision].description.computed_in}")
    return sessions


def compare(sessions: dict[str, Session], images: Images, turns: int, seconds: float) -> None:
    """Print images per second of both for every batch size, and their ratio."""
    print(f"{'batch':>5} {'fp32':>8} {'int8':>8} {'ratio':>6}   images/s, medians of {turns} turns")
    for batch_size in BATCH_SIZES:
        batch = np.ascontiguousarray(np.resize(images, (batch_size, *images.shape[1:])))
        for session in sessions.values():
            measure(session, batch, seconds)  # warm-up
        rates: dict[str, list[float]] = {name: [] for name in sessions}
        for _ in range(turns):
            for name, session in sessions.items():
                rates[name].append(measure(session, batch, seconds))
        fp32, int8 = (statistics.median(rates[name]) for name in ("fp32", "int8"))
        print(f"{batch_size:>5} {fp32:>8.2f} {int8:>8.2f} {int8 / fp32:>6.2f}", flush=True)


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
