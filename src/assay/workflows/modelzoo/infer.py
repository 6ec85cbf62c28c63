"""Runs a compiled model over a folder of `.bin` or `.npy` files, as the inference tool does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from assay.ahead import map_ahead
from assay.arrays import Images, Logits
from assay.engines.catalog import load_session
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.engine import Session
from assay.engines.saturation import note_saturation
from assay.errors import UsageError
from assay.models.record import ModelRecord
from assay.modelzoo.input_files import (
    InputBatch,
    InputPlan,
    get_result_stem,
    list_input_files,
    plan_batches,
    read_batch,
)
from assay.modelzoo.result_folders import (
    PURE_STEM,
    OutputFormat,
    ResultPlace,
    choose_folder,
    compute_throughput,
    format_performance,
    make_folder,
    make_summary,
    write_result,
    write_summary,
)
from assay.runs.listener import Listener, Progress, announce_wait

AHEAD = 2  # batches that are read while one is computed
PureData = Literal["zero", "random"]


@dataclass(frozen=True, kw_only=True)
class InferOptions:
    """How the inference tool is asked to run.

    Args:
        source: A folder, or files separated by commas; None lets the network run on made-up values.
        output: The folder in which the result folder is made; None keeps no results.
        output_dirname: The result folder's name; None means the local time.
        output_format: TXT, BIN or NPY.
        batch_size: Images in one run; None means what the model was compiled for, else those of one file.
        loop: How often each batch is run, at least 1; every run is measured.
        warmup_count: Runs of the first batch that are not measured.
        pure_data: What made-up values are: zero, or bytes from 0 to 255.
        device: The number of the device.
    """

    source: str | None = None
    output: str | None = None
    output_dirname: str | None = None
    output_format: OutputFormat = "BIN"
    batch_size: int | None = None
    loop: int = 1
    warmup_count: int = 1
    pure_data: PureData = "zero"
    device: int = 0


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What was run.

    Args:
        folder: The result folder, empty where no results were kept.
        lines: What the tool prints.
        times_ms: Milliseconds of each measured run, on the `call` clock.
        throughput: Images per second, padded places counted.
        outfiles: The result file of each input file.
    """

    folder: str
    lines: tuple[str, ...]
    times_ms: tuple[float, ...]
    throughput: float
    outfiles: dict[str, str] = field(default_factory=dict)


def infer_files(
    compiled_dir: Path, options: InferOptions, arguments: Sequence[str], listener: Listener
) -> Inference:
    """Run every batch, write a result for every input file, and last the summary.

    All sizes and names are checked before anything is written.

    Args:
        compiled_dir: The compiled model.
        options: What to run, and where the results go.
        arguments: The command line, for the summary.
        listener: Hears how far it is.

    Raises:
        UsageError: Options that cannot go together.
        BadInputError: The compiled model or the input files cannot be used.
        EngineError: The runtime failed; results written until then stay, without a summary.
    """
    _check_options(options)
    compiled = read_compiled_json(compiled_dir)
    batch_size = _choose_batch_size(options, compiled)
    plan = _plan(options, compiled.model, batch_size)
    place = _choose_place(options, plan)
    for note in note_saturation(compiled):
        listener.announce(f"Note: {note}")
    with announce_wait(listener, f"loading {compiled_dir}"):
        loaded = load_session(compiled_dir)
    with closing(loaded) as session:
        if place:
            make_folder(place)
        times_ms, outfiles = _run(session, plan, compiled.model, options, place, listener)
    throughput = compute_throughput(plan.batch_size, times_ms)
    if place:
        write_summary(place, make_summary(outfiles, arguments, times_ms, throughput))
    return Inference(
        folder=place.folder if place else "",
        lines=tuple(_describe(compiled_dir, plan, options, place, times_ms)),
        times_ms=tuple(times_ms),
        throughput=throughput,
        outfiles=outfiles,
    )


def _check_options(options: InferOptions) -> None:
    if options.loop < 1 or options.warmup_count < 0:
        raise UsageError(
            f"--loop is {options.loop}, --warmup-count {options.warmup_count}; expected at least 1 and 0"
        )
    if options.batch_size is not None and options.batch_size < 1:
        raise UsageError(f"--batchsize is {options.batch_size}; expected 1 or more")
    if options.output_dirname is not None and options.output is None:
        raise UsageError("--output-dirname needs --output", hint="it is the name of a folder in --output")
    if options.device != 0:
        raise UsageError(
            f"--device {options.device}: a compiled model has one device, 0",
            hint="compile the model for another one: assay compile --device",
        )


def _choose_batch_size(options: InferOptions, compiled: CompiledModel) -> int | None:
    wanted, own = options.batch_size, compiled.batch_size
    if wanted is not None and own is not None and wanted != own:
        raise UsageError(
            f"--batchsize is {wanted}; the model was compiled for batches of {own}",
            hint="the throughput would be computed wrong: leave --batchsize out",
        )
    return wanted or own


