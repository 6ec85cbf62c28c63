"""Compiled models to images per second and latency for each batch size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from assay.arrays import Images
from assay.engines.catalog import load_session
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.errors import UsageError
from assay.measure.throughput import (
    DEFAULT_BATCH_SIZES,
    MIN_REPEATS,
    BenchmarkOptions,
    SessionName,
    ThroughputRow,
    measure_throughput,
)
from assay.report.results_file import Benchmark, write_result
from assay.workflows.listener import Progress
from assay.workflows.run_folder import RunFolder


def benchmark_models(
    compiled_dirs: Sequence[Path],
    images: Images,
    batch_sizes: tuple[int, ...] | None,
    run: RunFolder,
    *,
    repeats: int = MIN_REPEATS,
) -> Benchmark:
    """Measure each compiled model, write `benchmark.json`, and return what that says.

    Args:
        compiled_dirs: The compiled models, measured one after the other.
        images: What they are measured on, float32 (N, 3, H, W).
        batch_sizes: None means the one a model was compiled for, else 1, 4, 8, 16, 32 and 64.
        run: The run folder.
        repeats: How often each batch size is measured, at least 5.

    Raises:
        UsageError: Fewer than 5 repeats, or a batch size that a model was not compiled for.
        BadModelError: A compiled model cannot be used.
        EngineError: A runtime failed.
    """
    if repeats < MIN_REPEATS:
        raise UsageError(f"--repeats is {repeats}; expected {MIN_REPEATS} or more")
    benchmark = Benchmark(
        rows=[
            row
            for compiled_dir in compiled_dirs
            for row in _benchmark_model(compiled_dir, images, batch_sizes, run, repeats)
        ]
    )
    write_result(run.path, benchmark)
    return benchmark


def _benchmark_model(
    compiled_dir: Path, images: Images, batch_sizes: tuple[int, ...] | None, run: RunFolder, repeats: int
) -> list[ThroughputRow]:
    compiled = read_compiled_json(compiled_dir)
    options = BenchmarkOptions(batch_sizes=_choose_batch_sizes(compiled, batch_sizes), repeats=repeats)
    name = SessionName(
        engine=compiled.engine,
        device=compiled.device,
        precision=compiled.precision,
        card_devices=int(compiled.settings.get("card_devices", "1")),
    )
    total = len(options.batch_sizes) * repeats
    done = 0

    def report(batch_size: int, images_per_second: float) -> None:
        nonlocal done
        done += 1
        detail = f"batch {batch_size}: {images_per_second:.1f} images/s"
        run.advance(Progress(task="Measuring speed", unit="repeats", done=done, total=total, detail=detail))

    sizes = ", ".join(map(str, options.batch_sizes))
    run.announce(f"Measuring {compiled.engine} on {compiled.device} at batch sizes {sizes}")
    run.advance(Progress(task="Measuring speed", unit="repeats", done=0, total=total))
    session = load_session(compiled_dir)
    try:
        return measure_throughput(session, images, options, name, report)
    finally:
        session.close()


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
