"""Scoring a result folder: assay's script against the original's way, each in a process of its own, in turn.

Makes result files of 1,000 values, by default 1,000 of them, where starting takes most of the time.
Tells the seconds that pass, and those of processor time, which other programs disturb less.

    python benchmarks/score_results.py [--files 1000,50000] [--turns 5]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from turns import take_turns

from assay.images.labels import read_canonical_labels

BENCHMARKS = Path(__file__).parent
SCRIPTS = {
    "the original's way": BENCHMARKS / "original_score.py",
    "assay": BENCHMARKS.parent / "scripts" / "modelzoo" / "vision_metric_ImageNet.py",
}


def main() -> None:
    """Print the seconds of both, and the median of the ratios of each turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", default="1000")
    parser.add_argument("--turns", type=int, default=5)
    arguments = parser.parse_args()
    for count in map(int, arguments.files.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _write_results(folder, count)
            ways = {title: partial(_time_script, script, folder) for title, script in SCRIPTS.items()}
            turns = take_turns(ways, arguments.turns)
        for place, clock in enumerate(("passed", "of processor time")):
            _print_clock(
                count, clock, {title: [turn[place] for turn in took] for title, took in turns.items()}
            )


def _print_clock(count: int, clock: str, seconds: dict[str, list[float]]) -> None:
    for title, values in seconds.items():
        spread = f"({min(values):.2f} to {max(values):.2f})"
        print(f"{count:6,} files  {title:20} {statistics.median(values):7.2f} s {clock} {spread}")
    ratios = [plain / own for plain, own in zip(*seconds.values(), strict=True)]
    print(f"{count:6,} files  {'times as fast':20} {statistics.median(ratios):7.2f}")


def _write_results(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    (folder / "results").mkdir()
    lines = []
    for number, label in enumerate(read_canonical_labels()[:count], start=1):
        stem = f"ILSVRC2012_val_{number:08d}"
        text = "".join(f"{value:f} " for value in rng.normal(size=1000))
        (folder / "results" / f"{stem}_0.txt").write_text(text + "\n")
        lines.append(f"{stem}.JPEG {label}\n")
    (folder / "labels.txt").write_text("".join(lines))


def _time_script(script: Path, folder: Path) -> tuple[float, float]:
    """Seconds that passed, and of processor time."""
    arguments = [f"{folder / 'results'}", f"{folder / 'labels.txt'}", f"{folder}", "result.json"]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(  # as it is installed
        [sys.executable, f"{script}", *arguments], check=True, capture_output=True, env=compiled
    )
    passed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
