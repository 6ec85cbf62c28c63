"""How often `no-worse-than:baseline` and the change points of a history alarm falsely, and what they find.

200 simulated histories for each row of the table: 20 runs, in which nothing changes, or something does from
the eleventh on; five repeats at three batch sizes, and an accuracy over 50,000 images. From run to run speeds
vary by 1, 3 and 10 % (standard deviation), from repeat to repeat by 0.8 %; 0.1 % of the answers change at
random. The last rows are of a machine whose speed varies by 2 % from day to day besides: the baseline's runs
are of one day, or of a day each.

With `--compiled DIR`, real runs of `assay benchmark` follow, each of them a process of its own: pairs of a
baseline of five runs and one more, which must not fail, and one of a session that sleeps as long as it runs,
which must not pass. `--runs DIR` keeps the run folders, and measures only what is not there.

    python benchmarks/history_gates.py [--histories 200] [--compiled DIR --pairs 20 --runs DIR]
"""

from __future__ import annotations

import argparse
import collections
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from assay.images.pixel_check import PixelCheck
from assay.measure.environment import describe_machine
from assay.measure.gates import Evidence, GateResult, parse_gate
from assay.measure.judge_together import judge_gates
from assay.runs.history_file import HistoryRun, ResultSeries, StoredAccuracy, StoredSpeed
from assay.runs.results_file import Manifest
from assay.workflows.history.baseline import list_parts
from assay.workflows.history.trends import gather_trends
from assay.workflows.history.verified_run import read_verified_run

