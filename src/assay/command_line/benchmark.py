"""The options of `assay benchmark`."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal  # noqa: F401 - the groups' annotations are read here

from cyclopts import Parameter

from assay.command_line.flags import (
    FolderOptions,
    GateOptions,
    LabelFileOptions,
    ShowOptions,
    SpeedOptions,
    make_help,
    parse_numbers,
)
from assay.errors import UsageError

if TYPE_CHECKING:
    from assay.measure.speed.loadgen import LoadgenOptions
    from assay.workflows.speed.benchmark import SpeedRequest


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(ShowOptions, GateOptions, FolderOptions, LabelFileOptions, SpeedOptions):
    """Options of `assay benchmark`."""

    callers: Annotated[str | None, make_help("Threads that call at once, such as 1,2,4; each measured.")] = (
        None
    )
    max_latency_ms: Annotated[float | None, make_help("Recommend the fastest batch size within it.")] = None
    fresh_processes: Annotated[bool, make_help("Load the model anew for each repeat, in a process.")] = False
    imports: Annotated[
        tuple[str, ...],
        Parameter(
            name="--import",
            help="A result of trtexec, ais_bench, benchmark_app or LoadGen: FILE, or FILE@bs16.",
            negative="",
        ),
    ] = ()
    images: Annotated[Path | None, make_help("Measure on these images, not on drawn ones.")] = None
    labels: Annotated[Path | None, make_help("Their label file, for LoadGen's AccuracyOnly.")] = None
    loadgen: Annotated[bool, make_help("Run MLPerf LoadGen's four scenarios too.")] = False
    loadgen_seconds: Annotated[float, make_help("How long each lasts at least; MLPerf asks for 600.")] = 60.0
    server_latency_ms: Annotated[float, make_help("What 99 % must keep in LoadGen's Server, ms.")] = 15.0

    def choose_speed(self) -> SpeedRequest:
        """See `SpeedOptions.choose_speed`.

        Raises:
            UsageError: A time that is not above 0, or lists that are none.
        """
        if self.max_latency_ms is not None and not self.max_latency_ms > 0:
            raise UsageError("--max-latency-ms: expected more than 0")
        return dataclasses.replace(
            super().choose_speed(),
            callers=parse_numbers("--callers", self.callers),
            max_latency_ms=self.max_latency_ms,
            fresh_processes=self.fresh_processes,
        )

    def choose_imports(self) -> tuple[tuple[Path, int | None], ...]:
        """Return the files to import, each with its batch size where that was given."""
        return tuple(map(_split_import, self.imports))

    def choose_loadgen(self) -> LoadgenOptions | None:
        """Return how LoadGen is run, or None where it is not.

        Raises:
            UsageError: A time that is not above 0.
            MissingRuntimeError: LoadGen is not installed.
        """
        if not self.loadgen:
            return None
        from assay.measure.speed.loadgen import LoadgenOptions, require_loadgen

        if not (self.loadgen_seconds > 0 and self.server_latency_ms > 0):
            raise UsageError("--loadgen-seconds and --server-latency-ms: expected more than 0")
        require_loadgen()
        return LoadgenOptions(seconds=self.loadgen_seconds, server_latency_ms=self.server_latency_ms)


def _split_import(text: str) -> tuple[Path, int | None]:
    """Return the file and the batch size of an import.

    >>> _split_import("times.json@bs16")[1], _split_import("times.json")[1]
    (16, None)
    """
    found = re.fullmatch(r"(.+)@bs([1-9][0-9]*)", text, re.ASCII | re.DOTALL)
    return (Path(found[1]), int(found[2])) if found else (Path(text), None)
