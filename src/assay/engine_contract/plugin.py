"""What pytest needs for the contract of engines: its options, and the classifier that engines compile."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch

from assay.checkpoint.network import ARCHITECTURES
from assay.engine_contract.classifier import ColourClassifier, draw_weights, make_colour_classifier
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

pytest.register_assert_rewrite("assay.engine_contract.suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the contract is held to besides the defaults; `scripts/device_check.sh` names a GPU."""
    group = parser.getgroup("assay", "the contract of engines")
    group.addoption("--engine", default="", help="hold this engine alone to the contract")
    group.addoption("--device", default="", help="on this device; the engine's first if not given")
    group.addoption("--setting", action="append", default=[], help="with a setting of the engine, NAME=VALUE")


@pytest.fixture(scope="session")
def colour_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX file of a tiny classifier with the tensors that the SE-ResNeXt-50 record names."""
    return make_colour_classifier(tmp_path_factory.mktemp("onnx") / "colour.onnx")


@pytest.fixture(scope="session")
def colour_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier as a checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint") / "colour.pth"
    torch.save({"weights": torch.from_numpy(draw_weights())}, path)
    return path


@pytest.fixture
def colour_record(monkeypatch: pytest.MonkeyPatch) -> ModelRecord:
    """A record of the classifier, whose network the checkpoint can be loaded into."""
    monkeypatch.setitem(ARCHITECTURES, "colour_classifier", ColourClassifier)
    record = read_model_record("se_resnext50_32x4d")
    return msgspec.structs.replace(record, architecture="colour_classifier")
