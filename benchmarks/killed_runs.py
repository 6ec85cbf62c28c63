"""Kills `assay run` at random moments of each of its steps and resumes it: is the result the undisturbed one?

By hand: python benchmarks/killed_runs.py FOLDER --kills 200

The chain is a whole one, with export, int8, two compilations, predictions, speed and the reports, on the
smallest network. A process imports everything once and is forked for each run, so that a run costs seconds;
what is killed (SIGKILL) is such a fork, which does nothing but `assay run`. A run is killed four times, in
four of its steps, each time going on with `--resume`; then it ends, and all that must not depend on that is
compared.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow.parquet as pq

TESTS = Path(__file__).resolve().parents[1] / "tests"
# The steps, by the functions of workflows/full_run.py that carry them out; `begin` is all before the first.
STEPS = {
    "_export": "export",
    "_compile": "compile",
    "_quantise": "quantise",
    "_evaluate": "evaluate",
    "benchmark_models": "benchmark",
    "judge_run": "gates",
    "write_report": "report",
}
SHARD_SIZE = 4
KILLS_OF_A_RUN = 4


def main() -> int:
    """Kill, resume, compare and print the table; the exit status is 1 where a result differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    command = prepare(asked.folder)
    moments = random.Random(asked.seed)
    durations = time_steps(command, asked.folder / "undisturbed")
    expected = read_result(asked.folder / "undisturbed")
    killed: collections.Counter[str] = collections.Counter()
    equal: collections.Counter[str] = collections.Counter()
    while killed.total() < asked.kills:
        place = asked.folder / f"run{asked.seed}_{killed.total()}"
        steps = kill_repeatedly(command, place, durations, moments)
        killed.update(steps)
        status = Fork([*command, "-o", str(place), "--resume"]).wait()
        problem = f"exit status {status}" if status else find_difference(expected, read_result(place))
        print(f"{killed.total():4} killed in {', '.join(steps)}: {problem or 'equal'}", flush=True)
        if not problem:
            equal.update(steps)
            shutil.rmtree(place)
    print("\n| killed in | runs | resumed to the same result |\n|---|---:|---:|")
    for step in durations:
        print(f"| {step} | {killed[step]} | {equal[step]} |")
    print(f"| all | {killed.total()} | {equal.total()} |")
    return int(equal != killed)


def kill_repeatedly(
    command: Sequence[str], place: Path, durations: dict[str, float], moments: random.Random
) -> list[str]:
    """Kill a run in four of its steps, and return in which it was still going on."""
    killed = []
    for step in moments.sample(list(durations), KILLS_OF_A_RUN):
        resumed = ["--resume"] if place.exists() else []
        if kill_in(step, moments.random() * durations[step], [*command, "-o", str(place), *resumed]):
            killed.append(step)
    return killed


def prepare(folder: Path) -> list[str]:
    """Write the checkpoint, its record and the images, import what a run needs, and return its command."""
    sys.path.insert(0, str(TESTS))
    importlib.import_module("assay.convert")  # first: it keeps the next two from reporting home
    import nncf  # noqa: F401 - here, so that every fork has it
    import openvino  # noqa: F401
    import torch

    from assay.checkpoint.network import ARCHITECTURES
    from assay.images.drawn_images import draw_labelled_images
    from assay.models.read_record import read_model_record
    from assay.models.write_record import write_record_toml
    from colour_classifier import ColourClassifier, draw_weights

    cast("dict[str, object]", ARCHITECTURES)["colour_classifier"] = ColourClassifier
    record = read_model_record("se_resnext50_32x4d")
    record = msgspec.structs.replace(record, name="colour", architecture="colour_classifier", weights=())
    (folder / "colour.toml").write_text(write_record_toml(record))
    torch.save({"weights": torch.from_numpy(draw_weights())}, folder / "colour.pth")
    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=24, seed=3)
    given = ["--model", folder / "colour.toml", "--weights", folder / "colour.pth"]
    given += ["--images", folder / "images", "--labels", folder / "labels.txt", "--precision", "int8"]
    given += ["--calibration-count", 8, "--batch-size", "1,2", "--repeats", 5, "--seconds", 0.05]
    given += ["--shard-size", SHARD_SIZE, "--gate", "paired:100", "-q"]
    given += ["--set", "inner_batch=1", "--set", "streams=1"]  # else measured, and each run of its own kind
    return ["run", *map(str, given)]


