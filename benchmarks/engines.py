"""Images/s of SE_ResNeXt50 over batch sizes: ours, plain OpenVINO by its hints, others, and the GEMM limit.

The weights are random: speed does not depend on them. Everything takes turns within one run. The limit is
what square matrices reach in the same run, in images of 8.5 GFLOP, by torch or OpenVINO, the faster.

    python benchmarks/engines.py [--batch-size 1,4,16,32,64] [--turns 5] [--seconds 1] [--raw FILE]
                                 [--int8] [--all] [--only NAME] [--job N] [--one-caller]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import openvino
import openvino.opset15 as ops
import torch
from openvino import properties
from openvino.properties import hint
from turns import Load, measure_calls, measure_session, take_turns

from assay.arrays import Images
from assay.checkpoint.fitted_network import seed_network
from assay.convert.export_onnx import export_onnx
from assay.convert.quantize import quantize_onnx, read_onnx
from assay.defaults import DEFAULT_OPSET
from assay.engines.arrays import as_session_input
from assay.engines.engine import CompileChoice, Session
from assay.engines.onnxruntime.engine import OnnxRuntimeEngine
from assay.engines.openvino.engine import OpenVinoEngine
from assay.engines.torch.engine import TorchEngine
from assay.engines.torch.session import TorchSession
from assay.images.sample_images import load_sample_images
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

GFLOP_PER_IMAGE = 8.5
MATRIX_SIDE = 2048
OURS, FROM_PIXELS = "openvino (assay)", "openvino from pixels (assay)"
OURS_INT8, LIMIT = "openvino int8 (assay)", "GEMM limit"
Rates = dict[str, list[float]]
MeasureBatch = Callable[[Images, Load], float]


def main() -> None:
    """Make the sessions, and print a table of medians, of the limit in percent, and of ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--batch-size", default="1,4,16,32,64")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--int8", action="store_true", help="also int8")
    parser.add_argument(
        "--only", default="", help="only engines in whose names this stands: openvino, OpenVINO"
    )
    parser.add_argument("--raw", type=Path, help="where to write what each turn measured, as JSON")
    parser.add_argument("--job", type=int, default=0, help="a job of so many images, instead of --seconds")
    parser.add_argument("--one-caller", action="store_true", help="one batch at a time, as scripts do")
    parser.add_argument("--all", action="store_true", help="also torch, eager and compiled")
    arguments = parser.parse_args()
    load = Load(seconds=arguments.seconds, images=arguments.job, callers=1 if arguments.one_caller else 0)
    sizes = [int(size) for size in arguments.batch_size.split(",")]
    record = read_model_record("se_resnext50_32x4d")
    images = np.tile(load_sample_images(record, None, 16, print), (4, 1, 1, 1))  # (64, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        engines = make_engines(Path(folder), record, images, with_int8=arguments.int8)
        if arguments.all:
            engines |= make_torch(record)
        engines = {name: measure for name, measure in engines.items() if arguments.only in name}
        limit = Multiplication()
        ways = {
            f"{name}@{size}": partial(measure, np.ascontiguousarray(images[:size]), load)
            for size in sizes
            for name, measure in [(LIMIT, limit.measure), *engines.items()]
        }
        rates = take_turns(ways, arguments.turns)
    print(f"median of {arguments.turns} turns; on a busy machine the fastest turn tells more of the engines")
    print_table(rates, [*engines], sizes, statistics.median)
    print("\nfastest turn")
    print_table(rates, [*engines], sizes, max)
    if arguments.raw:
        arguments.raw.write_text(json.dumps(rates), encoding="utf-8")


def make_engines(
    folder: Path, record: ModelRecord, images: Images, *, with_int8: bool
) -> dict[str, MeasureBatch]:
    """Export, compile and load."""
    onnx_path = folder / "float.onnx"
    export_onnx(seed_network(0).eval(), onnx_path, record, DEFAULT_OPSET)
    ours = _load(OpenVinoEngine(), onnx_path, folder / "openvino", record)
    from_pixels = OpenVinoEngine().load_for_pixels(folder / "openvino")
    theirs = _load(OnnxRuntimeEngine(), onnx_path, folder / "onnxruntime", record)
    throughput, latency = hint.PerformanceMode.THROUGHPUT, hint.PerformanceMode.LATENCY
    engines: dict[str, MeasureBatch] = {
        OURS: partial(measure_session, ours),
        FROM_PIXELS: partial(measure_pixels, from_pixels, record),
        "OpenVINO, throughput hint": partial(measure_requests, load_plainly(onnx_path, throughput)),
        "OpenVINO, latency hint": partial(measure_requests, load_plainly(onnx_path, latency)),
        "onnxruntime (assay)": partial(measure_session, theirs),
    }
    if with_int8:
        int8_path = folder / "int8.onnx"
        quantize_onnx(
            read_onnx(onnx_path),
            int8_path,
            (image[np.newaxis] for image in images[:16]),
            record=record,
        )
        int8 = _load(OpenVinoEngine(), int8_path, folder / "int8", record, precision="int8")
        engines[OURS_INT8] = partial(measure_session, int8)
    return engines


