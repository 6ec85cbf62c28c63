"""How often `no-worse-than:baseline` and the change points of a history alarm falsely, and what they find.

200 simulated histories for each row of the table: 20 runs, in which nothing changes, or something does from
the eleventh on; five repeats at three batch sizes, and an accuracy over 50,000 images. From run to run speeds
vary by 1 % (standard deviation), from repeat to repeat by 0.8 %; 0.1 % of the answers change at random. With
`--compiled DIR`, pairs of real benchmarks of one compiled model follow, one against the other.

    python benchmarks/history_gates.py [--histories 200] [--compiled DIR --pairs 20]
"""

from __future__ import annotations

import argparse
import collections
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

import assay
from assay.images.pixel_check import PixelCheck
from assay.measure.environment import describe_machine
from assay.measure.gates import Evidence, GateResult, parse_gate
from assay.measure.judge_together import judge_gates
from assay.measure.speed.repeats import RepeatPlan
from assay.runs.history_file import HistoryRun, ResultSeries, StoredAccuracy, StoredSpeed
from assay.runs.results_file import Manifest
from assay.workflows.history.baseline import list_parts
from assay.workflows.history.trends import gather_trends
from assay.workflows.history.verified_run import read_verified_run
from assay.workflows.speed.run_benchmark import BenchmarkRequest

RUNS, CHANGES_AT, REPEATS, BATCH_SIZES = 20, 10, 5, (1, 8, 32)
RUN_VARIATION, REPEAT_VARIATION = 0.01, 0.008
IMAGES, ACCURACY, FLICKER = 50_000, 0.78, 0.001
GATE = parse_gate("no-worse-than:baseline")
PLAN = RepeatPlan(batch_sizes=(8,), seconds=0.7)
SERIES = ResultSeries(model="m", engine="e", device="CPU", precision="fp32", machine="simulated")
SCENARIOS = {  # what is left of the speed, and points of Top-1 that are lost
    "nothing changes (A/A)": (1.0, 0.0),
    "5 % slower": (0.95, 0.0),
    "10 % slower": (0.9, 0.0),
    "1 point of Top-1 lost": (1.0, 1.0),
}


def draw_history(rng: np.random.Generator, speed: float, loss_points: float) -> list[HistoryRun]:
    """Twenty runs; from the eleventh on with that speed and that loss."""
    right = rng.random(IMAGES) < ACCURACY  # (images,)
    lost = right & (rng.random(IMAGES) < loss_points / 100 / ACCURACY)  # (images,)
    return [
        draw_run(
            rng,
            number,
            right & ~lost if number >= CHANGES_AT else right,
            speed if number >= CHANGES_AT else 1,
        )
        for number in range(RUNS)
    ]


def draw_run(rng: np.random.Generator, number: int, right: np.ndarray, speed: float) -> HistoryRun:
    """One run; the first ones are the baseline."""
    is_right = right ^ (rng.random(IMAGES) < FLICKER)  # (images,)
    rates = {
        size: 100 * size**0.3 * speed * (1 + RUN_VARIATION * rng.standard_normal())
        * (1 + REPEAT_VARIATION * rng.standard_normal(REPEATS))
        for size in BATCH_SIZES
    }  # fmt: skip
    started = f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T00:00:00Z"
    return HistoryRun(
        number=number + 1,
        sha256=f"{number}",
        added=started,
        started=started,
        folder=f"{number}",
        is_baseline=number < CHANGES_AT,
        manifest=MANIFEST,
        accuracy=StoredAccuracy(
            series=SERIES,
            images="",
            preprocessing="",
            image_count=IMAGES,
            failed_count=0,
            top1_hits=int(is_right.sum()),
            is_right=np.packbits(is_right).tobytes(),
        ),
        speeds=tuple(
            StoredSpeed(
                series=SERIES, batch_size=size, clock="call", caller_count=1, setting="",
                images_per_second=tuple(values),
            )
            for size, values in rates.items()
        ),
    )  # fmt: skip


MANIFEST = Manifest(
    status="finished",
    arguments=(),
    started="",
    machine=describe_machine(),
    pixel_check=PixelCheck(pillow="", pillow_jpeg="", simplejpeg="", differing=()),
)


