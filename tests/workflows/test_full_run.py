"""A full run from Python: its request is resolved once, and none of its parts is ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.engines.compiled_model import read_compiled_json
from assay.engines.constant_engine import ConstantEngine
from assay.engines.engine import CompileChoice, CompileOptions
from assay.errors import BadImagesError, UsageError
from assay.images.calibration import CalibrationOptions
from assay.images.listing import ReadOptions
from assay.images.request import ImageRequest
from assay.measure.gates import parse_gate
from assay.measure.speed.repeats import RepeatPlan
from assay.models.record import ModelRecord
from assay.runs.place import RunPlace
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.full_run import RunRequest, run_all

QUICK = RepeatPlan(batch_sizes=(2,), seconds=0.01)


@pytest.fixture
def request_of(colour_onnx: Path, photographs: Path) -> RunRequest:
    """A run of the engine that computes nothing."""
    return RunRequest(
        weights=colour_onnx,
        images=ImageRequest(path=photographs),
        compile=CompileChoice(engine="constant"),
        speed=QUICK,
    )


def test_the_compilation_is_resolved_once(
    request_of: RunRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve: Callable[..., CompileOptions] = ConstantEngine.resolve
    resolved = []

    def count(engine: ConstantEngine, choice: CompileChoice, record: ModelRecord) -> CompileOptions:
        resolved.append(choice)
        return resolve(engine, choice, record)

    monkeypatch.setattr(ConstantEngine, "resolve", count)
    run_all(request_of, RunPlace(path=tmp_path / "run"))
    assert len(resolved) == 1


def test_every_part_of_the_request_is_honoured(request_of: RunRequest, tmp_path: Path) -> None:
    images = dataclasses.replace(request_of.images, limit=5)
    compile_choice = dataclasses.replace(request_of.compile, batch_size=2)
    options = EvaluateOptions(batch_size=1, shard_size=3, gates=(parse_gate("smoke"),))
    request = dataclasses.replace(request_of, images=images, compile=compile_choice, evaluation=options)
    result = run_all(request, RunPlace(path=tmp_path / "run"))
    assert result.metrics is not None
    assert result.benchmark is not None
    assert (result.metrics.accuracy.image_count, result.metrics.limited_from) == (5, 12)
    assert read_compiled_json(tmp_path / "run" / "compiled" / "batch-2").batch_size == 2
    assert result.manifest.evaluated_batch_size == 1
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 2
    assert [gate.gate for gate in result.gates] == ["smoke"]
    assert {row.batch_size for row in result.benchmark.rows} == {2}


def test_images_over_the_limit_on_pixels_are_not_measured_on(request_of: RunRequest, tmp_path: Path) -> None:
    """How images are read holds for all that reads them: here not one can be."""
    images = dataclasses.replace(request_of.images, reading=ReadOptions(max_pixels=10))
    with pytest.raises(BadImagesError, match="not one of 12 images can be decoded"):
        run_all(dataclasses.replace(request_of, images=images), RunPlace(path=tmp_path / "run"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"opset": 13}, "--opset has no effect"),
        ({"calibration": CalibrationOptions(image_count=3)}, "no model is quantised here"),
        ({"compare_with_torch": True}, "needs a checkpoint"),
        ({"speed": RepeatPlan(repeats=1)}, "--repeats is 1"),
        ({"evaluation": EvaluateOptions(shard_size=0)}, "--shard-size is 0"),
        ({"evaluation": EvaluateOptions(stop_error=0.1)}, "needs a gate on accuracy"),
        ({"compile": CompileChoice(engine="constant", batch_size=4)}, "not measured at"),
        ({"devices": "0-1", "device_timeout_s": 0.0}, "--device-timeout is 0"),
        ({"devices": "cuda:0"}, "the model was compiled for none"),
        (
            {"devices": "0", "evaluation": EvaluateOptions(stop_error=0.1, gates=(parse_gate("smoke"),))},
            "--devices and --stop-when-certain exclude each other",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_what_cannot_be_or_would_be_ignored_is_refused_before_any_work(
    request_of: RunRequest, tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        run_all(dataclasses.replace(request_of, **changes), RunPlace(path=tmp_path / "run"))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
