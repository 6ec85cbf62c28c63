"""Seconds until assay answers, and what each command has imported once it has done its work on tiny input.

python benchmarks/startup.py [--turns 7]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from turns import take_turns, time_call

from assay.checkpoint.fitted_network import save_checkpoint, seed_network
from assay.images.drawn_images import draw_labelled_images

HEAVY = (
    "PIL", "cyclopts", "jinja2", "nncf", "numpy", "onnx", "onnxruntime", "openvino", "pandas", "pyarrow",
    "pyarrow.compute", "ray", "rich", "scipy", "timm", "torch", "torchvision", "transformers",
)  # fmt: skip
MODEL = "se_resnext50_32x4d"
LOAD = """
import sys
from pathlib import Path
from assay.engines.openvino.engine import OpenVinoEngine
session = OpenVinoEngine().load(Path(sys.argv[1]))
"""
FIRST_CALL = """
import numpy as np
session.run(np.zeros((1, 3, 224, 224), dtype=np.float32))
"""
WORK = """
import json, sys
from assay.command_line.app import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]))
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def main() -> None:
    """Print the median of each, and its range; and the imports of each command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_labelled_images(folder / "images", folder / "labels.txt", image_count=16, seed=0)
        save_checkpoint(seed_network(0).eval(), folder / "weights.pth")
        for command, arguments in _list_commands().items():
            _print_imports(command, arguments, folder)
        compiled = f"{folder / 'compiled'}"
        python = partial(_time_process, folder)
        ways = {
            "python -c pass": ["-c", "pass"],
            "import assay": ["-c", "import assay"],
            "assay --help": ["-m", "assay", "--help"],
            "assay models": ["-m", "assay", "models"],
            "load SE_ResNeXt50 in OpenVINO": ["-c", LOAD, compiled],
            "load and first call": ["-c", LOAD + FIRST_CALL, compiled],
        }
        seconds = take_turns({name: partial(python, way) for name, way in ways.items()}, turns)
    for title, values in seconds.items():
        print(f"{title:34} {statistics.median(values):6.2f} s ({min(values):.2f} to {max(values):.2f})")


def _list_commands() -> Mapping[str, Sequence[str]]:
    """The arguments of each command, in the order in which one makes what the next reads."""
    images = ["--images", "images", "--labels", "labels.txt", "--trust-labels"]
    quick = ["--repeats", "5", "--seconds", "0.1", "--batch-size", "1"]
    lines = {
        "models": [],
        "engines": [],
        "doctor": images,
        "export": ["weights.pth", "model.onnx", "--model", MODEL],
        "inspect": ["model.onnx"],
        "compile": ["model.onnx", "compiled"],
        "quantize": ["model.onnx", "int8.onnx", "--calibration", "images", "--calibration-count", "8"],
        "evaluate": ["compiled", *images, "-o", "one"],
        "benchmark": ["compiled", *quick, "-o", "speed"],
        "report": ["one"],
        "compare": ["one", "one"],
        "agree": ["compiled", "one", *images],
        "bundle": ["one", "one.zip"],
        "verify": ["one.zip"],
        "diagnose": ["model.onnx", "--model", MODEL, *images, "--only", "record"],
        "preprocess": ["images", "bins", "--model", MODEL],
        "info": ["bin", "bins", "bins.info", "224", "224"],
        "infer": ["compiled", "-i", "bins", "-o", ".", "--output-dirname", "results"],
        "score": ["results", "labels.txt", ".", "--trust-labels"],
        "run": ["--weights", "weights.pth", "--model", MODEL, *images, *quick, "-o", "run"],
    }
    return {name: [name, *line] for name, line in lines.items()}


def _print_imports(command: str, arguments: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK, *arguments, "-q"],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    status, modules = json.loads(done.stdout.splitlines()[-1])
    ended = "" if status in (0, 1, 3, 6) else f"  status {status}: {done.stderr.strip()[:200]}"
    heavy = " ".join(name for name in HEAVY if name in modules)
    print(f"{command:11} {len(modules):5} modules: {heavy}{ended}", flush=True)


def _time_process(folder: Path, arguments: Sequence[str]) -> float:
    run = partial(subprocess.run, cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time_call(lambda: run([sys.executable, *arguments]))


if __name__ == "__main__":
    main()
