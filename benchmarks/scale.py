"""Peak memory and time of index, run, score, report and resume by number of images, fitted and extrapolated.

Data sets are hard links to one small JPEG in 1,000 class folders; the engine is `constant`, so that what is
measured is all but the network. Each step runs in a process of its own, whose VmHWM is its peak: ru_maxrss is
taken over from the process that started it.

    python benchmarks/scale.py --sizes 10000,30000,100000,300000,1000000 --place /tmp/scale
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

STEPS = ("index", "run", "score", "report", "resume")
EXTRAPOLATED = (14_000_000, 100_000_000)
SIDE = 32
MOST_LINKS = 1000  # of one file; file systems allow 65,000 or so
RECORD = f"""schema_version = 1
name = "tiny"
architecture = "onnx only"

[input]
name = "image"
channels = 3
height = {SIDE}
width = {SIDE}
colour_order = "RGB"

[preprocessing]
resize = "squash"
resize_size = [{SIDE}, {SIDE}]
resize_filter = "bilinear"
crop_size = {SIDE}
crop_rounding = "torchvision"
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[output]
name = "class"
class_count = 1000
"""


def make_images(folder: Path, count: int) -> None:
    """Fill 1,000 class folders with links to one JPEG; a folder that is there stays."""
    from PIL import Image

    from assay.images.labels import read_synsets

    if folder.exists():
        return
    content = io.BytesIO()
    Image.fromarray((np.arange(SIDE * SIDE * 3) % 251).astype("uint8").reshape(SIDE, SIDE, 3)).save(
        content, "JPEG"
    )
    made, each = 0, -(-count // 1000)
    for synset in read_synsets():
        (folder / synset).mkdir(parents=True)
        for number in range(min(each, count - made)):
            target = folder / synset / f"{synset}_{number}.JPEG"
            if number % MOST_LINKS == 0:
                target.write_bytes(content.getvalue())
                first = target
            else:
                os.link(first, target)
        made += min(each, count - made)


def make_model(place: Path) -> Path:
    """Write an ONNX file and its record, and compile it for the engine `constant`."""
    import onnx  # in the steps' own processes it would count
    from onnx import TensorProto, helper, numpy_helper

    weights = np.zeros((3, 1000), dtype=np.float32)
    shapes = [("image", ["batch", 3, SIDE, SIDE]), ("class", ["batch", 1000])]
    given, made = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in shapes)
    steps = [("GlobalAveragePool", ["image"], "mean"), ("Flatten", ["mean"], "flat")]
    nodes = [helper.make_node(step, inputs, [output]) for step, inputs, output in steps]
    nodes.append(helper.make_node("MatMul", ["flat", "weights"], ["class"]))
    graph = helper.make_graph(nodes, "tiny", given, made, [numpy_helper.from_array(weights, "weights")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(place / "tiny.onnx"),
    )
    (place / "tiny.toml").write_text(RECORD)
    compiled = place / "compiled"
    if not compiled.exists():
        command = [
            "compile",
            place / "tiny.onnx",
            compiled,
            "--engine",
            "constant",
            "--model",
            place / "tiny.toml",
        ]
        subprocess.run([sys.executable, "-m", "assay", *map(str, command)], check=True, capture_output=True)
    return compiled


def run_assay(*arguments: object) -> None:
    """Run a command in this process; what it shows is dropped unless it fails."""
    from assay.command_line.app import main

    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        status = main([*map(str, arguments), "-q"])
    if status:
        raise SystemExit(shown.getvalue())


def score(run: Path) -> None:
    """Compute the metrics of a run anew from its Parquet files."""
    from assay.runs.results_file import Manifest, read_result
    from assay.runs.stored import PredictedRun
    from assay.workflows.results.metrics import compute_metrics

    compute_metrics(PredictedRun.from_manifest(run, read_result(run, Manifest)))


def take_step(step: str, place: Path, count: int) -> None:
    """Take one step, and print its times and this process's peak memory as JSON."""
    images, run = place / f"images-{count}", place / f"run-{count}"
    evaluate = ("evaluate", place / "compiled", "--images", images, "-o", run)
    steps: dict[str, Callable[[], None]] = {
        "index": lambda: run_assay("index", images, "-o", place / f"{count}.arrow"),
        "run": lambda: run_assay(*evaluate, "--overwrite"),
        "score": lambda: score(run),
        "report": lambda: run_assay("report", run),
        "resume": lambda: run_assay(*evaluate, "--resume"),
    }
    begin, begin_cpu = time.perf_counter(), time.process_time()
    steps[step]()
    seconds, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
    status = Path("/proc/self/status").read_text().splitlines()
    peak_kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_mib": peak_kib / 1024}))


def measure(step: str, place: Path, count: int) -> dict[str, float]:
    """Take a step in a process of its own; gives its seconds, processor time and peak memory."""
    command = [sys.executable, __file__, "--place", str(place), "--sizes", str(count), "--step", step]
    pool = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # as the command line has it
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | pool)
    if done.returncode:
        raise SystemExit(f"{step} of {count:,} images failed: {done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_fit(step: str, peaks: dict[int, float]) -> None:
    """Print the line through the peaks, and where it leads."""
    slope, base = np.polyfit([*peaks], [*peaks.values()], 1)
    ahead = " | ".join(f"{base + slope * count:,.0f}" for count in EXTRAPOLATED)
    print(f"| {step} | {base:,.0f} | {slope * 2**20:,.0f} | {ahead} |")


def main() -> None:
    """Print a table of times and peaks, and the fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,30000,100000,300000,1000000")
    parser.add_argument("--place", type=Path, required=True, help="folder for images and runs; it stays")
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    sizes = [int(size) for size in chosen.sizes.split(",")]
    if chosen.step:
        take_step(chosen.step, chosen.place, sizes[0])
        return
    chosen.place.mkdir(parents=True, exist_ok=True)
    make_model(chosen.place)
    peaks: dict[str, dict[int, float]] = {step: {} for step in chosen.steps.split(",")}
    print("| images | step | seconds | processor s | images/s | peak MiB |\n|---:|---|---:|---:|---:|---:|")
    for count in sizes:
        make_images(chosen.place / f"images-{count}", count)
        time.sleep(2.5)  # what was written to a moment ago is listed again
        for step, found in peaks.items():
            one = measure(step, chosen.place, count)
            found[count] = one["peak_mib"]
            rate = count / one["seconds"]
            print(
                f"| {count:,} | {step} | {one['seconds']:.1f} | {one['cpu_s']:.1f} | {rate:,.0f} | "
                f"{one['peak_mib']:.0f} |",
                flush=True,
            )
    print("\n| step | MiB at 0 | bytes an image | MiB at 14 million | MiB at 100 million |")
    print("|---|---:|---:|---:|---:|")
    for step, found in peaks.items():
        if len(found) > 1:
            print_fit(step, found)


if __name__ == "__main__":
    main()
