"""Results that other tools wrote, read into rows that say where they are from.

| tool | file | clock |
|---|---|---|
| trtexec | `--exportTimes` | `device`: compute time on the GPU, copies left out |
| ais_bench | summary JSON | `device`: time in aclmdlExecute |
| benchmark_app | `-json_stats -report_type no_counters` | `call`: frames over the time of the whole run |
| MLPerf LoadGen | `mlperf_log_detail.txt` | its own: see `LoadgenRow` |
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from assay.errors import BadInputError, shorten
from assay.files import hash_file
from assay.measure.speed.loadgen_logs import LoadgenRow, make_loadgen_row, read_details
from assay.measure.speed.percentiles import compute_percentile

MAX_FILE_BYTES = 1 << 30
EXPECTED = (
    "expected trtexec's --exportTimes, ais_bench's summary JSON, benchmark_app's report of "
    "-json_stats -report_type no_counters, or LoadGen's mlperf_log_detail.txt"
)
# A throughput that a file states must be what its own times give, but for its rounding.
MAX_DISAGREEMENT = 0.01


class ImportedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A result of another tool, as its file says it, or computed from the times in it.

    Args:
        tool: What wrote the file.
        source_file: As it was given.
        sha256: Of the file.
        device: As the file says; empty where it does not.
        batch_size: Images in one call.
        clock: Which of assay's clocks it is.
        images_per_second: Over all of the file.
        call_count: Calls that were timed.
        latency_ms: By name, such as `p50`, `mean`; what the file gives.
        how: How the images per second came about.
    """

    tool: str
    source_file: str
    sha256: str
    device: str = ""
    batch_size: int
    clock: Literal["device", "call"]
    images_per_second: float
    call_count: int
    latency_ms: dict[str, float]
    how: str


class _Source(NamedTuple):
    path: Path
    sha256: str
    batch_size: int | None


def import_result(path: Path, batch_size: int | None = None) -> ImportedRow | LoadgenRow:
    """The result in a file of another tool; the tool is known by the content.

    Args:
        path: The file.
        batch_size: Images in one call; needed where the file does not say it.

    Raises:
        BadInputError: Not to be read, of no tool that is known, or at odds with itself or the batch size.
    """
    head = _read_head(path)
    source = _Source(path, hash_file(path), batch_size)
    if head.startswith(b":::MLLOG"):
        row = make_loadgen_row(read_details(path), str(path))
        return msgspec.structs.replace(row, imported_sha256=source.sha256)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _refuse(path, "neither JSON nor a log of LoadGen") from error
    try:
        return _import_json(content, source)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BadInputError(
            f"--import {path}: a value is missing or not what it should be: {shorten(repr(error))}",
            hint=EXPECTED,
        ) from error


