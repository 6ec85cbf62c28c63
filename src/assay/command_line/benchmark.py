"""`assay benchmark`: images per second and latency of compiled models."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from assay.command_line.device_flags import DeviceFlags
from assay.command_line.flags import (
    CLASS_FLAGS,
    ClassFlags,
    EngineFlags,
    FolderFlags,
    GateFlags,
    SpeedFlags,
    make_help,
)
from assay.command_line.outcome import Outcome, describe_run
from assay.command_line.parse import parse_numbers, refuse_unused
from assay.defaults import LOADGEN_SECONDS, SERVER_LATENCY_MS
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.images.request import ImageRequest
    from assay.measure.speed.loadgen import LoadgenOptions
    from assay.measure.speed.repeats import RepeatPlan


MEASURING_FLAGS = (
    "batch_size",
    "callers",
    "max_latency_ms",
    "fresh_processes",
    "images",
    "pipeline",
    "devices",
    "device_timeout",
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkFlags(GateFlags, FolderFlags, DeviceFlags, EngineFlags, ClassFlags, SpeedFlags):
    """Flags of `assay benchmark`."""

    callers: Annotated[
        str | None, make_help("Numbers of threads that call at once, such as 1,2,4; each is measured.")
    ] = None
    max_latency_ms: Annotated[
        float | None, make_help("Recommend the fastest batch size that keeps this bound on the latency.")
    ] = None
    imports: Annotated[
        tuple[str, ...],
        Parameter(
            name="--import",
            help="A result of trtexec, ais_bench, benchmark_app or LoadGen: FILE, or FILE@bs16.",
            negative="",
        ),
    ] = ()
    images: Annotated[Path | None, make_help("Images to measure on; drawn ones if not given.")] = None
    pipeline: Annotated[
        bool,
        make_help("With --images: measure from encoded images to predictions too; what a user waits for."),
    ] = False
    labels: Annotated[Path | None, make_help("Label file of --images, for LoadGen's AccuracyOnly.")] = None
    loadgen: Annotated[bool, make_help("Run MLPerf LoadGen's four scenarios too.")] = False
    loadgen_seconds: Annotated[
        float, make_help("Shortest duration of each scenario; MLPerf asks for 600.")
    ] = LOADGEN_SECONDS
    server_latency_ms: Annotated[
        float, make_help("In the Server scenario: bound on the 99th percentile, ms.")
    ] = SERVER_LATENCY_MS

    def to_image_request(self) -> ImageRequest | None:
        """The images to measure on; None for drawn ones.

        Raises:
            UsageError: --labels, or how they are read, without --loadgen and --images, which they are for.
        """
        from assay.images.request import ImageRequest

        if self.images is None or not self.loadgen:
            refuse_unused(self, CLASS_FLAGS, "without --loadgen and --images")
        if self.images is None:
            return None
        return ImageRequest(path=self.images, labels=self.to_label_options(self.labels))

    def to_repeat_plans(self) -> tuple[RepeatPlan, ...]:
        """What is measured: a plan for each number of callers.

        Raises:
            UsageError: Lists that are not of whole numbers from 1.
        """
        plan = self.to_repeat_plan()
        callers = parse_numbers("--callers", self.callers)
        return tuple(dataclasses.replace(plan, callers=count) for count in callers or (None,))

    def to_imports(self) -> tuple[tuple[Path, int | None], ...]:
        """The files to import, each with its batch size where that was given."""
        return tuple(map(_split_import, self.imports))

    def to_loadgen_options(self) -> LoadgenOptions | None:
        """How LoadGen is run, or None where it is not.

        Raises:
            UsageError: A time that is not above 0, or a time without LoadGen.
            MissingRuntimeError: LoadGen is not installed.
        """
        if not self.loadgen:
            refuse_unused(self, ["loadgen_seconds", "server_latency_ms"], "without --loadgen")
            return None
        from assay.measure.speed.loadgen import LoadgenOptions, require_loadgen

        if not (self.loadgen_seconds > 0 and self.server_latency_ms > 0):
            raise UsageError("--loadgen-seconds and --server-latency-ms: expected more than 0")
        require_loadgen()
        return LoadgenOptions(seconds=self.loadgen_seconds, server_latency_ms=self.server_latency_ms)


def _split_import(text: str) -> tuple[Path, int | None]:
    """The file and the batch size of an import.

    >>> _split_import("times.json@bs16")[1], _split_import("times.json")[1]
    (16, None)
    """
    found = re.fullmatch(r"(.+)@bs([1-9][0-9]*)", text, re.ASCII | re.DOTALL)
    return (Path(found[1]), int(found[2])) if found else (Path(text), None)


def benchmark(*models: Path, flags: BenchmarkFlags = BenchmarkFlags()) -> Outcome:
    """Measure images per second and latency by batch size.

    Args:
        models: Folders of compiled models; ONNX files and checkpoints are compiled first.
    """
    from assay.command_line.given_model import provide_models
    from assay.command_line.terminal import open_listener
    from assay.workflows.speed.run_benchmark import BenchmarkRequest, run_benchmark

    if not models and not flags.imports:
        raise UsageError("assay benchmark: no compiled model given, and no file to --import")
    if not models:
        refuse_unused(flags, MEASURING_FLAGS, "without a compiled model")
    request = BenchmarkRequest(
        images=flags.to_image_request(),
        pipeline=flags.pipeline,
        plans=flags.to_repeat_plans(),
        max_latency_ms=flags.max_latency_ms,
        loadgen=flags.to_loadgen_options(),
        imports=flags.to_imports(),
        gates=flags.to_gates(),
        devices=flags.get_devices(),
        device_timeout_s=flags.device_timeout,
    )
    place = flags.to_run_place()
    place.refuse_inputs(*models)
    with open_listener(quiet=flags.quiet) as listener:
        folders = provide_models(models, flags, listener)
        result = run_benchmark(folders, request, place, listener)
    return describe_run(result, flags.cannot_tell)
