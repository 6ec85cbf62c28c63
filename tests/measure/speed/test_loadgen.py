"""MLPerf LoadGen over sessions that stand in for a runtime: it comes back whatever they do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay.arrays import Batch, Images, Logits
from assay.errors import BadInputError, EngineError
from assay.measure.speed import loadgen
from assay.measure.speed.loadgen import LoadgenOptions, answer_every_image, run_scenarios
from assay.measure.speed.loadgen_logs import SCENARIOS, Scenario, make_loadgen_row, read_details
from session_double import SessionDouble

pytest.importorskip("mlperf_loadgen")
IMAGES = np.arange(40, dtype=np.float32).reshape(40, 1, 1, 1)
QUICK = LoadgenOptions(seconds=0.2, batch_size=4, server_latency_ms=1000, silence_s=2)


class IndexSession(SessionDouble):
    """Says of every image that its likeliest class is its only pixel."""

    concurrency = 2

    def __init__(self, before: Callable[[Batch], None] = lambda _: None) -> None:
        self._before = before

    def run(self, images: Batch) -> Logits:
        self._before(images)
        logits = np.zeros((len(images), 50), dtype=np.float32)
        logits[np.arange(len(images)), images[:, 0, 0, 0].astype(int)] = 1
        return logits


def load_all(_indices: object) -> tuple[Images, dict[int, int]]:
    return IMAGES, {index: index for index in range(len(IMAGES))}


def test_the_four_scenarios_are_valid(tmp_path: Path) -> None:
    session = IndexSession(lambda _: time.sleep(0.0005))
    rows = run_scenarios(session, IMAGES, QUICK, tmp_path / "loadgen")
    found = {row.scenario: (row.is_valid, row.reasons) for row in rows}
    assert found == dict.fromkeys(("SingleStream", "MultiStream", "Server", "Offline"), (True, ()))
    assert all((tmp_path / "loadgen" / row.scenario / "mlperf_log_summary.txt").exists() for row in rows)


def test_what_a_short_run_lacks_of_mlperfs_rules_is_said(tmp_path: Path) -> None:
    rows = run_scenarios(IndexSession(), IMAGES, QUICK, tmp_path / "loadgen")
    assert rows[0].falls_short_of == ("0.2 of 600 s", "40 of 1,024 loaded images")


def test_every_image_has_its_own_answer_and_no_batch_is_too_large(tmp_path: Path) -> None:
    sizes: list[int] = []
    session = IndexSession(lambda images: sizes.append(len(images)))
    answers = answer_every_image(session, 40, load_all, QUICK, tmp_path)
    assert {index: classes[0] for index, classes in answers.items()} == {index: index for index in range(40)}
    assert max(sizes) <= 4


def test_an_image_that_failed_to_decode_has_no_answer(tmp_path: Path) -> None:
    def load(_indices: object) -> tuple[Images, dict[int, int]]:
        return IMAGES[1:], {index: index - 1 for index in range(1, 40)}

    assert set(answer_every_image(IndexSession(), 40, load, QUICK, tmp_path)) == set(range(1, 40))


def test_an_answer_that_is_not_finite_is_none(tmp_path: Path) -> None:
    class NanSession(IndexSession):
        def run(self, images: Batch) -> Logits:
            return super().run(images) * np.float32("nan")

    assert answer_every_image(NanSession(), 40, load_all, QUICK, tmp_path) == {}


def fail(_images: Batch) -> None:
    raise EngineError("the chip is gone")


def test_a_session_that_fails_ends_the_run_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the chip is gone"):
        run_scenarios(IndexSession(fail), IMAGES, QUICK, tmp_path)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_session_that_fails_on_the_way_ends_a_long_run(tmp_path: Path, scenario: Scenario) -> None:
    def fail_there(_images: Batch) -> None:
        if (tmp_path / scenario).exists():
            fail(_images)
        time.sleep(0.001)

    options = LoadgenOptions(seconds=0.1, batch_size=4, silence_s=2)
    with pytest.raises(EngineError, match="the chip is gone"):
        run_scenarios(IndexSession(fail_there), IMAGES, options, tmp_path)


def test_a_failed_server_run_does_not_last_its_time(tmp_path: Path) -> None:
    harness = loadgen._Harness(IndexSession(fail), QUICK, 40, load_all)
    settings = {"min_duration_ms": 600_000, "server_target_qps": 1000, "server_max_async_queries": 100}
    with pytest.raises(EngineError, match="the chip is gone"):
        harness.run("Server", tmp_path, settings)


def test_images_that_cannot_be_loaded_end_the_run(tmp_path: Path) -> None:
    def load(_indices: object) -> tuple[Images, dict[int, int]]:
        raise BadInputError("the disk is gone")

    with pytest.raises(BadInputError, match="the disk is gone"):
        answer_every_image(IndexSession(), 40, load, QUICK, tmp_path)


def test_no_thread_is_left_after_a_run(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    answer_every_image(IndexSession(), 40, load_all, QUICK, tmp_path)
    assert set(threading.enumerate()) <= before


def test_a_session_that_never_answers_is_given_up(tmp_path: Path) -> None:
    forever = threading.Event()

    def wait(_images: Batch) -> None:
        forever.wait()

    with pytest.raises(EngineError, match="gave no answer for"):
        answer_every_image(IndexSession(wait), 40, load_all, QUICK, tmp_path)
    forever.set()


def test_an_audit_file_in_the_current_folder_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "audit.config").write_text("*.*.mode = 2\n")
    monkeypatch.chdir(tmp_path)
    assert len(answer_every_image(IndexSession(), 40, load_all, QUICK, tmp_path)) == 40


def test_a_log_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_detail.txt").write_text(':::MLLOG {"key": "power_begin", "value": "now"}\n')
    with pytest.raises(BadInputError, match="no result of MLPerf LoadGen"):
        read_details(tmp_path / "mlperf_log_detail.txt")


def test_the_details_of_an_accuracy_run_are_no_speed(tmp_path: Path) -> None:
    answer_every_image(IndexSession(), 40, load_all, QUICK, tmp_path)
    with pytest.raises(BadInputError, match="not the details of a LoadGen performance run"):
        make_loadgen_row(read_details(tmp_path / "mlperf_log_detail.txt"), "here")
