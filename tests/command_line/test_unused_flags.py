"""A flag that nothing would read is refused before any work, not ignored in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import RunAssay

RUN = ("run", "--weights", "m.onnx", "--images", ".")
EVALUATE = ("evaluate", "compiled", "--images", ".")
BENCHMARK = ("benchmark", "compiled")
QUANTIZE = ("quantize", "m.onnx", "int8.onnx", "--calibration", ".")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((*RUN, "--opset", "17"), "--opset has no effect"),
        ((*RUN, "--calibration-count", "8"), "--calibration-count"),
        ((*RUN, "--calibration", "."), "no model is quantised here"),
        ((*RUN, "--keep-float", "*fc*"), "no model is quantised here"),
        ((*RUN, "--compare-with-torch"), "--compare-with-torch needs a checkpoint"),
        ((*RUN, "--stop-error", "0.1"), "--stop-error has no effect without --stop-when-certain"),
        ((*EVALUATE, "--stop-error", "0.1"), "--stop-error has no effect without --stop-when-certain"),
        ((*EVALUATE, "--num-gpus", "1"), "--num-gpus goes with --ray"),
        ((*EVALUATE, "--engine", "torch"), "--engine has no effect on a compiled model"),
        ((*BENCHMARK, "--precision", "int8"), "--precision has no effect on a compiled model"),
        (("predict", "compiled", "--images", ".", "-o", "p.csv", "--model", "m"), "--model has no effect"),
        ((*EVALUATE, "--cpus-per-actor", "2"), "--cpus-per-actor and --resource go with --ray"),
        ((*EVALUATE, "--ray", "--resource", "NPU"), "expected NAME=NUMBER"),
        ((*BENCHMARK, "--labels", "l.txt"), "--labels has no effect without --loadgen and --images"),
        ((*BENCHMARK, "--label-offset", "1"), "--label-offset has no effect"),
        ((*BENCHMARK, "--loadgen-seconds", "5"), "--loadgen-seconds has no effect without --loadgen"),
        ((*BENCHMARK, "--server-latency-ms", "5"), "--server-latency-ms has no effect"),
        (("benchmark", "--import", "t.json", "--batch-size", "4"), "--batch-size has no effect"),
        (("benchmark", "--import", "t.json", "--callers", "4"), "--callers has no effect"),
        (("benchmark", "--import", "t.json", "--max-latency-ms", "4"), "--max-latency-ms has no effect"),
        ((*QUANTIZE, "--labels", "l.txt"), "--labels has no effect without --images"),
        ((*QUANTIZE, "--trust-labels"), "--trust-labels has no effect without --images"),
        (("doctor", "--labels", "l.txt"), "--labels has no effect without --images"),
        (("doctor", "--max-pixels", "9"), "--max-pixels has no effect without --images"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_it_is_a_usage_error_that_names_the_flag(
    run_assay: RunAssay, colour_onnx: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(colour_onnx.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    done = run_assay(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert complaint in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
