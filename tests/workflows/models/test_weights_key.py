"""Which set of a checkpoint's weights a run and a compiled model are made of: said, stored, and chosen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from assay.engines.engine import CompileChoice
from assay.engines.torch.engine import TorchEngine
from assay.errors import UsageError
from assay.images.request import ImageRequest
from assay.measure.speed.repeats import RepeatPlan
from assay.models.record import ModelRecord
from assay.runs.listener import Listener
from assay.runs.place import RunPlace
from assay.workflows import full_run
from assay.workflows.full_run import RunRequest, check_request, run_all
from assay.workflows.models.compile import compile_model
from colour_classifier import draw_weights


class Heard(Listener):
    """Keeps what is announced."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def announce(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    path = tmp_path / "two_sets.pth"
    weights = torch.from_numpy(draw_weights())
    torch.save({"state_dict": {"weights": weights}, "state_dict_ema": {"weights": 0.5 * weights}}, path)
    return path


@pytest.mark.parametrize("key", [None, "state_dict_ema"])
def test_the_manifest_of_a_run_says_which_weights_were_exported(
    key: str | None,
    two_sets: Path,
    colour_record: ModelRecord,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = Heard()
    monkeypatch.setattr(full_run, "choose_record", lambda _model, _weights: colour_record)
    request = RunRequest(
        weights=two_sets,
        images=ImageRequest(path=photographs),
        weights_key=key,
        compile=CompileChoice(engine="constant"),
        speed=RepeatPlan(batch_sizes=(1,), seconds=0.01),
    )
    run_all(request, RunPlace(path=tmp_path / "run"), heard)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["weights_key"] == (key or "state_dict")
    other = "state_dict" if key else "state_dict_ema"
    assert any(f"the file holds {other} too (--weights-key)" in line for line in heard.lines)


def test_a_model_of_the_torch_engine_is_another_one_with_other_weights(
    two_sets: Path, colour_record: ModelRecord, tmp_path: Path
) -> None:
    images = torch.rand(1, 3, 224, 224).numpy()
    logits = {}
    for key in ("state_dict", "state_dict_ema"):
        engine, heard = TorchEngine(), Heard()
        options = engine.resolve(CompileChoice(engine="torch", settings={"weights_key": key}), colour_record)
        compiled = compile_model(two_sets, tmp_path / "c", options, overwrite=True, listener=heard)
        assert compiled.weights_key == key
        assert "used again" not in " ".join(heard.lines)
        session = engine.load(tmp_path / "c")
        logits[key] = session.run(images)
        session.close()
    assert logits["state_dict_ema"] == pytest.approx(0.5 * logits["state_dict"], abs=1e-5)


def test_a_key_for_an_onnx_file_is_refused(colour_onnx: Path) -> None:
    images = ImageRequest(path=colour_onnx.parent)
    request = RunRequest(weights=colour_onnx, images=images, weights_key="ema")
    with pytest.raises(UsageError, match="is an ONNX file, with one set of weights"):
        check_request(request)
