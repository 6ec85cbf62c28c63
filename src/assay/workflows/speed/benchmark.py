"""Compiled models to images per second and latency for each batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.arrays import Images
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.errors import UsageError
from assay.measure.speed.loading import LoadCost
from assay.measure.speed.recommendation import recommend_batch_sizes
from assay.measure.speed.repeats import DEFAULT_BATCH_SIZES, MIN_REPEATS, BenchmarkOptions
from assay.measure.speed.throughput import SessionName, ThroughputRow, make_throughput_rows
from assay.runs.folder import RunFolder
from assay.runs.listener import Progress
from assay.runs.results_file import Benchmark, write_result
from assay.workflows.speed.measure_repeat import measure_compiled, measure_in_fresh_processes


@dataclass(frozen=True, kw_only=True)
class SpeedRequest:
    """How compiled models are measured.

    Args:
        batch_sizes: None means the one a model was compiled for, else 1, 4, 8, 16, 32 and 64.
        repeats: How often each batch size is measured, at least 5.
        seconds: How long one repeat lasts, about.
        callers: Threads that call at once, each number measured; None means as many as a session asks for.
        max_latency_ms: What 99 % of the calls are to keep; None means that no batch size is recommended.
        fresh_processes: Whether each repeat loads the model in a process of its own.
    """

    batch_sizes: tuple[int, ...] | None = None
    repeats: int = MIN_REPEATS
    seconds: float = 1.0
    callers: tuple[int, ...] | None = None
    max_latency_ms: float | None = None
    fresh_processes: bool = False


DEFAULT_REQUEST = SpeedRequest()


def benchmark_models(
    compiled_dirs: Sequence[Path], images: Images, request: SpeedRequest, run: RunFolder
) -> Benchmark:
    """Measure each compiled model, write `benchmark.json`, and return what that says.

    Args:
        compiled_dirs: The compiled models, measured one after the other.
        images: What they are measured on, float32 (N, 3, H, W).
        request: Batch sizes, repeats, callers.
        run: The run folder.

    Raises:
        UsageError: A batch size that a model was not compiled for.
        ValueError: Fewer than 5 repeats.
        BadModelError: A compiled model cannot be used.
        EngineError: A runtime failed.
    """
    benchmark = Benchmark(rows=[])
    for compiled_dir in compiled_dirs:
        for callers in request.callers or (None,):
            rows, costs = _benchmark_model(compiled_dir, images, request, callers, run)
            benchmark.rows.extend(rows)
            benchmark.loading.extend(costs)
    if request.max_latency_ms is not None:
        found = recommend_batch_sizes(benchmark.rows, request.max_latency_ms)
        benchmark = msgspec.structs.replace(benchmark, recommended=found)
    write_result(run.path, benchmark)
    return benchmark


def _benchmark_model(
    compiled_dir: Path, images: Images, request: SpeedRequest, callers: int | None, run: RunFolder
) -> tuple[list[ThroughputRow], list[LoadCost]]:
    compiled = read_compiled_json(compiled_dir)
    options = BenchmarkOptions(
        batch_sizes=_choose_batch_sizes(compiled, request.batch_sizes),
        repeats=request.repeats,
        seconds=request.seconds,
        callers=callers,
    )
    name = SessionName(
        engine=compiled.engine,
        device=compiled.device,
        precision=compiled.precision,
        card_devices=int(compiled.settings.get("card_devices", "1")),
        fresh_processes=request.fresh_processes,
    )
    total = len(options.batch_sizes) * request.repeats
    done = 0

    def report(batch_size: int, images_per_second: float) -> None:
        nonlocal done
        done += 1
        detail = f"batch {batch_size}: {images_per_second:.1f} images/s"
        run.advance(Progress(task="Measuring speed", unit="repeats", done=done, total=total, detail=detail))

    sizes = ", ".join(map(str, options.batch_sizes))
    by = "" if callers is None else f" by {callers} callers"
    run.announce(f"Measuring {compiled.engine} on {compiled.device} at batch sizes {sizes}{by}")
    run.advance(Progress(task="Measuring speed", unit="repeats", done=0, total=total))
    if request.fresh_processes:
        times, costs = measure_in_fresh_processes(compiled_dir, images, options, report)
    else:
        result = measure_compiled(compiled_dir, images, options, report)
        times, costs = result.times, [result.cost]
    return make_throughput_rows(name, times), costs


def _choose_batch_sizes(compiled: CompiledModel, batch_sizes: tuple[int, ...] | None) -> tuple[int, ...]:
    own = compiled.batch_size
    if batch_sizes is None:
        return DEFAULT_BATCH_SIZES if own is None else (own,)
    if min(batch_sizes) < 1:
        raise UsageError(f"--batch-size {min(batch_sizes)}: expected 1 or more")
    if own is not None and set(batch_sizes) != {own}:
        raise UsageError(
            f"--batch-size {','.join(map(str, batch_sizes))}: the model was compiled for batches of {own}",
            hint="compile it without --batch-size, or once for each batch size",
        )
    return tuple(sorted(set(batch_sizes)))
