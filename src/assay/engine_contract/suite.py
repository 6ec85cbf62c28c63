"""The contract of engines: of each in the catalog, those that are missing skipped and named, or of one alone.

`--engine torch --device cuda --setting mode=eager` holds one engine to it, on a device and with settings.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.arrays import Images, Pixels
from assay.engine_contract.classifier import draw_weights
from assay.engines.catalog import ENGINES, find_engine, find_numbered, load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileChoice, CompileOptions, Engine, PixelEngine, Session
from assay.engines.sources import recall_options
from assay.errors import BadModelError, EngineError, MissingRuntimeError, UsageError
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hold the engine that is asked for to the contract, or all."""
    if "engine" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--engine")
        metafunc.parametrize("engine", [asked] if asked else list(ENGINES), indirect=True)


@pytest.fixture
def prepare_machine() -> Callable[[str], None]:
    """What is done before an engine is found by its name; where there are doubles, they are put in place."""
    return lambda _name: None


@pytest.fixture
def engine(request: pytest.FixtureRequest, prepare_machine: Callable[[str], None]) -> Engine:
    prepare_machine(request.param)
    try:
        return find_engine(request.param)
    except MissingRuntimeError as error:
        if request.config.getoption("--engine"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def source(engine: Engine, colour_onnx: Path, colour_checkpoint: Path) -> Path:
    """The colour classifier, in the form that the engine compiles."""
    return colour_checkpoint if engine.source == "checkpoint" else colour_onnx


@pytest.fixture
def choice(engine: Engine, request: pytest.FixtureRequest) -> CompileChoice:
    """Batches of any size, or of 8 where the engine fixes the size; the device that was asked for."""
    return CompileChoice(
        engine=engine.name,
        precision="fp32",
        device=request.config.getoption("--device"),
        batch_size=8 if engine.batch_sizes == "fixed" else None,
        settings=dict(setting.split("=", 1) for setting in request.config.getoption("--setting")),
    )


@pytest.fixture
def options(engine: Engine, choice: CompileChoice, colour_record: ModelRecord) -> CompileOptions:
    return engine.resolve(choice, colour_record)


@pytest.fixture(scope="module")
def compiled_dirs() -> dict[str, Path]:
    """The model that each engine has compiled, by the engine's name."""
    return {}


@pytest.fixture
def compiled_dir(
    engine: Engine,
    source: Path,
    options: CompileOptions,
    compiled_dirs: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> Path:
    """A copy, for the test to change, of the model that is compiled once for all tests."""
    if engine.name not in compiled_dirs:
        folder = tmp_path_factory.mktemp(engine.name)
        engine.compile(source, folder, options)
        compiled_dirs[engine.name] = folder
    return Path(shutil.copytree(compiled_dirs[engine.name], tmp_path / "compiled"))


@pytest.fixture
def session(engine: Engine, compiled_dir: Path) -> Iterator[Session]:
    session = engine.load(compiled_dir)
    yield session
    session.close()


def draw_images(count: int, seed: int = 0) -> Images:
    """Images with a colour each, so that the colour classifier tells them apart."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(count, 3, 1, 1)).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(colours, (count, 3, 224, 224)))


def draw_pixels(count: int, seed: int = 0) -> Pixels:
    """Pictures with a colour each."""
    colours = np.random.default_rng(seed).integers(0, 256, size=(count, 1, 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (count, 224, 224, 3)))


def test_logits_are_float32_with_a_row_for_each_image(session: Session) -> None:
    logits = session.run(draw_images(3))
    assert logits.dtype == np.float32
    assert logits.shape == (3, 1000)


def test_logits_are_those_of_the_network(engine: Engine, session: Session) -> None:
    if engine.devices == ("none",):
        pytest.skip("computes nothing of the network, and says so")
    images = np.random.default_rng(0).normal(size=(4, 3, 224, 224)).astype(np.float32)
    expected = images.mean(axis=(2, 3)) @ draw_weights()
    np.testing.assert_allclose(session.run(images), expected, atol=1e-4)


def test_row_i_belongs_to_image_i(session: Session) -> None:
    images = draw_images(5)
    batch = session.run(images)
    alone = np.concatenate([session.run(images[row : row + 1]) for row in range(5)])
    backwards = session.run(np.ascontiguousarray(images[::-1]))
    np.testing.assert_allclose(batch, alone, atol=1e-4)
    np.testing.assert_allclose(batch[::-1], backwards, atol=1e-4)


def test_a_result_is_not_changed_by_the_next_run(session: Session) -> None:
    first = session.run(draw_images(2, seed=1))
    kept = first.copy()
    second = session.run(draw_images(2, seed=2))
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)


def test_the_images_are_not_changed(session: Session) -> None:
    images = draw_images(2)
    kept = images.copy()
    session.run(images)
    np.testing.assert_array_equal(images, kept)


def test_a_partial_batch_gives_the_same_rows(
    engine: Engine, session: Session, source: Path, options: CompileOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "batch_of_4"
    folder.mkdir()
    engine.compile(source, folder, dataclasses.replace(options, batch_size=4))
    fixed = engine.load(folder)
    images = draw_images(3)
    np.testing.assert_allclose(fixed.run(images), session.run(images), atol=1e-4)
    with pytest.raises(ValueError, match="compiled for batches of 4, found 5"):
        fixed.run(draw_images(5))
    fixed.close()


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((1, 3, 224, 224), dtype=np.float64), "expected float32, found float64"),
        (np.zeros((1, 3, 224, 224), dtype=np.uint8), "expected float32, found uint8"),
        (np.zeros((3, 224, 224), dtype=np.float32), "expected shape"),
        (np.zeros((1, 224, 224, 3), dtype=np.float32), "expected shape"),
        (np.zeros((0, 3, 224, 224), dtype=np.float32), "expected shape"),
        (np.zeros((2, 3, 224, 448), dtype=np.float32)[..., ::2], "C-contiguous"),
    ],
)
def test_wrong_images_are_refused(session: Session, images: Images, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        session.run(images)


def test_a_session_for_evaluation_gives_the_logits_of_the_plain_one(
    session: Session, compiled_dir: Path, colour_record: ModelRecord
) -> None:
    pixels = draw_pixels(3)
    images = normalise_pixels(pixels, colour_record)
    for_pictures = load_for_evaluation(compiled_dir)
    logits = for_pictures.run(pixels if for_pictures.description.takes_pixels else images)
    for_pictures.close()
    np.testing.assert_allclose(logits, session.run(images), atol=1e-4)


def test_a_session_for_pixels_refuses_images(engine: Engine, compiled_dir: Path) -> None:
    if not read_compiled_json(compiled_dir).takes_pixels or not isinstance(engine, PixelEngine):
        pytest.skip("takes images only")
    session = engine.load_for_pixels(compiled_dir)
    with pytest.raises(ValueError, match="pixels: expected uint8, found float32"):
        session.run(draw_images(1))
    with pytest.raises(
        ValueError, match=r"pixels: expected shape \(N, 224, 224, 3\), found \(1, 3, 224, 224\)"
    ):
        session.run(np.zeros((1, 3, 224, 224), dtype=np.uint8))
    session.close()


def test_a_device_that_is_chosen_by_its_number_gives_the_logits_of_the_compiled_one(
    compiled_dir: Path, colour_record: ModelRecord
) -> None:
    if find_numbered(recall_options(read_compiled_json(compiled_dir))) is None:
        pytest.skip("its devices are not numbered")
    pixels = draw_pixels(3)
    images = normalise_pixels(pixels, colour_record)
    logits = []
    for number in (None, 0):
        session = load_for_evaluation(compiled_dir, number)
        logits.append(session.run(pixels if session.description.takes_pixels else images))
        session.close()
    np.testing.assert_array_equal(logits[0], logits[1])


def test_as_many_threads_as_it_says_may_call_at_once(session: Session) -> None:
    batches = [draw_images(2, seed=seed) for seed in range(12)]
    one_by_one = [session.run(batch) for batch in batches]
    assert session.concurrency >= 1
    with ThreadPoolExecutor(session.concurrency) as threads:
        at_once = list(threads.map(session.run, batches))
    np.testing.assert_allclose(at_once, one_by_one, atol=1e-4)


def test_a_closed_session_refuses_to_run_and_closes_again(engine: Engine, compiled_dir: Path) -> None:
    session = engine.load(compiled_dir)
    session.close()
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(draw_images(1))


def test_a_model_can_be_loaded_again_after_closing(engine: Engine, compiled_dir: Path) -> None:
    images = draw_images(1)
    results = []
    for _ in range(2):
        session = engine.load(compiled_dir)
        results.append(session.run(images))
        session.close()
    np.testing.assert_array_equal(results[0], results[1])


def test_compiled_json_says_what_was_made_of_what(
    engine: Engine, compiled_dir: Path, source: Path, options: CompileOptions
) -> None:
    compiled = json.loads((compiled_dir / "compiled.json").read_text())
    own_files = {file for file in compiled_dir.iterdir() if file.name != "compiled.json"}
    assert compiled["schema_version"] == 1
    assert (compiled["engine"], compiled["device"]) == (engine.name, options.device)
    assert (compiled["precision"], compiled["batch_size"]) == ("fp32", options.batch_size)
    assert compiled["engine_version"]
    assert compiled["model"]["name"] == "se_resnext50_32x4d"
    assert compiled["source_files"] == {source.name: hashlib.sha256(source.read_bytes()).hexdigest()}
    assert compiled["files"] == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in own_files
    }


def test_a_changed_file_is_refused(engine: Engine, compiled_dir: Path) -> None:
    name = next(iter(json.loads((compiled_dir / "compiled.json").read_text())["files"]))
    with (compiled_dir / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BadModelError, match=f"{name} has changed"):
        engine.load(compiled_dir)


def test_a_missing_file_is_refused(engine: Engine, compiled_dir: Path) -> None:
    name = next(iter(json.loads((compiled_dir / "compiled.json").read_text())["files"]))
    (compiled_dir / name).unlink()
    with pytest.raises(BadModelError, match=f"{name} is missing"):
        engine.load(compiled_dir)


def test_the_runtimes_own_error_is_wrapped(engine: Engine, compiled_dir: Path) -> None:
    description = json.loads((compiled_dir / "compiled.json").read_text())
    for name in description["files"]:
        (compiled_dir / name).write_bytes(b"garbage")
        description["files"][name] = hashlib.sha256(b"garbage").hexdigest()
    (compiled_dir / "compiled.json").write_text(json.dumps(description))
    with pytest.raises(EngineError) as caught:
        engine.load(compiled_dir)
    assert caught.value.__cause__ is not None


def test_resolving_fills_in_what_was_left_open_and_changes_nothing_else(
    engine: Engine, choice: CompileChoice, colour_record: ModelRecord
) -> None:
    left_open = dataclasses.replace(choice, precision="", device="", settings={})
    resolved = engine.resolve(left_open, colour_record)
    assert (resolved.precision, resolved.device) == (engine.precisions[0], engine.devices[0])
    assert (resolved.engine, resolved.record) == (engine.name, colour_record)
    assert resolved.batch_size == choice.batch_size
    fields = ("engine", "precision", "device", "batch_size", "settings")
    again = CompileChoice(**{name: getattr(resolved, name) for name in fields})
    assert engine.resolve(again, colour_record) == resolved


def test_the_session_says_what_it_runs_on(engine: Engine, session: Session) -> None:
    assert session.description.runtime
    assert session.description.device_name
    assert engine.version


def test_device_times_are_taken_once_for_each_call_or_never(session: Session) -> None:
    session.take_device_ms()
    for _ in range(3):
        session.run(draw_images(1))
    assert len(session.take_device_ms()) in {0, 3}
    assert session.take_device_ms() == ()


def test_devices_that_are_found_are_declared_ones(engine: Engine) -> None:
    kinds = {name.partition(":")[0] for name in engine.find_devices()}  # cuda:1 is a second cuda
    assert kinds <= set(engine.devices)


def test_another_engines_model_is_refused(engine: Engine, compiled_dir: Path) -> None:
    path = compiled_dir / "compiled.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "engine": "another"}))
    with pytest.raises(BadModelError, match="compiled for engine another"):
        engine.load(compiled_dir)


def test_a_folder_without_compiled_json_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match="holds no compiled model"):
        engine.load(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"precision": "fp13"}, {"device": "abacus"}, {"batch_size": 0}, {"settings": {"no_such_setting": "1"}}],
)
def test_what_an_engine_does_not_declare_is_refused(
    engine: Engine, choice: CompileChoice, colour_record: ModelRecord, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        engine.resolve(dataclasses.replace(choice, **wrong), colour_record)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.onnx", None, "does not exist"),
        ("model.pth", b"x", "ending in .onnx"),
        ("empty.onnx", b"", "is empty"),
        ("lfs.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS pointer"),
    ],
)
def test_what_is_no_onnx_file_is_refused(
    engine: Engine, options: CompileOptions, tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    if engine.source == "checkpoint":
        pytest.skip("what is no checkpoint: tests/checkpoint/test_load.py")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    folder = tmp_path / "compiled"
    folder.mkdir()
    with pytest.raises(BadModelError, match=complaint):
        engine.compile(tmp_path / name, folder, options)