def _load(
    engine: OpenVinoEngine | OnnxRuntimeEngine,
    source: Path,
    compiled: Path,
    record: ModelRecord,
    precision: str = "",
) -> Session:
    compiled.mkdir()
    options = engine.resolve(CompileChoice(engine=engine.name, precision=precision), record)
    tuning = engine.compile(source, compiled, options).tuning
    if tuning is not None:
        print(f"{compiled.name}: {tuning.streams} streams, inner batch {tuning.inner_batch}")
    return engine.load(compiled)


def load_plainly(model: Path | openvino.Model, mode: hint.PerformanceMode) -> openvino.CompiledModel:
    """Load a model as OpenVINO's own hint has it."""
    options = {hint.performance_mode: mode, hint.inference_precision: openvino.Type.f32}
    return openvino.Core().compile_model(model, "CPU", options)


def measure_requests(loaded: openvino.CompiledModel, batch: Images, load: Load) -> float:
    """Return images/s with so many requests under way, or as many as OpenVINO asks for."""
    count = load.callers or int(loaded.get_property(properties.optimal_number_of_infer_requests))
    requests = [loaded.create_infer_request() for _ in range(count)]
    calls = [partial(request.infer, [batch], share_inputs=True) for request in requests]
    return measure_calls(calls, len(batch), load)


def make_torch(record: ModelRecord) -> dict[str, MeasureBatch]:
    """The network in torch, eager and compiled."""
    options = TorchEngine().resolve(CompileChoice(engine="torch"), record)
    eager = seed_network(0).eval()
    compiled = torch.compile(seed_network(0).eval(), dynamic=False)
    return {
        "torch eager (assay)": partial(measure_session, TorchSession(eager, options)),
        "torch compiled": partial(measure_session, TorchSession(compiled, options)),
    }


def measure_pixels(session: Session, record: ModelRecord, batch: Images, load: Load) -> float:
    """Return images/s of a session that is given the images' pixels."""
    return measure_session(session, as_session_input(batch, session, record), load)


class Multiplication:
    """One square float32 GEMM after another on all processors, as a network of nothing else would be."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._left, right = rng.standard_normal((2, MATRIX_SIDE, MATRIX_SIDE), dtype=np.float32)
        self._tensors = torch.from_numpy(self._left), torch.from_numpy(right)
        left = ops.parameter([MATRIX_SIDE, MATRIX_SIDE], np.float32)
        product = openvino.Model([ops.matmul(left, ops.constant(right), False, False)], [left])
        self._loaded = load_plainly(product, hint.PerformanceMode.THROUGHPUT)

    def measure(self, _: Images, load: Load) -> float:
        """Return images/s by the faster of the two, each measured for half of the time."""
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        count = int(self._loaded.get_property(properties.optimal_number_of_infer_requests))
        requests = [self._loaded.create_infer_request() for _ in range(count)]
        given = {"share_inputs": True, "share_outputs": True}
        by_openvino = [partial(request.infer, [self._left], **given) for request in requests]
        by_torch = [partial(torch.matmul, *self._tensors)]
        each = Load(seconds=load.seconds / 2)
        products = max(measure_calls(calls, 1, each) for calls in (by_torch, by_openvino))
        return products * 2 * MATRIX_SIDE**3 / (1e9 * GFLOP_PER_IMAGE)


def print_table(
    rates: Rates, names: list[str], sizes: list[int], pick: Callable[[list[float]], float]
) -> None:
    """Print images/s and percent of the limit for each engine and batch size, and our ratio to the others.

    Args:
        rates: What each engine, and the limit, measured at each batch size in each turn.
        names: The engines.
        sizes: The batch sizes.
        pick: Makes one figure of the turns.
    """
    limit = pick([rate for size in sizes for rate in rates[f"{LIMIT}@{size}"]])
    print(f"limit: {limit:.2f} images/s ({limit * GFLOP_PER_IMAGE:.0f} GFLOP/s float GEMM)")
    print(f"{'images/s (% of the limit)':34}" + "".join(f"{f'batch {size}':>15}" for size in sizes))
    picked = {way: pick(values) for way, values in rates.items()}
    for name in names:
        row = [(picked[f"{name}@{size}"], picked[f"{LIMIT}@{size}"]) for size in sizes]
        print(f"{name:34}" + "".join(f"{own:8.2f} ({100 * own / limit:3.0f}%)" for own, limit in row))
    for name in names:
        if name != OURS and OURS in names:
            ratios = [picked[f"{OURS}@{size}"] / picked[f"{name}@{size}"] for size in sizes]
            print(f"{f'ours / {name}':34}" + "".join(f"{ratio:15.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
