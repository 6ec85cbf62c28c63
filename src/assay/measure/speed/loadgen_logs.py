"""Reads what MLPerf LoadGen logged of a performance run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import msgspec

from assay.errors import BadInputError, shorten

Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]
SCENARIOS: tuple[Scenario, ...] = ("SingleStream", "MultiStream", "Server", "Offline")
DETAIL_LOG = "mlperf_log_detail.txt"
PERCENTILES = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
MLPERF_SECONDS = 600.0
MLPERF_OFFLINE_SAMPLES = 24_576
MLPERF_LOADED_SAMPLES = 1_024
# What each scenario is judged by: its name, the key of its value, and by what that is divided.
_METRICS: dict[Scenario, tuple[str, str, float]] = {
    "SingleStream": ("p90 latency, early stopping, ms", "early_stopping_latency_ss", 1e6),
    "MultiStream": ("p99 latency of 8, early stopping, ms", "early_stopping_latency_ms", 1e6),
    "Server": ("completed samples/s", "result_completed_samples_per_sec", 1),
    "Offline": ("samples/s", "result_samples_per_second", 1),
}


class LoadgenRow(msgspec.Struct, frozen=True, kw_only=True):
    """What LoadGen found in one scenario.

    Args:
        scenario: Of MLPerf's four.
        is_valid: LoadGen's own verdict.
        reasons: Why it is not valid, in LoadGen's words.
        metric: What LoadGen judges the scenario by, with its unit.
        value: Of the metric; None where the run was too short for it.
        query_count: Queries that were answered.
        seconds: The shortest time the run was to last.
        loaded_samples: Images that the queries drew from.
        target_rate: Queries/s that were asked for, in Server.
        target_latency_ms: What the queries had to keep, in Server.
        percentiles_ms: Latencies of a query; none in Offline, which is one query.
        falls_short_of: What of MLPerf's rules for an image classifier the run does not keep.
        log_folder: LoadGen's own files: their folder in the run folder, or the file that was imported.
        imported_sha256: Of the file that was imported; empty where LoadGen was run here.
    """

    scenario: Scenario
    is_valid: bool
    reasons: tuple[str, ...]
    metric: str
    value: float | None
    query_count: int
    seconds: float
    loaded_samples: int
    target_rate: float | None = None
    target_latency_ms: float | None = None
    percentiles_ms: dict[str, float]
    falls_short_of: tuple[str, ...]
    log_folder: str
    imported_sha256: str = ""


def read_details(path: Path) -> dict[str, Any]:
    """The last value of every key in a detail log.

    Raises:
        BadInputError: Missing, or not one of LoadGen's.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInputError(f"{path} cannot be read: {error.strerror}") from error
    logged = [line.removeprefix(":::MLLOG ") for line in lines if line.startswith(":::MLLOG ")]
    try:
        found = {entry["key"]: entry["value"] for entry in map(json.loads, logged)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInputError(f"{path}: not a detail log of MLPerf LoadGen: {shorten(error)}") from error
    if "result_validity" not in found and found.get("effective_test_mode") != "AccuracyOnly":
        raise BadInputError(
            f"{path}: no result of MLPerf LoadGen in it",
            hint=f"expected the {DETAIL_LOG} of a performance run that came to its end",
        )
    return found


def make_loadgen_row(details: dict[str, Any], log_folder: str) -> LoadgenRow:
    """The figures in a performance run's details.

    Raises:
        BadInputError: They are of an accuracy run, or lack what LoadGen logs.
    """
    try:
        return _make_row(details, log_folder)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise BadInputError(
            f"{log_folder}: not the details of a LoadGen performance run: {shorten(error)}"
        ) from error


def _make_row(details: dict[str, Any], log_folder: str) -> LoadgenRow:
    scenario: Scenario = msgspec.convert(details["effective_scenario"].replace(" ", ""), Scenario)
    metric, key, divisor = _METRICS[scenario]
    value = details.get(key)
    reason = details.get("result_invalid_reason", "")
    is_server = scenario == "Server"
    return LoadgenRow(
        scenario=scenario,
        is_valid=details["result_validity"] == "VALID",
        reasons=tuple(part.strip() for part in str(reason).split("\n") if part.strip()),
        metric=metric,
        value=None if value is None else float(value) / divisor,
        query_count=int(details["result_query_count"]),
        seconds=float(details["effective_min_duration_ms"]) / 1000,
        loaded_samples=int(details["qsl_reported_performance_count"]),
        target_rate=float(details["effective_target_qps"]) if is_server else None,
        target_latency_ms=float(details["effective_target_latency_ns"]) / 1e6 if is_server else None,
        percentiles_ms={} if scenario == "Offline" else _read_percentiles(details),
        falls_short_of=tuple(_list_shortfalls(scenario, details)),
        log_folder=log_folder,
    )


def _read_percentiles(details: dict[str, Any]) -> dict[str, float]:
    keys = {
        f"p{percent.rstrip('0').rstrip('.')}": f"result_{percent}_percentile_latency_ns"
        for percent in PERCENTILES
    }
    return {name: float(details[key]) / 1e6 for name, key in keys.items() if key in details}


def _list_shortfalls(scenario: Scenario, details: dict[str, Any]) -> list[str]:
    """Each of MLPerf's rules that is not kept (inference rules, sections on ResNet-50's benchmark)."""
    found = []
    if details["effective_min_duration_ms"] < 1000 * MLPERF_SECONDS:
        found.append(f"{details['effective_min_duration_ms'] / 1000:g} of {MLPERF_SECONDS:g} s")
    if details["qsl_reported_performance_count"] < MLPERF_LOADED_SAMPLES:
        found.append(
            f"{details['qsl_reported_performance_count']} of {MLPERF_LOADED_SAMPLES:,} loaded images"
        )
    samples = details.get("effective_samples_per_query", 0)
    if scenario == "Offline" and samples < MLPERF_OFFLINE_SAMPLES:
        found.append(f"{samples:,} of {MLPERF_OFFLINE_SAMPLES:,} samples")
    if scenario == "Server" and details["effective_target_latency_ns"] > 15e6:
        found.append(f"a bound of {details['effective_target_latency_ns'] / 1e6:g} ms, not 15")
    return found
