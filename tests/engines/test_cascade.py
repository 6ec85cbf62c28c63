"""A cascade of two compiled models: a session as any other, gathered rows, and what is refused."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest

from assay.arrays import Batch, Logits
from assay.engines.cascade.compose import describe_cascade, write_cascade
from assay.engines.cascade.engine import CascadeEngine
from assay.engines.cascade.gather import Gatherer
from assay.engines.cascade.margins import compute_margins
from assay.engines.cascade.record import CascadeCount, CascadeRecord
from assay.engines.cascade.session import CascadeSession
from assay.engines.catalog import find_engine, load_for_evaluation
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.engines.engine import CompileChoice, Session
from assay.errors import BadModelError, EngineError, MissingRuntimeError, UsageError
from assay.models.calibration import CalibrationRecord
from assay.models.record import ModelRecord
from assay.workflows.devices.choose import choose_devices
from compiling import compile_with
from engines import engine_contract as contract
from session_double import SessionDouble

COUNT = CascadeCount(
    image_count=50,
    failed_count=0,
    fast_different_count=2,
    different_count=0,
    handed_on_count=9,
    upper_percent=5.8,
)


def make_record(threshold: float) -> CascadeRecord:
    return CascadeRecord(
        fast="openvino fp32 on CPU",
        exact="onnxruntime fp32 on CPU",
        scores="logits",
        threshold=threshold,
        max_different_percent=0.1,
        noise_threshold=threshold,
        counted_threshold=0,
        chosen_on=COUNT,
        stated=COUNT,
        needed_count=2995,
    )


@pytest.fixture
def compiled_models(
    colour_onnx: Path, colour_record: ModelRecord, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """The colour classifier for two engines, compiled once; a session of either gives its logits."""
    folder = tmp_path_factory.getbasetemp() / "models_of_cascades"
    for name in ("openvino", "onnxruntime"):
        if not (folder / name).exists():
            (folder / name).mkdir(parents=True)
            compile_with(find_engine(name), colour_onnx, folder / name, colour_record, precision="fp32")
    return folder / "openvino", folder / "onnxruntime"


@pytest.fixture
def engine() -> CascadeEngine:
    return CascadeEngine()


@pytest.fixture
def compiled_dir(compiled_models: tuple[Path, Path], tmp_path: Path) -> Path:
    """A cascade that hands on about half of the images that the contract draws."""
    fast, exact = compiled_models
    folder = tmp_path / "cascade"
    folder.mkdir()
    made = describe_cascade(read_compiled_json(fast), read_compiled_json(exact))
    write_cascade(fast, exact, folder, made, make_record(0.5))
    return folder


@pytest.fixture
def session(engine: CascadeEngine, compiled_dir: Path) -> Iterator[Session]:
    session = engine.load(compiled_dir)
    yield session
    session.close()


test_logits_are_float32_with_a_row_for_each_image = contract.test_logits_are_float32_with_a_row_for_each_image
test_logits_are_those_of_the_network = contract.test_logits_are_those_of_the_network
test_row_i_belongs_to_image_i = contract.test_row_i_belongs_to_image_i
test_a_result_is_not_changed_by_the_next_run = contract.test_a_result_is_not_changed_by_the_next_run
test_the_images_are_not_changed = contract.test_the_images_are_not_changed
test_wrong_images_are_refused = contract.test_wrong_images_are_refused
test_a_session_for_evaluation_gives_the_logits_of_the_plain_one = (
    contract.test_a_session_for_evaluation_gives_the_logits_of_the_plain_one
)
test_a_session_for_pixels_refuses_images = contract.test_a_session_for_pixels_refuses_images
test_as_many_threads_as_it_says_may_call_at_once = contract.test_as_many_threads_as_it_says_may_call_at_once
test_a_closed_session_refuses_to_run_and_closes_again = (
    contract.test_a_closed_session_refuses_to_run_and_closes_again
)
test_a_model_can_be_loaded_again_after_closing = contract.test_a_model_can_be_loaded_again_after_closing
test_a_changed_file_is_refused = contract.test_a_changed_file_is_refused
test_a_missing_file_is_refused = contract.test_a_missing_file_is_refused
test_the_runtimes_own_error_is_wrapped = contract.test_the_runtimes_own_error_is_wrapped
test_the_session_says_what_it_runs_on = contract.test_the_session_says_what_it_runs_on
test_device_times_are_taken_once_for_each_call_or_never = (
    contract.test_device_times_are_taken_once_for_each_call_or_never
)
test_another_engines_model_is_refused = contract.test_another_engines_model_is_refused
test_a_folder_without_compiled_json_is_refused = contract.test_a_folder_without_compiled_json_is_refused


class Doubler(SessionDouble):
    """Gives each image, one number, the logits (0, margin), the number being the margin; counts its calls."""

    def __init__(self, offset: float = 0, concurrency: int = 1, wait: threading.Event | None = None) -> None:
        self.concurrency = concurrency
        self.sizes: list[int] = []
        self._offset = offset
        self._wait = wait

    def run(self, images: Batch) -> Logits:
        self.sizes.append(len(images))
        if self._wait is not None:
            assert self._wait.wait(30)
        if np.any(images == 13):
            raise EngineError("the runtime does not like 13")
        numbers = images.reshape(len(images), -1)[:, 0].astype(np.float32)
        return np.stack([np.full_like(numbers, self._offset), numbers + self._offset], axis=1)


@pytest.fixture
def plain(compiled_models: tuple[Path, Path]) -> CompiledModel:
    """A compiled model that fixes no size; what it was tuned to makes no difference here."""
    return msgspec.structs.replace(read_compiled_json(compiled_models[1]), tuning=None)


def test_rows_at_or_below_the_threshold_and_without_a_margin_are_the_exact_models(
    plain: CompiledModel,
) -> None:
    session = CascadeSession(make_record(2), Doubler(), Doubler(offset=100), plain)
    images = np.array([0, 5, 2, 2.001, np.nan, np.inf], dtype=np.float32).reshape(-1, 1)
    logits, handed_on = session.run_choosing(images)
    assert handed_on.tolist() == [True, False, True, False, True, True]
    np.testing.assert_array_equal(logits[:, 0], np.where(handed_on, 100, 0))


def test_rows_of_callers_that_wait_run_in_one_call_and_each_gets_its_own() -> None:
    begin = threading.Event()
    exact = Doubler(wait=begin)
    gatherer = Gatherer(exact, call_size=None, enough=1)
    numbers = range(1, 9)
    with ThreadPoolExecutor(8) as threads:
        found = [
            threads.submit(gatherer.run, np.full((number, 1), number, dtype=np.float32), 0)
            for number in numbers
        ]
        while len(gatherer._waiting) < 7:  # the first runs, alone; the others gather meanwhile
            time.sleep(0.001)
        begin.set()
        logits = [one.result(30) for one in found]
    assert len(exact.sizes) == 2
    assert sum(exact.sizes) == sum(numbers)
    for number, rows in zip(numbers, logits, strict=True):
        np.testing.assert_array_equal(rows[:, 1], np.full(number, number))


def test_a_call_holds_no_more_rows_than_the_exact_model_takes() -> None:
    exact = Doubler()
    rows = np.arange(10, dtype=np.float32).reshape(-1, 1)
    logits = Gatherer(exact, call_size=4, enough=4).run(rows, 0)
    assert exact.sizes == [4, 4, 2]
    np.testing.assert_array_equal(logits[:, 1], np.arange(10))


def test_a_caller_that_is_alone_does_not_wait_for_others() -> None:
    began = time.monotonic()
    Gatherer(Doubler(), call_size=None, enough=100).run(np.ones((1, 1), dtype=np.float32), 3600)
    assert time.monotonic() - began < 60


def test_an_expected_caller_that_never_comes_is_waited_for_no_longer_than_the_patience() -> None:
    gatherer = Gatherer(Doubler(), call_size=None, enough=100)
    with gatherer.expect(), ThreadPoolExecutor(1) as threads:
        found = threads.submit(gatherer.run, np.ones((1, 1), dtype=np.float32), 0.01)
        assert found.result(30).shape == (1, 2)


def test_an_error_of_the_exact_model_reaches_every_caller_and_the_next_call_runs(
    plain: CompiledModel,
) -> None:
    session = CascadeSession(make_record(20), Doubler(offset=1), Doubler(), plain)
    session._fast.run = lambda images: np.zeros((len(images), 2), dtype=np.float32)  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="does not like 13"):
        session.run(np.array([[13.0]], dtype=np.float32))
    assert session.run(np.array([[5.0]], dtype=np.float32)).tolist() == [[0, 5]]


def test_many_callers_get_their_own_rows_in_order(plain: CompiledModel) -> None:
    fast, exact = Doubler(concurrency=2), Doubler(offset=100)
    session = CascadeSession(make_record(30), fast, exact, plain)
    rng = np.random.default_rng(0)
    batches = [rng.integers(20, 60, (size, 1)).astype(np.float32) for size in rng.integers(1, 9, 200)]
    with ThreadPoolExecutor(session.concurrency) as threads:
        found = list(threads.map(session.run, batches))
    for batch, logits in zip(batches, found, strict=True):
        np.testing.assert_array_equal(logits[:, 1] - logits[:, 0], batch[:, 0])
        np.testing.assert_array_equal(logits[:, 0], np.where(batch[:, 0] <= 30, 100, 0))


def test_margins_are_differences_of_logits_also_of_probabilities_and_of_a_sigmoid() -> None:
    logits = np.array([[1.0, 3.5, -2.0], [0.0, 0.0, -1.0]])
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-logits))
    for scores, kind in ((logits, "logits"), (softmax, "probabilities"), (sigmoid, "sigmoid")):
        found = compute_margins(scores.astype(np.float32), kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, [2.5, 0], atol=1e-5)


def test_a_cascade_is_of_both_its_models_and_still_works_elsewhere(
    compiled_dir: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    shutil.move(compiled_dir, moved)
    assert {"cascade.json", "fast/compiled.json", "exact/compiled.json"} <= set(
        read_compiled_json(moved).files
    )
    find_engine("cascade").load(moved).close()


def replace_model(compiled: CompiledModel, place: str, **changes: object) -> CompiledModel:
    part = msgspec.structs.replace(getattr(compiled.model, place), **changes)
    return msgspec.structs.replace(compiled, model=msgspec.structs.replace(compiled.model, **{place: part}))


def test_models_that_are_not_of_one_network_are_refused(compiled_models: tuple[Path, Path]) -> None:
    fast, exact = (read_compiled_json(path) for path in compiled_models)
    calibration = CalibrationRecord(
        source_sha256="0" * 64, sha256="", tool="", preset="mixed", seed=0, float_layers=(), images=()
    )
    others = {
        "the output differs": replace_model(exact, "output", scores="probabilities"),
        "the preprocessing differs": replace_model(exact, "preprocessing", resize_side=300),
        "of other weights": msgspec.structs.replace(exact, source_files={"other.onnx": "1" * 64}),
    }
    for complaint, other in others.items():
        with pytest.raises(BadModelError, match=complaint):
            describe_cascade(fast, other)
    with pytest.raises(BadModelError, match="of other weights"):
        describe_cascade(msgspec.structs.replace(fast, calibration=calibration), exact)
    with pytest.raises(UsageError, match="same compiled model"):
        describe_cascade(fast, fast)
    with pytest.raises(UsageError, match="cannot be one of the two"):
        describe_cascade(fast, msgspec.structs.replace(exact, engine="cascade"))


def test_nothing_is_compiled_for_it(engine: CascadeEngine, colour_record: ModelRecord) -> None:
    with pytest.raises(UsageError, match="compiles nothing"):
        engine.resolve(CompileChoice(engine="cascade"), colour_record)


def test_both_models_of_a_cascade_run_on_the_device_of_a_number(
    colour_onnx: Path, colour_record: ModelRecord, tmp_path: Path
) -> None:
    models = {"fast": {"devices": "4"}, "exact": {"devices": "3"}, "cascade": {}}
    for name in models:
        (tmp_path / name).mkdir()
    for name in ("fast", "exact"):
        compile_with(
            find_engine("constant"), colour_onnx, tmp_path / name, colour_record, settings=models[name]
        )
    fast, exact, cascade = (tmp_path / name for name in models)
    made = describe_cascade(read_compiled_json(fast), read_compiled_json(exact))
    write_cascade(fast, exact, cascade, made, make_record(0.5))
    assert [device.number for device in choose_devices("all", cascade).devices] == [0, 1, 2]
    load_for_evaluation(cascade, 2).close()
    with pytest.raises(MissingRuntimeError, match="no device none:3"):
        load_for_evaluation(cascade, 3)


def test_a_cascade_of_models_without_numbered_devices_is_refused_on_several(compiled_dir: Path) -> None:
    with pytest.raises(UsageError, match="openvino does not tell several CPU apart and engine onnxruntime"):
        choose_devices("0", compiled_dir)
