"""Which set of a checkpoint's weights a run and a compiled model are made of: said, stored, and chosen."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch

from assay.engines.engine import CompileChoice
from assay.engines.torch_engine import TorchEngine
from assay.errors import UsageError
from assay.images.sources import index_images
from assay.models.record import ModelRecord
from assay.runs.folder import RunPlace, open_run_folder
from assay.runs.listener import Listener
from assay.workflows.make_models import FullRun, check_request, make_models
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
    key: str | None, two_sets: Path, colour_record: ModelRecord, photographs: Path, tmp_path: Path
) -> None:
    heard = Heard()
    request = FullRun(weights=two_sets, images=photographs, weights_key=key)
    index = index_images(photographs, 1000)
    with open_run_folder(RunPlace(path=tmp_path / "run"), "m", "openvino", heard) as run:
        make_models(request, colour_record, index, run)
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


def test_a_key_for_an_onnx_file_is_refused(colour_onnx: Path, se_resnext50: ModelRecord) -> None:
    request = FullRun(weights=colour_onnx, images=colour_onnx.parent, weights_key="ema")
    with pytest.raises(UsageError, match="is an ONNX file, with one set of weights"):
        check_request(request, msgspec.structs.replace(se_resnext50))
