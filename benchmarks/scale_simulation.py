"""How long a run takes on 1 to 1,000 nodes: a discrete simulation from what was measured on one machine.

Nodes take shards one at a time. A node is busy for the shard's images plus what a shard costs by itself; the
driver hands out one shard after the other, and is busy with each for a while. Nodes differ by up to 5 %, and
one takes twice as long. What is not in it: the network and the store that images come from.

    python benchmarks/scale_simulation.py --images-per-second 100 --shard-s 0.1 --driver-s 0.01
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass

NODE_COUNTS = (1, 10, 100, 300, 1000)
IMAGE_COUNTS = (50_000, 10_000_000)


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What was measured, in seconds."""

    image_s: float
    shard_s: float
    driver_s: float
    start_s: float


def simulate_run(image_count: int, node_count: int, shard_size: int, costs: Costs, seed: int = 1) -> float:
    """Return the seconds until the last shard is done."""
    draw = random.Random(seed)
    speeds = [1 / draw.uniform(0.95, 1.05) for _ in range(node_count)]
    if node_count > 1:
        speeds[0] = 2.0  # one node takes twice as long
    remaining = image_count
    free = [(costs.start_s, node) for node in range(node_count)]
    heapq.heapify(free)
    driver_free = last = costs.start_s
    while remaining:
        size = min(shard_size, remaining)
        remaining -= size
        when, node = heapq.heappop(free)
        driver_free = max(when, driver_free) + costs.driver_s
        ended = driver_free + costs.shard_s + size * costs.image_s * speeds[node]
        last = max(last, ended)
        heapq.heappush(free, (ended, node))
    return last


def main() -> None:
    """Print a table of times and of how busy the nodes were."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images-per-second", type=float, required=True)
    parser.add_argument("--shard-s", type=float, required=True)
    parser.add_argument("--driver-s", type=float, required=True)
    parser.add_argument("--start-s", type=float, default=10.0)
    chosen = parser.parse_args()
    costs = Costs(
        image_s=1 / chosen.images_per_second,
        shard_s=chosen.shard_s,
        driver_s=chosen.driver_s,
        start_s=chosen.start_s,
    )
    print("| images | images in a shard | nodes | time, s | of ideal |\n|---:|---:|---:|---:|---:|")
    for image_count in IMAGE_COUNTS:
        for shard_size in (64, 512):
            for node_count in NODE_COUNTS:
                took = simulate_run(image_count, node_count, shard_size, costs)
                ideal = image_count * costs.image_s / node_count
                share = f"{100 * ideal / took:.0f} %"
                print(f"| {image_count:,} | {shard_size} | {node_count:,} | {took:,.0f} | {share} |")


if __name__ == "__main__":
    main()