def _plan(options: InferOptions, record: ModelRecord, batch_size: int | None) -> InputPlan:
    if options.source is not None:
        return plan_batches(list_input_files(options.source), record, batch_size)
    batch_size = batch_size or 1
    size_bytes = 4 * batch_size * record.input.channels * record.input.height * record.input.width
    return InputPlan(
        batches=(InputBatch(paths=(), padding_count=0),),
        rows_per_file=batch_size,
        file_bytes=size_bytes,
        tensor_bytes=size_bytes,
        batch_size=batch_size,
    )


def _choose_place(options: InferOptions, plan: InputPlan) -> ResultPlace | None:
    if options.output is None:
        return None
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {options.output}: expected a folder, found a file")
    inputs = {str(Path(path).parent.resolve()) for batch in plan.batches for path in batch.paths}
    stems = [get_result_stem(path) for batch in plan.batches for path in batch.paths] or [PURE_STEM]
    place = choose_folder(options.output, options.output_dirname, stems, options.output_format.lower())
    if str(Path(place.folder).resolve()) in inputs:
        raise UsageError(f"{place.folder}: the results must not lie among the input files")
    return place


def _run(
    session: Session,
    plan: InputPlan,
    record: ModelRecord,
    options: InferOptions,
    place: ResultPlace | None,
    listener: Listener,
) -> tuple[list[float], dict[str, str]]:
    """Run every batch `loop` times; return the times in milliseconds and the result of each input file."""
    times_ms: list[float] = []
    outfiles: dict[str, str] = {}
    total = sum(len(batch.paths) for batch in plan.batches)
    listener.advance(Progress(task="Inference", unit="files", done=0, total=total))
    for number, (batch, images) in enumerate(_read_batches(plan, record, options)):
        if number == 0:
            for _ in range(options.warmup_count):
                session.run(images)
        for _ in range(options.loop):
            start = time.perf_counter()
            logits = session.run(images)  # (batch, classes)
            times_ms.append(1000 * (time.perf_counter() - start))
        if place:
            outfiles |= _write_batch(batch, logits, plan, place, options.output_format)
        done = min(total, (number + 1) * plan.batch_size // plan.rows_per_file)
        listener.advance(Progress(task="Inference", unit="files", done=done, total=total))
    return times_ms, outfiles


def _read_batches(
    plan: InputPlan, record: ModelRecord, options: InferOptions
) -> Iterator[tuple[InputBatch, Images]]:
    if options.source is None:
        yield plan.batches[0], _make_up_images(plan, record, options.pure_data)
        return
    read = partial(read_batch, plan=plan, record=record)
    with ThreadPoolExecutor(AHEAD, "read") as readers:
        yield from zip(plan.batches, map_ahead(readers, read, plan.batches, AHEAD), strict=True)


def _make_up_images(plan: InputPlan, record: ModelRecord, pure_data: PureData) -> Images:
    shape = (plan.batch_size, record.input.channels, record.input.height, record.input.width)
    if pure_data == "zero":
        return np.zeros(shape, dtype=np.float32)
    values = np.random.default_rng(0).integers(0, 256, plan.tensor_bytes, dtype=np.uint8)
    if record.input.dtype == "uint8":
        return values[: plan.tensor_bytes // 4].astype(np.float32).reshape(shape)
    # as the tool's: random bytes, of which not every four are a number that a network can take
    return np.nan_to_num(values.view(np.float32), posinf=0.0, neginf=0.0).reshape(shape)


def _write_batch(
    batch: InputBatch, logits: Logits, plan: InputPlan, place: ResultPlace, output_format: OutputFormat
) -> dict[str, str]:
    """Write the results of a batch's files, not those of its padding; return their paths."""
    outfiles = {}
    for number, path in enumerate(batch.paths or (PURE_STEM,)):
        rows = logits[number * plan.rows_per_file :][: plan.rows_per_file]  # (rows, classes)
        outfile = place.name_result(get_result_stem(path), output_format)
        write_result(outfile, rows, output_format)
        if batch.paths:
            outfiles[path] = outfile
    return outfiles


def _describe(
    compiled_dir: Path,
    plan: InputPlan,
    options: InferOptions,
    place: ResultPlace | None,
    times_ms: Sequence[float],
) -> list[str]:
    lines = [f"[INFO] load model {compiled_dir} success"]
    if options.batch_size is None:
        lines.append(f"[INFO] try get model batchsize:{plan.batch_size}")
    if place:
        lines.append(f"[INFO] output path:{place.folder}")
    if options.source is not None:
        lines.append(
            f"[INFO] get filesperbatch files0 size:{plan.file_bytes} tensor0size:{plan.tensor_bytes} "
            f"filesperbatch:{plan.tensor_bytes // plan.file_bytes} runcount:{len(plan.batches)}"
        )
    if options.warmup_count:
        lines.append(f"[INFO] warm up {options.warmup_count} done")
    lines.append("[INFO] NPU_compute_time is on the call clock: around the runtime's call, copying included")
    return lines + format_performance(plan.batch_size, times_ms)
