"""Compiled models to images per second and latency for each batch size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import msgspec

from assay.arrays import Images
from assay.defaults import DEFAULT_BATCH_SIZES
from assay.engines.cascade.record import CASCADE
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.errors import UsageError
from assay.images.sample_images import load_sample_images
from assay.images.sources import ImageIndex
from assay.images.subset import limit_images
from assay.measure.speed.recommendation import recommend_batch_sizes
from assay.measure.speed.repeats import OnRepeat, RepeatPlan, join_times
from assay.measure.speed.throughput import (
    RepeatResult,
    SessionName,
    make_throughput_rows,
    measure_compiled,
)
from assay.models.record import ModelRecord
from assay.runs.folder import RunFolder
from assay.runs.listener import Listener, Progress
from assay.runs.results_file import Benchmark, write_result
from assay.workflows.devices.choose import DeviceGroup
from assay.workflows.devices.measure_speed import measure_devices
from assay.workflows.speed.measure_repeat import measure_in_fresh_processes

BENCHMARK_IMAGE_COUNT = 16
CASCADE_IMAGE_COUNT = 256  # of which the share handed on is known within 4 points


def benchmark_models(
    compiled_dirs: Sequence[Path],
    images: Images,
    plans: Sequence[RepeatPlan],
    run: RunFolder,
    max_latency_ms: float | None = None,
    devices: Mapping[Path, DeviceGroup] = MappingProxyType({}),
) -> Benchmark:
    """Measure each compiled model, write `benchmark.json`, and return what that says.

    Args:
        compiled_dirs: The compiled models, measured one after the other; in fresh processes they take turns.
            One that is named twice is measured once.
        images: What they are measured on, float32 (N, 3, H, W).
        plans: What is measured of each, one plan after the other; likewise.
        run: The run folder.
        max_latency_ms: Bound on the 99th percentile; the fastest batch size that keeps it is recommended.
        devices: Of compiled models, those that it is measured on, each alone and all at once.

    Raises:
        UsageError: A batch size that a model was not compiled for.
        BadModelError: A compiled model cannot be used.
        EngineError: A runtime failed.
    """
    benchmark = Benchmark(rows=[])
    in_turn = {
        plan: _measure_in_turn(compiled_dirs, images, plan, run) for plan in plans if plan.fresh_processes
    }
    for compiled_dir in dict.fromkeys(compiled_dirs):
        for plan in dict.fromkeys(plans):
            if several := devices.get(compiled_dir):
                _add_devices(benchmark, compiled_dir, several, images, plan, run)
            elif plan.fresh_processes:
                _add_results(benchmark, compiled_dir, plan, in_turn[plan][compiled_dir], run)
            else:
                own, report = _announce(compiled_dir, plan, run)
                results = [measure_compiled(compiled_dir, images, own, report)]
                _add_results(benchmark, compiled_dir, plan, results, run)
    if max_latency_ms is not None:
        found = recommend_batch_sizes(benchmark.rows, max_latency_ms)
        benchmark = msgspec.structs.replace(benchmark, recommended=found)
    write_result(run.path, benchmark)
    return benchmark


def _add_devices(
    benchmark: Benchmark,
    compiled_dir: Path,
    devices: DeviceGroup,
    images: Images,
    plan: RepeatPlan,
    run: RunFolder,
) -> None:
    """Add what is measured of a model on several devices."""
    compiled = read_compiled_json(compiled_dir)
    plan = fill_batch_sizes(compiled, plan)
    sizes, names = ", ".join(map(str, plan.batch_sizes)), ", ".join(map(str, devices.devices))
    run.announce(f"Measuring {compiled.engine} on {names} at batch sizes {sizes}, each alone and all at once")
    found = measure_devices(compiled_dir, devices, images, plan, run)
    benchmark.rows.extend(found.rows)
    benchmark.devices.extend(found.at_once)
    benchmark.loading.extend(found.loading)


def _measure_in_turn(
    compiled_dirs: Sequence[Path], images: Images, plan: RepeatPlan, run: RunFolder
) -> dict[Path, list[RepeatResult]]:
    """What each model's repeats found, each in a process of its own."""
    told = {path: _announce(path, plan, run) for path in compiled_dirs}
    plans = {path: own for path, (own, _) in told.items()}
    reports = {path: report for path, (_, report) in told.items()}
    return measure_in_fresh_processes(plans, images, reports)