def judge(history: list[HistoryRun], candidates: list[HistoryRun]) -> tuple[GateResult, ...]:
    """The parts of the gate."""
    return judge_gates([GATE], Evidence(baseline=list_parts(history, candidates)))


def decide(parts: Sequence[GateResult]) -> str:
    """What a pipeline sees: one fail fails, one "cannot tell" is no pass."""
    outcomes = {part.outcome for part in parts}
    return next((outcome for outcome in ("fail", "cannot tell") if outcome in outcomes), "pass")


def simulate(count: int) -> None:
    """Print the table of the simulated histories."""
    print(f"{count} histories a row; an accuracy and three speeds are judged together in each. In percent of")
    print("the histories: pass / fail / cannot tell, and those in which a trend shows a change.")
    print(f"{'':22}{'runs':>9}{'accuracy':>17}{'speeds':>17}{'all together':>17}{'change':>9}")
    for name, (speed, loss) in SCENARIOS.items():
        rng = np.random.default_rng(24)
        seen: dict[tuple[int, int], list[collections.Counter[str]]] = collections.defaultdict(
            lambda: [collections.Counter() for _ in range(3)]
        )
        found = 0
        for _ in range(count):
            history = draw_history(rng, speed, loss)
            found += any(trend.changes for trend in gather_trends(history))
            for runs in ((1, 1), (5, 1), (5, 3)):
                parts = judge(
                    history[CHANGES_AT - runs[0] : CHANGES_AT], history[CHANGES_AT : CHANGES_AT + runs[1]]
                )
                is_speed = ["speed" in part.gate for part in parts]
                seen[runs][0][decide([p for p, speed in zip(parts, is_speed, strict=True) if not speed])] += 1
                seen[runs][1][decide([p for p, speed in zip(parts, is_speed, strict=True) if speed])] += 1
                seen[runs][2][decide(parts)] += 1
        for (before, after), counters in seen.items():
            shown = [f"{show(counter, count):>17}" for counter in counters]
            print(f"{name:22}{f'{before} + {after}':>9}{''.join(shown)}{100 * found / count:>9.1f}")


def show(seen: collections.Counter[str], count: int) -> str:
    """Shares in percent."""
    return " / ".join(f"{100 * seen[outcome] / count:.4g}" for outcome in ("pass", "fail", "cannot tell"))


def run_pairs(compiled: Path, pairs: int) -> None:
    """Print what the gate says of real benchmarks of one compiled model, with and without INVALID marks."""
    seen: dict[str, collections.Counter[str]] = {
        "as measured": collections.Counter(),
        "INVALID marks left out": collections.Counter(),
    }
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(pairs):
            runs = []
            for side in ("a", "b"):
                run = Path(folder) / f"{number}{side}"
                assay.benchmark(compiled, run, request=BenchmarkRequest(plans=(PLAN,)))  # loads it again
                runs.append(read_verified_run(run, is_baseline=side == "a"))
            seen["as measured"][decide(judge(runs[:1], runs[1:]))] += 1
            valid = [drop_marks(run) for run in runs]
            parts = judge(valid[:1], valid[1:])
            seen["INVALID marks left out"][decide(parts)] += 1
            ratios.append(parts[0].reason)
            print(
                f"  pair {number + 1}, load {os.getloadavg()[0]:.1f}: {decide(parts)}; {parts[0].reason}",
                flush=True,
            )
    for name, counted in seen.items():
        print(f"{name:24}{'; '.join(f'{outcome}: {count}' for outcome, count in counted.items())}")


def drop_marks(run: HistoryRun) -> HistoryRun:
    """The run as if all its speeds were VALID, to see what the test itself does."""
    speeds = tuple(msgspec.structs.replace(speed, invalid=()) for speed in run.speeds)
    return msgspec.structs.replace(run, speeds=speeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--compiled", type=Path)
    parser.add_argument("--pairs", type=int, default=20)
    given = parser.parse_args()
    simulate(given.histories)
    if given.compiled:
        print(f"\n{given.pairs} pairs of real benchmarks of {given.compiled}")
        run_pairs(given.compiled, given.pairs)
