"""What a network may be compared with, and what is refused with the way out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from assay.engines.openvino.tensors import compute_outputs
from assay.errors import UsageError
from assay.images.request import ImageRequest
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.workflows.diagnose.compare_subject import find_own_onnx
from assay.workflows.diagnose.diagnose import DiagnosisRequest, diagnose
from assay.workflows.diagnose.open_reference import PUBLISHED, open_reference
from colour_classifier import draw_weights
from pattern_network import RECORD


def test_a_checkpoint_is_exported_and_says_what_it_says(
    colour_checkpoint: Path, colour_record: ModelRecord
) -> None:
    images = np.random.default_rng(2).normal(size=(2, 3, 224, 224)).astype(np.float32)
    with open_reference(colour_checkpoint, colour_record, "", SILENT) as onnx_path:
        outputs = compute_outputs(onnx_path.read_bytes(), images)
    expected = images.mean(axis=(2, 3)) @ draw_weights()
    assert outputs[colour_record.output.name] == pytest.approx(expected, abs=1e-4)
    assert not onnx_path.exists()


def test_a_checkpoint_of_no_known_network_is_refused(colour_checkpoint: Path) -> None:
    record = msgspec.structs.replace(RECORD, architecture="onnx only")
    with (
        pytest.raises(UsageError, match="names no network"),
        open_reference(colour_checkpoint, record, "", SILENT),
    ):
        pass


def test_a_run_without_an_onnx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no ONNX file"), open_reference(tmp_path, RECORD, "", SILENT):
        pass


def test_a_run_gives_the_float_file_that_it_holds(tmp_path: Path) -> None:
    for name in ("model.onnx", "model_int8.onnx"):
        (tmp_path / name).touch()
    with open_reference(tmp_path, RECORD, "", SILENT) as onnx_path:
        assert onnx_path.name == "model.onnx"


def test_an_int8_model_without_its_onnx_file_is_refused(tmp_path: Path) -> None:
    subject: Any = SimpleNamespace(onnx_path=None, compiled=SimpleNamespace(precision="int8"))
    with pytest.raises(UsageError, match="int8 ONNX file"):
        find_own_onnx(subject, tmp_path / "float.onnx")


@pytest.mark.parametrize(("only", "expected"), [("network", None), (None, 80.0)])
def test_a_published_figure_is_no_network_and_excludes_another(
    tmp_path: Path, only: Any, expected: float | None
) -> None:
    request = DiagnosisRequest(
        subject=tmp_path / "model.onnx",
        images=ImageRequest(path=tmp_path),
        against=PUBLISHED,
        only=only,
        reference_percent=expected,
    )
    with pytest.raises(UsageError, match="--against published"):
        diagnose(request)
