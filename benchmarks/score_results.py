"""Scoring a result folder: assay against parsing value by value, as the original script does.

Makes 10,000 result files of 1,000 values, then lets both score them, in turn and three times each.

    python benchmarks/score_results.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from assay.images.labels import read_canonical_labels
from assay.runs.listener import SILENT
from assay.workflows.modelzoo.score import score_results

FILE_COUNT = 10_000
REPEATS = 3


def score_value_by_value(results: Path, labels: dict[str, int]) -> float:
    """Return Top-1 in percent."""
    hits = 0
    files = list(results.iterdir())
    for file in files:
        values = np.array([np.float32(text) for text in file.read_text().strip().split(" ")])
        hits += int(np.argsort(-values)[0]) == labels[file.name.rsplit("_", 1)[0]]
    return 100 * hits / len(files)


def time_call(call: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Print results per second of both, and the ratio of the medians."""
    rng = np.random.default_rng(0)
    canonical = read_canonical_labels()[:FILE_COUNT]
    labels = {f"ILSVRC2012_val_{number:08d}": label for number, label in enumerate(canonical, start=1)}
    plain: list[float] = []
    assay: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "results").mkdir()
        for stem in labels:
            text = "".join(f"{value:f} " for value in rng.normal(size=1000))
            (folder / "results" / f"{stem}_0.txt").write_text(text + "\n")
        lines = (f"{stem}.JPEG {label}\n" for stem, label in labels.items())
        (folder / "labels.txt").write_text("".join(lines))

        def run_assay() -> None:
            score_results(
                folder / "results",
                folder / "labels.txt",
                folder / "result.json",
                SILENT,
            )

        for _ in range(REPEATS):
            plain.append(FILE_COUNT / time_call(lambda: score_value_by_value(folder / "results", labels)))
            assay.append(FILE_COUNT / time_call(run_assay))
    for title, rates in (("value by value", plain), ("assay", assay)):
        print(f"{title:16} {statistics.median(rates):8.0f} files/s ({min(rates):.0f} to {max(rates):.0f})")
    print(f"ratio of the medians: {statistics.median(assay) / statistics.median(plain):.2f}")


if __name__ == "__main__":
    main()
