"""Runs MLPerf LoadGen's scenarios over a session."""

from __future__ import annotations

import collections
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from assay.arrays import Batch
from assay.defaults import LOADGEN_SECONDS, SERVER_LATENCY_MS
from assay.engines.engine import Session
from assay.errors import EngineError, MissingRuntimeError
from assay.inference.predictions import TOP_K, rank_top_classes
from assay.measure.speed.loadgen_logs import (
    DETAIL_LOG,
    SCENARIOS,
    LoadgenRow,
    Scenario,
    make_loadgen_row,
    read_details,
)

# Early stopping needs so many queries for the scenario's percentile, 90 or 99, at 99 % confidence.
MIN_QUERIES: Mapping[Scenario, int] = {"SingleStream": 64, "MultiStream": 662, "Server": 662, "Offline": 1}
PROBE_MS = 1000
OFFLINE_RESERVES = (1.3, 3.0, 10.0)  # the one query is made for a session so much faster than in the probe
SERVER_SHARES = (0.9, 0.7, 0.5, 0.3, 0.1)  # of the rate of Offline, tried one after the other
MAX_LOADED = 256  # images of the data set in memory at once, 150 MB
ACCURACY_LOG = "mlperf_log_accuracy.json"
SERVER_BACKLOG_S = 5  # Server is ended when queries of so many seconds wait: its bound is long missed by then
MIN_SERVER_BACKLOG = 64
_NO_ANSWER = -1

LoadedImages = tuple[Batch, Mapping[int, int]]
"""Images, and the row of each by its index in the data set; those that failed to decode have none."""
LoadImages = Callable[[Sequence[int]], LoadedImages]


@dataclass(frozen=True, kw_only=True)
class LoadgenOptions:
    """How LoadGen is run.

    Args:
        seconds: The shortest time of a performance run; MLPerf asks for 600.
        batch_size: Most samples in one call of a model that does not fix it.
        server_latency_ms: Bound on the 99th percentile in Server; MLPerf's for ResNet-50 is 15.
        silence_s: No answer for so long, and the run is given up.
    """

    seconds: float = LOADGEN_SECONDS
    batch_size: int = 8
    server_latency_ms: float = SERVER_LATENCY_MS
    silence_s: float = 120.0


def require_loadgen() -> ModuleType:
    """Return MLPerf LoadGen's Python module.

    Raises:
        MissingRuntimeError: It is not installed.
    """
    try:
        import mlperf_loadgen
    except ImportError as error:
        raise MissingRuntimeError(
            "MLPerf LoadGen is not installed", hint="pip install 'assay[loadgen]'"
        ) from error
    loadgen: ModuleType = mlperf_loadgen
    return loadgen


def run_scenarios(
    session: Session,
    images: Batch,
    options: LoadgenOptions,
    folder: Path,
    on_scenario: Callable[[str], None] = lambda _line: None,
) -> list[LoadgenRow]:
    """Run LoadGen's four scenarios; its files go into a folder for each.

    A short probe comes first: LoadGen must be told about how fast the session is, and calls a run invalid
    where that was wrong. It is then run again with another guess; in Server with ever lower rates, until one
    keeps the latency.

    Args:
        session: What is measured.
        images: What the queries draw from, as the session takes it.
        options: Time, batch size, latency bound.
        folder: Where the files go.
        on_scenario: Told what is run next.

    Raises:
        MissingRuntimeError: LoadGen is not installed.
        EngineError: The session failed, or gave no answer for too long.
    """
    rows = {index: index for index in range(len(images))}
    harness = _Harness(session, options, len(images), lambda _: (images, rows))
    on_scenario("LoadGen: probing how fast the session is")
    probe = harness.run("SingleStream", folder / "probe", {"min_duration_ms": 0, "min_query_count": 64})
    fastest_ns = int(probe["result_min_latency_ns"])
    offline = {"min_duration_ms": PROBE_MS, "offline_expected_qps": 1e9 / fastest_ns}
    probe = harness.run("Offline", folder / "probe", offline)
    rate = float(probe["result_samples_per_second"])
    found = []
    for scenario in SCENARIOS:
        on_scenario(f"LoadGen: {scenario}, at least {options.seconds:g} s")
        for guess in _guess_settings(scenario, fastest_ns, rate, options):
            settings = guess | {
                "min_duration_ms": int(1000 * options.seconds),
                "min_query_count": MIN_QUERIES[scenario],
            }
            details = harness.run(scenario, folder / scenario, settings)
            if details["result_validity"] == "VALID":
                break
        found.append(make_loadgen_row(details, f"{folder.name}/{scenario}"))
    return found