RUNS, CHANGES_AT, REPEATS, BATCH_SIZES = 20, 10, 5, (1, 8, 32)
RUN_VARIATIONS, REPEAT_VARIATION, DAY_VARIATION = (0.01, 0.03, 0.1), 0.008, 0.02
DESIGNS = ((1, 1), (5, 1), (5, 3))  # runs of the baseline, runs that are judged
IMAGES, ACCURACY, FLICKER = 50_000, 0.78, 0.001
GATE = parse_gate("no-worse-than:baseline")
MEASURE = ("--batch-size", "2", "--seconds", "0.7", "--quiet")
SLOW = """
import sys, time
from assay.command_line.app import main
from assay.engines.openvino.engine import OpenVinoSession
infer = OpenVinoSession._infer
def sleep_as_long(self, piece):
    begin = time.perf_counter()
    logits = infer(self, piece)
    time.sleep(time.perf_counter() - begin)
    return logits
OpenVinoSession._infer = sleep_as_long
sys.exit(main())
"""
SERIES = ResultSeries(model="m", engine="e", device="CPU", precision="fp32", machine="simulated")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens in a history: what is left of the speed, points of Top-1 lost, how far speeds vary."""

    speed: float = 1.0
    loss_points: float = 0.0
    run_variation: float = RUN_VARIATIONS[0]
    day_variation: float = 0.0
    runs_a_day: int = 1


SCENARIOS = {
    **{
        f"{name}, {100 * variation:g} %": Scenario(run_variation=variation, speed=speed)
        for variation in RUN_VARIATIONS
        for name, speed in (("A/A", 1.0), ("5 % slower", 0.95), ("10 % slower", 0.9), ("halved", 0.5))
    },
    "1 point of Top-1 lost": Scenario(loss_points=1.0),
    "A/A, days, baseline of one": Scenario(day_variation=DAY_VARIATION, runs_a_day=CHANGES_AT),
    "A/A, days, a day each": Scenario(day_variation=DAY_VARIATION),
}


def draw_history(rng: np.random.Generator, scenario: Scenario) -> list[HistoryRun]:
    """Twenty runs; from the eleventh on with that speed and that loss."""
    right = rng.random(IMAGES) < ACCURACY  # (images,)
    lost = right & (rng.random(IMAGES) < scenario.loss_points / 100 / ACCURACY)  # (images,)
    days = 1 + scenario.day_variation * rng.standard_normal(RUNS)  # (runs,)
    return [
        draw_run(
            rng,
            number,
            right & ~lost if number >= CHANGES_AT else right,
            days[number // scenario.runs_a_day] * (scenario.speed if number >= CHANGES_AT else 1),
            scenario.run_variation,
        )
        for number in range(RUNS)
    ]


def draw_run(
    rng: np.random.Generator, number: int, right: np.ndarray, speed: float, variation: float
) -> HistoryRun:
    """One run; the first ones are the baseline."""
    is_right = right ^ (rng.random(IMAGES) < FLICKER)  # (images,)
    rates = {
        size: 100 * size**0.3 * speed * np.exp(variation * rng.standard_normal())
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
    print(f"{'':28}{'runs':>9}{'accuracy':>17}{'speeds':>18}{'all together':>18}{'change':>9}")
    for name, scenario in SCENARIOS.items():
        rng = np.random.default_rng(24)
        seen = {runs: [collections.Counter[str]() for _ in range(3)] for runs in DESIGNS}
        found = 0
        for _ in range(count):
            history = draw_history(rng, scenario)
            found += any(trend.changes for trend in gather_trends(history))
            for runs, counters in seen.items():
                baseline = history[CHANGES_AT - runs[0] : CHANGES_AT]
                parts = judge(baseline, history[CHANGES_AT : CHANGES_AT + runs[1]])
                for counter, kinds in zip(counters, (("acc",), ("speed",), ("acc", "speed")), strict=True):
                    counter[decide([part for part in parts if any(kind in part.gate for kind in kinds)])] += 1
        for (before, after), counters in seen.items():
            shown = "".join(f"{show(counter, count):>18}" for counter in counters).removeprefix(" ")
            print(f"{name:28}{f'{before} + {after}':>9}{shown}{100 * found / count:>9.1f}", flush=True)


def show(seen: collections.Counter[str], count: int) -> str:
    """Shares in percent."""
    return " / ".join(f"{100 * seen[outcome] / count:.4g}" for outcome in ("pass", "fail", "cannot tell"))


def run_pairs(compiled: Path, pairs: int, folder: Path) -> None:
    """Print what the gate says of real runs of one compiled model, with and without INVALID marks."""
    seen: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for pair in range(pairs):
        baseline = [measure(compiled, folder / f"{pair:02d}b{number}") for number in range(5)]
        for name, code in (("a", ""), ("s", SLOW)):
            run = measure(compiled, folder / f"{pair:02d}{name}", code)
            parts = judge([drop_marks(one) for one in baseline], [drop_marks(run)])
            what = "half the speed" if code else "A/A"
            seen[f"{what}, as measured"][decide(judge(baseline, [run]))] += 1
            seen[f"{what}, INVALID marks left out"][decide(parts)] += 1
            load = f"load {os.getloadavg()[0]:.1f}"
            print(f"  {pair + 1:2} {what}, {load}: {decide(parts)}; {parts[0].reason}", flush=True)
    for name, counted in seen.items():
        print(f"{name:40}{'; '.join(f'{outcome}: {count}' for outcome, count in counted.items())}")


def measure(compiled: Path, run: Path, code: str = "") -> HistoryRun:
    """A run of `assay benchmark` in a process of its own, slowed down by that code; the one that is there."""
    if not run.exists():
        start = ["-c", code] if code else ["-m", "assay"]
        command = [sys.executable, *start, "benchmark", str(compiled), *MEASURE, "-o", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read_verified_run(run, is_baseline=run.name[2] == "b")


def drop_marks(run: HistoryRun) -> HistoryRun:
    """The run as if all its speeds were VALID, to see what the test itself does."""
    speeds = tuple(msgspec.structs.replace(speed, invalid=()) for speed in run.speeds)
    return msgspec.structs.replace(run, speeds=speeds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--histories", type=int, default=200)
    parser.add_argument("--compiled", type=Path)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args()
    if given.histories:
        simulate(given.histories)
    if given.compiled:
        print(f"\n{given.pairs} pairs of real benchmarks of {given.compiled}")
        with tempfile.TemporaryDirectory() as temporary:
            run_pairs(given.compiled, given.pairs, given.runs or Path(temporary))