def _read_head(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise BadInputError(f"--import {path}: cannot be read: {error.strerror}", hint=EXPECTED) from error
    if size > MAX_FILE_BYTES:
        raise BadInputError(f"--import {path}: {size:,} bytes, expected at most {MAX_FILE_BYTES:,}")
    return head


def _refuse(path: Path, found: str) -> BadInputError:
    return BadInputError(f"--import {path}: {found}", hint=EXPECTED)


def _import_json(content: Any, source: _Source) -> ImportedRow:
    if isinstance(content, list) and content and isinstance(content[0], dict) and "computeMs" in content[0]:
        return _import_trtexec(content, source)
    if isinstance(content, dict) and "NPU_compute_time" in content:
        return _import_ais_bench(content, source)
    if isinstance(content, dict) and "throughput" in content.get("execution_results", {}):
        return _import_benchmark_app(content, source)
    found = shorten(", ".join(sorted(content)[:5])) if isinstance(content, dict) else type(content).__name__
    raise _refuse(source.path, f"JSON of no tool that is known; found {found or 'nothing in it'}")


def _require_batch_size(source: _Source) -> int:
    if source.batch_size is None:
        raise BadInputError(
            f"--import {source.path}: the file does not say the batch size",
            hint=f"give it: --import {source.path}@bs16",
        )
    return source.batch_size


def _check_batch_size(source: _Source, found: int) -> int:
    if found < 1 or source.batch_size not in (None, found):
        raise BadInputError(
            f"--import {source.path}: the file says batch size {found}, not {source.batch_size or 'from 1'}"
        )
    return found


def _import_trtexec(queries: Sequence[Mapping[str, Any]], source: _Source) -> ImportedRow:
    batch_size = _require_batch_size(source)
    compute_ms = [float(query["computeMs"]) for query in queries]
    spans = sorted((float(query["startComputeMs"]), float(query["endComputeMs"])) for query in queries)
    return ImportedRow(
        tool="trtexec",
        source_file=str(source.path),
        sha256=source.sha256,
        batch_size=batch_size,
        clock="device",
        images_per_second=1000 * batch_size * len(queries) / _measure_union(spans),
        call_count=len(queries),
        latency_ms=_summarise(compute_ms),
        how="images over the time in which a query computed; trtexec's own figure is over wall time",
    )


def _measure_union(spans: Sequence[tuple[float, float]]) -> float:
    """The length of what spans cover, which may overlap; sorted by their starts.

    >>> _measure_union([(0, 2), (1, 3), (10, 11)])
    4.0
    """
    total, end = 0.0, float("-inf")
    for start, stop in spans:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _summarise(values: Sequence[float]) -> dict[str, float]:
    percentiles = {f"p{percent}": compute_percentile(values, percent) for percent in (50, 90, 99)}
    return {**percentiles, "mean": statistics.fmean(values)}


def _import_ais_bench(summary: Mapping[str, Any], source: _Source) -> ImportedRow:
    computed = summary["NPU_compute_time"]
    rate, mean = float(summary["throughput"]), float(computed["mean"])
    # throughput is 1000 * batch size / mean, by ais_bench's own formula
    implied = rate * mean / 1000
    batch_size = _check_batch_size(source, round(implied))
    if abs(implied - batch_size) > MAX_DISAGREEMENT * batch_size:
        raise BadInputError(
            f"--import {source.path}: throughput {rate:g} and mean {mean:g} ms give a batch size "
            f"of {implied:.2f}"
        )
    told = [value for value in summary.get("npu_compute_time_list", ()) if isinstance(value, (int, float))]
    names = {"median": "p50", "percentile(99%)": "p99", "mean": "mean", "min": "min", "max": "max"}
    stated = {name: float(computed[key]) for key, name in names.items() if key in computed}
    return ImportedRow(
        tool="ais_bench",
        source_file=str(source.path),
        sha256=source.sha256,
        batch_size=batch_size,
        clock="device",
        images_per_second=rate,
        call_count=int(computed.get("count", len(told))),
        latency_ms=_summarise(told) if told else stated,
        how="1000 x batch size / mean compute time, as stated in the file",
    )


def _import_benchmark_app(report: Mapping[str, Any], source: _Source) -> ImportedRow:
    results, setup = report["execution_results"], report.get("configuration_setup", {})
    stated = setup.get("batch size", setup.get("batch_size"))
    batch_size = _require_batch_size(source) if stated is None else _check_batch_size(source, int(stated))
    names = {"latency (ms)": "p50", "avg latency": "mean", "min latency": "min", "max latency": "max"}
    names |= {f"latency ({percent} percentile) (ms)": f"p{percent}" for percent in range(1, 101)}
    return ImportedRow(
        tool="benchmark_app",
        source_file=str(source.path),
        sha256=source.sha256,
        device=str(setup.get("target device", setup.get("target_device", ""))),
        batch_size=batch_size,
        clock="call",
        images_per_second=float(results["throughput"]),
        call_count=int(results["total number of iterations"]),
        latency_ms={name: float(results[key]) for key, name in names.items() if key in results},
        how="frames over the time of the whole run, as stated in the file",
    )