def _guess_settings(
    scenario: Scenario, fastest_ns: int, rate: float, options: LoadgenOptions
) -> list[dict[str, float]]:
    """The speeds that LoadGen is told, the next where a run with the one before is invalid.

    Args:
        scenario: Of MLPerf's four.
        fastest_ns: The shortest latency of one image in the probe.
        rate: Batch/s in the probe.
        options: The latency bound of Server.
    """
    if scenario == "SingleStream":  # a guess below the truth only makes LoadGen prepare more queries
        return [{"single_stream_expected_latency_ns": fastest_ns}]
    if scenario == "MultiStream":
        return [{"multi_stream_expected_latency_ns": fastest_ns}]
    if scenario == "Offline":
        return [{"offline_expected_qps": reserve * rate} for reserve in OFFLINE_RESERVES]
    bound: dict[str, float] = {
        "server_target_latency_ns": int(1e6 * options.server_latency_ms),
        "server_target_latency_percentile": 0.99,
    }
    rates = [share * rate for share in SERVER_SHARES]
    return [
        bound
        | {
            "server_target_qps": qps,
            "server_max_async_queries": max(MIN_SERVER_BACKLOG, int(SERVER_BACKLOG_S * qps)),
        }
        for qps in rates
    ]


def answer_every_image(
    session: Session, image_count: int, load: LoadImages, options: LoadgenOptions, folder: Path
) -> dict[int, tuple[int, ...]]:
    """The likeliest classes that LoadGen logged for each image in AccuracyOnly, by index.

    An image that failed to decode has none.

    Args:
        session: What is asked.
        image_count: Batch of the data set.
        load: Returns the images of a block of indices; called for one block after the other.
        options: Batch size, watchdog.
        folder: Where LoadGen's files go.

    Raises:
        MissingRuntimeError: LoadGen is not installed.
        EngineError: The session failed, gave no answer for too long, or an image was not asked for once.
    """
    _Harness(session, options, image_count, load).run("Offline", folder, {}, mode="AccuracyOnly")
    logged = json.loads((folder / ACCURACY_LOG).read_text(encoding="utf-8"))
    answers = {
        entry["qsl_idx"]: np.frombuffer(bytes.fromhex(entry["data"]), dtype="<i4").tolist()
        for entry in logged
    }
    if not len(logged) == len(answers) == image_count:
        raise EngineError(f"LoadGen logged {len(logged):,} answers, expected {image_count:,}, one an image")
    return {
        index: tuple(number for number in classes if number != _NO_ANSWER)
        for index, classes in answers.items()
        if classes[0] != _NO_ANSWER
    }


