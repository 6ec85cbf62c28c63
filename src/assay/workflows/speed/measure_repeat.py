"""One repeat of each batch size in a process of its own: `python -m assay.workflows.speed.measure_repeat`."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from assay.arrays import Images
from assay.errors import AssayError, EngineError
from assay.files import make_temporary_folder
from assay.interrupts import end_with_parent
from assay.measure.speed.repeats import OnRepeat, RepeatPlan
from assay.measure.speed.throughput import RepeatResult, measure_compiled


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    compiled_dir: str
    images: str
    plan: RepeatPlan
    parent: int


def measure_in_fresh_processes(
    plans: Mapping[Path, RepeatPlan], images: Images, on_repeat: Mapping[Path, OnRepeat]
) -> dict[Path, list[RepeatResult]]:
    """What repeats found that each loaded the model in a process of its own; the models take turns.

    Args:
        plans: By compiled model; as many repeats of each.
        images: What they are measured on, float32 (N, 3, H, W).
        on_repeat: By compiled model, called after each repeat of a batch size.

    Raises:
        EngineError: A process failed; what it said is in the message.
    """
    results: dict[Path, list[RepeatResult]] = {compiled_dir: [] for compiled_dir in plans}
    with make_temporary_folder("repeat") as folder:
        path = folder / "images.npy"
        np.save(path, images)
        for _ in range(max(plan.repeats for plan in plans.values())):
            for compiled_dir, plan in plans.items():
                once = dataclasses.replace(plan, repeats=1)
                request = _Request(
                    compiled_dir=str(compiled_dir), images=str(path), plan=once, parent=os.getpid()
                )
                result = _run_process(request)
                results[compiled_dir].append(result)
                for size, times in result.times.items():
                    on_repeat[compiled_dir](size, times.repeats[0].images_per_second)
    return results


def _run_process(request: _Request) -> RepeatResult:
    done = subprocess.run(
        [sys.executable, "-m", "assay.workflows.speed.measure_repeat"],
        input=msgspec.json.encode(request),
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode != 0:
        raise EngineError(
            f"a repeat in a fresh process ended with status {done.returncode}: {said or 'it said nothing'}"
        )
    try:
        return msgspec.json.decode(done.stdout, type=RepeatResult)
    except msgspec.DecodeError as error:
        raise EngineError(f"a repeat in a fresh process gave no result: {error}") from error


def main() -> int:
    """Measure what stdin asks for, write the result to stdout, and return the exit status."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=_Request)
    end_with_parent(request.parent)
    try:
        images = np.load(request.images)
        result = measure_compiled(Path(request.compiled_dir), images, request.plan, lambda _size, _rate: None)
    except AssayError as error:
        sys.stderr.write(str(error))
        return error.exit_status
    sys.stdout.buffer.write(msgspec.json.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
