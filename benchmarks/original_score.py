"""The original's scoring as its script does it: one file after the other, value by value.

python benchmarks/original_score.py RESULTS LABELS OUT_DIR NAME.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

TOP_N = 5


def score_value_by_value(results: Path, labels: Path) -> list[float]:
    """Return Top-1 to Top-5 in percent."""
    truths = dict(line.split() for line in labels.read_text().splitlines())
    truths = {name.split(".")[0]: label for name, label in truths.items()}
    hits = np.zeros(TOP_N)
    files = list(results.iterdir())
    for file in files:
        values = file.read_text().strip().split(" ")
        row = np.zeros(len(values), dtype=np.float32)
        for place, value in enumerate(values):
            row[place] = float(value)
        order = np.argsort(-row)
        label = truths[file.name.split(".")[0].rpartition("_")[0]]
        for place in range(TOP_N):
            if str(label) == str(order[place]):
                hits[place] += 1
                break
    return [float(share) for share in 100 * np.cumsum(hits) / len(files)]


def main() -> None:
    """Score a folder and write the result."""
    results, labels, out_dir, name = sys.argv[1:]
    percents = score_value_by_value(Path(results), Path(labels))
    (Path(out_dir) / name).write_text(json.dumps(percents))


if __name__ == "__main__":
    main()