class _Harness:
    """The system under test: what LoadGen asks for, answered by threads that call the session.

    LoadGen waits for every answer for ever, and an exception that goes through it leaves its logging thread
    with files that are gone, and later ends the process. So nothing is raised into it: after a failure it is
    answered with nothing until it comes back, and `run` raises what was the cause.
    """

    def __init__(self, session: Session, options: LoadgenOptions, total: int, load: LoadImages) -> None:
        self.options = options
        self._loadgen = require_loadgen()
        self._session = session
        self._total = total
        self._load = load
        self._loaded: LoadedImages | None = None
        self._waiting: collections.deque[tuple[int, int]] = collections.deque()  # (id, index)
        self._unanswered: set[int] = set()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._last_answer = 0.0
        self._is_over = False
        self._holds_back = False  # answers, after a failure

    def run(
        self,
        scenario: Scenario,
        folder: Path,
        settings: Mapping[str, float],
        mode: str = "PerformanceOnly",
    ) -> dict[str, Any]:
        """Run one test, and return the details that LoadGen logged."""
        folder.mkdir(parents=True, exist_ok=True)
        # LoadGen spreads the queries of Server over the time of the test; it ends early when too many of them
        # wait. In the other scenarios it asks on when it is answered.
        self._holds_back = scenario == "Server" and mode == "PerformanceOnly"
        self._error, self._is_over = None, False
        self._last_answer = time.perf_counter()
        workers = [
            threading.Thread(target=self._answer_samples, daemon=True)
            for _ in range(self._session.concurrency)
        ]
        test = threading.Thread(target=self._test, args=(scenario, folder, mode, settings), daemon=True)
        for thread in (test, *workers):
            thread.start()
        try:
            while test.is_alive():
                test.join(0.1)
                self._watch()
        except BaseException as error:  # Ctrl-C: LoadGen must be answered before it comes back
            self._fail(error)
            test.join(self.options.silence_s)
            raise
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()
        if self._error is not None:
            raise self._error
        for worker in workers:
            worker.join()
        return read_details(folder / DETAIL_LOG)

    def _test(self, scenario: Scenario, folder: Path, mode: str, settings: Mapping[str, float]) -> None:
        loadgen = self._loadgen
        chosen = loadgen.TestSettings()
        chosen.scenario = getattr(loadgen.TestScenario, scenario)
        chosen.mode = getattr(loadgen.TestMode, mode)
        for name, value in settings.items():
            setattr(chosen, name, value)
        output = loadgen.LogOutputSettings()
        output.outdir = str(folder)
        logs = loadgen.LogSettings()
        logs.log_output = output
        logs.enable_trace = False  # 10 MB a second
        block = min(self._total, MAX_LOADED)
        system = loadgen.ConstructFastSUT(self._issue, self._flush)
        library = loadgen.ConstructQSL(self._total, block, self._load_block, self._unload_block)
        try:
            # "" for the audit file: else one in the current folder would override the settings
            loadgen.StartTestWithLogSettings(system, library, chosen, logs, "")
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            self._error = self._error or error
        finally:
            loadgen.DestroyQSL(library)
            loadgen.DestroyFastSUT(system)

    def _load_block(self, indices: Sequence[int]) -> None:
        self._loaded = None
        if self._error is None:
            try:
                self._loaded = self._load(indices)
            except Exception as error:  # noqa: BLE001 - raised again by `run`
                self._fail(error)
        self._last_answer = time.perf_counter()

    def _unload_block(self, _indices: Sequence[int]) -> None:
        self._loaded = None

    def _issue(self, ids: Sequence[int], indices: Sequence[int]) -> None:
        with self._changed:
            self._unanswered.update(ids)
            if self._error is None:
                self._waiting.extend(zip(ids, indices, strict=True))
                self._changed.notify_all()
        self._give_up()

    def _flush(self) -> None:
        """Hear that no more queries come."""
        self._holds_back = False
        self._give_up()

    def _answer_samples(self) -> None:
        while samples := self._take_samples():
            try:
                answers = self._predict([index for _, index in samples])
            except Exception as error:  # noqa: BLE001 - raised again by `run`
                self._fail(error)
            else:
                self._respond([sample_id for sample_id, _ in samples], answers)

    def _take_samples(self) -> list[tuple[int, int]]:
        """Up to a batch of what waits; nothing when the test is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over)
            count = min(len(self._waiting), self.options.batch_size)
            return [self._waiting.popleft() for _ in range(count)]

    def _predict(self, indices: Sequence[int]) -> npt.NDArray[np.int32]:
        """The likeliest classes of images, int32 (N, 5); -1 where there is no answer."""
        answers = np.full((len(indices), TOP_K), _NO_ANSWER, dtype=np.int32)
        if self._loaded is None:
            raise EngineError("LoadGen asked for images that it had not loaded")
        images, rows = self._loaded
        decoded = [number for number, index in enumerate(indices) if index in rows]
        if decoded:
            logits = self._session.run(images[[rows[indices[number]] for number in decoded]])  # (N, classes)
            classes = rank_top_classes(logits)  # (N, 5)
            classes[~np.isfinite(logits).all(axis=1)] = _NO_ANSWER
            answers[decoded, : classes.shape[1]] = classes
        return answers

    def _respond(self, ids: Sequence[int], answers: npt.NDArray[np.int32]) -> None:
        with self._changed:
            self._last_answer = time.perf_counter()
            unanswered = [
                (row, sample_id) for row, sample_id in enumerate(ids) if sample_id in self._unanswered
            ]
            self._unanswered.difference_update(ids)
        if not unanswered:  # given up meanwhile: the test may be gone
            return
        start, size = answers.ctypes.data, answers.itemsize * answers.shape[1]
        make_response = self._loadgen.QuerySampleResponse
        self._loadgen.QuerySamplesComplete(
            [make_response(sample_id, start + row * size, size) for row, sample_id in unanswered]
        )

    def _watch(self) -> None:
        silence = time.perf_counter() - self._last_answer
        if self._unanswered and silence > self.options.silence_s:
            self._fail(EngineError(f"the session gave no answer for {silence:.0f} s"))

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._waiting.clear()
        self._give_up()

    def _give_up(self) -> None:
        """After a failure, answer everything with nothing."""
        if self._error is None or self._holds_back:
            return
        with self._changed:
            ids = list(self._unanswered)
        self._respond(ids, np.full((len(ids), TOP_K), _NO_ANSWER, dtype=np.int32))