class Fork:
    """A fork of this process that runs a command of assay, and tells when a step begins."""

    def __init__(self, command: Sequence[str]) -> None:
        self._read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._read)
            os._exit(run_command(command, write))
        os.close(write)
        self._told = os.fdopen(self._read)

    def wait_for(self, step: str) -> bool:
        """Wait until the step begins; False where the process ends before."""
        return any(line.strip() == step for line in self._told)

    def list_steps(self) -> list[tuple[str, float]]:
        """The steps as they begin, each with its moment."""
        return [(line.strip(), time.perf_counter()) for line in self._told]

    def wait(self) -> int:
        """The exit status."""
        self._told.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run_command(command: Sequence[str], told: int) -> int:
    """Run a command of assay in this process, with what it says in a file of its own."""
    try:
        log_file = Path(f"{command[command.index('-o') + 1]}.log")
        with Path(os.devnull).open("rb") as nothing, log_file.open("ab") as log:
            for number, file in enumerate((nothing, log, log)):
                os.dup2(file.fileno(), number)
        from assay.command_line.app import main as run_assay
        from assay.workflows import full_run

        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for name, step in STEPS.items():
            setattr(full_run, name, tell_before(step, getattr(full_run, name), told))
        tell(told, "begin")
        return run_assay(command)
    except BaseException:  # noqa: BLE001 - a fork must never go on as its parent
        traceback.print_exc()
        return 99


def tell(told: int, step: str) -> None:
    """Tell the parent that a step begins."""
    with contextlib.suppress(BrokenPipeError):
        os.write(told, f"{step}\n".encode())


def tell_before(step: str, function: Callable[..., Any], told: int) -> Callable[..., Any]:
    """The same function, which tells when it is called."""

    def tell_and_call(*given: Any, **named: Any) -> Any:
        tell(told, step)
        return function(*given, **named)

    return tell_and_call


def time_steps(command: Sequence[str], place: Path) -> dict[str, float]:
    """Carry out an undisturbed run, and return how many seconds each step took, repeated ones in all."""
    shutil.rmtree(place, ignore_errors=True)
    run = Fork([*command, "-o", str(place)])
    steps = run.list_steps()
    end = time.perf_counter()
    if status := run.wait():
        raise SystemExit(f"the undisturbed run ended with {status}:\n{Path(f'{place}.log').read_text()}")
    durations: dict[str, float] = collections.defaultdict(float)
    for (step, start), (_, stop) in zip(steps, [*steps[1:], ("", end)], strict=True):
        durations[step] += stop - start
    print(", ".join(f"{step} {seconds:.1f} s" for step, seconds in durations.items()), flush=True)
    return durations


def kill_in(step: str, delay_s: float, command: Sequence[str]) -> bool:
    """Start the run and kill it so long after the step began; False where it had ended before."""
    run = Fork(command)
    run.wait_for(step)
    time.sleep(delay_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(run.pid, signal.SIGKILL)
    return run.wait() == -signal.SIGKILL


def list_files(place: Path) -> list[str]:
    """What a killed run left behind."""
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) if place.is_dir() else []


def read_result(place: Path) -> dict[str, Any]:
    """What must be the same however often the run was killed: all but times and the machine's state."""
    manifest = msgspec.json.decode((place / "manifest.json").read_bytes())
    kept = ("status", "identity", "image_set", "hashes", "model", "calibration", "gates", "logit_parity")
    benchmark = msgspec.json.decode((place / "benchmark.json").read_bytes())
    found: dict[str, Any] = {key: manifest[key] for key in kept}
    found["metrics.json"] = msgspec.json.decode((place / "metrics.json").read_bytes())
    found["rows of timings"] = [(row["batch_size"], row["clock"]) for row in benchmark["rows"]]
    for folder in ("predictions", "reference"):
        paths = sorted((place / folder).glob("*.parquet"))
        found[folder] = [pq.read_table(path).to_pylist() for path in paths]
    found["model.onnx"] = (place / "model.onnx").read_bytes()
    found["model_int8.onnx"] = (place / "model_int8.onnx").read_bytes()
    found["files"] = [name for name in list_files(place) if not name.startswith(".lock")]
    return found


def find_difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """The first part of the result that differs; empty where none does."""
    return next((key for key in expected if expected[key] != found[key]), "")


if __name__ == "__main__":
    sys.exit(main())
