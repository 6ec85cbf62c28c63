"""Seconds until assay answers: `assay --help`, `import assay`, loading a compiled model and its first call.

python benchmarks/startup.py [--turns 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from turns import take_turns, time_call

from assay.checkpoint.fitted_network import seed_network
from assay.convert.export_onnx import export_onnx
from assay.defaults import DEFAULT_OPSET
from assay.engines.engine import CompileChoice
from assay.engines.openvino.engine import OpenVinoEngine
from assay.models.read_record import read_model_record

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


def main() -> None:
    """Print the median of each, and its range."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--turns", type=int, default=7)
    turns = parser.parse_args().turns
    record = read_model_record("se_resnext50_32x4d")
    with tempfile.TemporaryDirectory() as name:
        onnx_path, compiled = Path(name) / "model.onnx", Path(name) / "compiled"
        export_onnx(seed_network(0).eval(), onnx_path, record, DEFAULT_OPSET)
        compiled.mkdir()
        engine = OpenVinoEngine()
        engine.compile(onnx_path, compiled, engine.resolve(CompileChoice(), record))
        ways = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import assay": [sys.executable, "-c", "import assay"],
            "assay --help": [sys.executable, "-m", "assay", "--help"],
            "load SE_ResNeXt50 in OpenVINO": [sys.executable, "-c", LOAD, str(compiled)],
            "load and first call": [sys.executable, "-c", LOAD + FIRST_CALL, str(compiled)],
        }
        seconds = take_turns({name: lambda way=way: _time_process(way) for name, way in ways.items()}, turns)
    for title, values in seconds.items():
        print(f"{title:34} {statistics.median(values):6.2f} s ({min(values):.2f} to {max(values):.2f})")


def _time_process(arguments: list[str]) -> float:
    return time_call(lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL))


if __name__ == "__main__":
    main()
