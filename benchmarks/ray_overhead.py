"""What Ray costs: images/s after start-up of one compiled model, by this process and by Ray on this machine.

Evaluates copies of a folder's images, each way in turn, and takes the times at which the parts appeared: the
first part of each actor is start-up, what comes after it is counted. Shards of one image measure what a shard
costs by itself. The ways: local, and ray, which has an actor for each `threads` processors.

    python benchmarks/ray_overhead.py MODEL.onnx MODEL.toml IMAGES --shard-size 512 --shards 5 --threads 2
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def list_copies(images: Path, folder: Path, count: int) -> None:
    """Fill a folder with links to the images, again and again, by names that have labels."""
    originals = sorted(file for file in images.iterdir() if file.suffix.lower() in (".jpeg", ".jpg"))
    folder.mkdir()
    for number in range(count):
        target = originals[number % len(originals)].resolve()
        (folder / f"ILSVRC2012_val_{number + 1:08d}.JPEG").symlink_to(target)


def run_assay(*arguments: object) -> None:
    """Run the command line; what it shows is dropped unless it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "assay", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr)


def measure_rate(run: Path, shard_size: int, actor_count: int) -> float:
    """Return images/s from when every actor had one part to the last part."""
    times = sorted(part.stat().st_mtime for part in (run / "predictions").iterdir())
    return (len(times) - actor_count) * shard_size / (times[-1] - times[actor_count - 1])


def main() -> None:
    """Print images/s of each way, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("record")
    parser.add_argument("images", type=Path)
    parser.add_argument("--shard-size", type=int, default=512)
    parser.add_argument("--shards", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", default="local,ray")
    chosen = parser.parse_args()
    rates = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        list_copies(chosen.images, place / "images", chosen.shard_size * chosen.shards)
        run_assay(
            *("compile", chosen.onnx, place / "compiled", "--model", chosen.record),
            *("--set", f"threads={chosen.threads}"),
        )
        for way in chosen.ways.split(","):
            run = place / way
            more = ["--ray"] if way == "ray" else []
            run_assay(
                *("evaluate", place / "compiled", "--images", place / "images", "--follow-links"),
                *("-o", run, "--shard-size", chosen.shard_size, *more),
            )
            actor_count = len(os.sched_getaffinity(0)) // chosen.threads if way == "ray" else 1
            rates[way] = measure_rate(run, chosen.shard_size, actor_count)
            print(f"{way}: {rates[way]:.1f} images/s, {rates[way] / chosen.shard_size:.2f} shards/s")
    if len(rates) == 2:
        print(f"ray / local: {rates['ray'] / rates['local']:.3f}")


if __name__ == "__main__":
    main()