def _announce(compiled_dir: Path, plan: RepeatPlan, run: RunFolder) -> tuple[RepeatPlan, OnRepeat]:
    """The plan with the model's batch sizes, and what is called after each repeat; says what is measured."""
    compiled = read_compiled_json(compiled_dir)
    plan = fill_batch_sizes(compiled, plan)
    total = len(plan.batch_sizes) * plan.repeats
    done = 0

    def report(batch_size: int, images_per_second: float) -> None:
        nonlocal done
        done += 1
        detail = f"batch {batch_size}: {images_per_second:.1f} images/s"
        run.advance(Progress(task="Measuring speed", unit="repeats", done=done, total=total, detail=detail))

    sizes = ", ".join(map(str, plan.batch_sizes))
    by = "" if plan.callers is None else f" by {plan.callers} callers"
    run.announce(f"Measuring {compiled.engine} on {compiled.device} at batch sizes {sizes}{by}")
    run.advance(Progress(task="Measuring speed", unit="repeats", done=0, total=total))
    return plan, report


def _add_results(
    benchmark: Benchmark,
    compiled_dir: Path,
    plan: RepeatPlan,
    results: Sequence[RepeatResult],
    run: RunFolder,
) -> None:
    """Add the rows of what one or several processes measured of a model, and what loading it cost."""
    compiled = read_compiled_json(compiled_dir)
    name = SessionName(
        engine=compiled.engine,
        device=compiled.device,
        precision=compiled.precision,
        card_devices=int(compiled.settings.get("card_devices", "1")),
        fresh_processes=plan.fresh_processes,
    )
    rows = make_throughput_rows(name, join_times([result.times for result in results]))
    if handed_on := results[0].handed_on:
        run.announce(
            f"{handed_on.count:,} of {handed_on.image_count:,} images were handed on to the exact model"
        )
        rows = [msgspec.structs.replace(row, handed_on=handed_on) for row in rows]
    benchmark.rows.extend(rows)
    benchmark.loading.extend(result.cost for result in results)


def choose_samples(
    compiled_dirs: Sequence[Path], record: ModelRecord, index: ImageIndex | None, listener: Listener
) -> Images:
    """What models are measured on: more and drawn ones where one is a cascade, whose speed depends on them.

    Raises:
        UsageError: A cascade, and no images.
        AssayError: As `load_sample_images`.
    """
    if not any(read_compiled_json(path).engine == CASCADE for path in compiled_dirs):
        return load_sample_images(record, index, BENCHMARK_IMAGE_COUNT, listener.announce)
    if index is None:
        raise UsageError(
            "the speed of a cascade depends on the images, so it is not measured on drawn ones",
            hint="give real ones with --images",
        )
    drawn = limit_images(index, CASCADE_IMAGE_COUNT)
    return load_sample_images(record, drawn, CASCADE_IMAGE_COUNT, listener.announce)


def fill_batch_sizes(compiled: CompiledModel, plan: RepeatPlan) -> RepeatPlan:
    """The plan with the batch sizes that are measured of a compiled model.

    Raises:
        UsageError: A batch size that it was not compiled for.
    """
    return dataclasses.replace(plan, batch_sizes=_choose_batch_sizes(compiled, plan.batch_sizes))


def _choose_batch_sizes(compiled: CompiledModel, batch_sizes: tuple[int, ...]) -> tuple[int, ...]:
    own = compiled.batch_size
    if not batch_sizes:
        return DEFAULT_BATCH_SIZES if own is None else (own,)
    if own is not None and set(batch_sizes) != {own}:
        raise UsageError(
            f"--batch-size {','.join(map(str, batch_sizes))}: the model was compiled for batches of {own}",
            hint="compile it without --batch-size, or once for each batch size",
        )
    return tuple(sorted(set(batch_sizes)))
