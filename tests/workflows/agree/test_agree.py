"""Every way of running a model against every other, on the same images."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from assay.engines.catalog import load_for_evaluation
from assay.engines.engine import Session
from assay.engines.onnxruntime.engine import OnnxRuntimeEngine
from assay.engines.openvino.engine import OpenVinoEngine
from assay.errors import UsageError
from assay.images.request import ImageRequest
from assay.measure.agreement_matrix import AgreementMatrix
from assay.measure.gates import parse_gate
from assay.models.record import ModelRecord
from assay.report.agreement import describe_agreements, list_matrix_tables, render_agreement_page
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.workflows.agree import ways
from assay.workflows.agree.agree import AgreeRequest, measure_matrix, write_matrix
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from compiling import compile_with
from session_double import WrongAtBatch

GATE = (parse_gate("agree>=99.5"),)


@pytest.fixture
def compiled(colour_compiled: Path) -> Path:
    return colour_compiled


def test_a_session_that_goes_wrong_at_batch_8_is_caught_with_its_image(
    compiled: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def load(path: Path) -> Session:
        return WrongAtBatch(load_for_evaluation(path), 8)

    monkeypatch.setattr(ways, "load_for_evaluation", load)
    request = AgreeRequest(images=ImageRequest(path=photographs), batch_sizes=(1, 4, 8), gates=GATE)
    matrix = measure_matrix([compiled], request, SILENT)
    counts = {(cell.reference, cell.candidate): cell.answers.same_top1_count for cell in matrix.cells}
    assert counts == {("A", "B"): 12, ("A", "C"): 11, ("B", "C"): 11}
    assert [gate.outcome for gate in matrix.gates] == ["fail"]
    (flip,) = matrix.cells[1].answers.differing
    assert flip.relative_path == "ILSVRC2012_val_00000001.JPEG"
    said = "\n".join(describe_agreements(matrix))
    assert "Batch sizes: A and C, same Top-1 on 11 of 12" in said
    page = write_matrix(matrix, tmp_path / "out").read_text()
    assert page.count('<rect class="differs point"') == 2
    assert page.count('<rect class="agrees point"') == 1
    assert "ILSVRC2012_val_00000001.JPEG" in page
    stored = msgspec.json.decode((tmp_path / "out" / "agree.json").read_bytes(), type=AgreementMatrix)
    assert stored == matrix


def test_engines_and_a_finished_run_agree_and_the_same_call_twice_is_the_same(
    compiled: Path, colour_onnx: Path, se_resnext50: ModelRecord, photographs: Path, tmp_path: Path
) -> None:
    other = tmp_path / "onnxruntime"
    other.mkdir()
    compile_with(OnnxRuntimeEngine(), colour_onnx, other, se_resnext50)
    images = ImageRequest(path=photographs)
    options = EvaluateOptions(keep_logits=True)
    run = run_evaluation(compiled, images, options, RunPlace(path=tmp_path / "run")).folder
    (photographs / "broken.JPEG").write_bytes(b"no image")
    matrix = measure_matrix([compiled, other, run], AgreeRequest(images=images, gates=GATE), SILENT)
    first, second, third = matrix.ways
    assert (first.image_count, first.failed_count, third.image_count) == (13, 1, 12)
    assert [cell.answers.image_count for cell in matrix.cells] == [13, 12, 12]
    assert matrix.cells[0].answers.same_top1_count == 12
    assert all(cell.answers.is_over_all_logits for cell in matrix.cells)
    assert first.repeated is not None
    assert first.repeated.max_logit_difference == 0
    assert (second.engine, third.is_stored, third.batch_size) == ("onnxruntime", True, 8)
    assert "not the 13 of" in matrix.notes[0]
    assert matrix.gates[0].outcome == "fail"  # 12 of 13: what failed agrees with nothing


def test_a_batch_size_that_a_model_cannot_run_is_named_and_in_no_cell(
    compiled: Path, colour_onnx: Path, se_resnext50: ModelRecord, photographs: Path, tmp_path: Path
) -> None:
    fixed = tmp_path / "fixed"
    fixed.mkdir()
    compile_with(OpenVinoEngine(), colour_onnx, fixed, se_resnext50, batch_size=2)
    request = AgreeRequest(images=ImageRequest(path=photographs), batch_sizes=(1, 4), gates=GATE)
    matrix = measure_matrix([compiled, fixed], request, SILENT)
    assert [bool(way.refusal) for way in matrix.ways] == [False, False, True, True]
    assert len(matrix.cells) == 1
    assert matrix.gates[0].outcome == "cannot tell"
    assert "was compiled for batches of 2" in render_agreement_page(matrix)


def test_a_model_for_a_device_that_is_not_here_is_named_as_not_run(
    compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    document = json.loads((compiled / "compiled.json").read_text())
    other = tmp_path / "gpu"
    other.mkdir()
    for file in compiled.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    document["device"] = "GPU.7"  # compiled on a machine that has it
    (other / "compiled.json").write_text(json.dumps(document))
    matrix = measure_matrix([compiled, other], AgreeRequest(images=ImageRequest(path=photographs)), SILENT)
    assert matrix.cells == ()
    assert matrix.ways[1].refusal
    assert any(line.startswith("Not run: B openvino GPU.7") for line in describe_agreements(matrix))


def test_the_terminals_matrix_fits_80_columns_whatever_the_number_of_ways(
    compiled: Path, photographs: Path
) -> None:
    request = AgreeRequest(images=ImageRequest(path=photographs), batch_sizes=tuple(range(1, 13)))
    matrix = measure_matrix([compiled, compiled], request, SILENT)
    *pieces, named = list_matrix_tables(matrix)
    assert len(matrix.run_ways) == len(named.rows) == 24
    assert [len(piece.header) for piece in pieces] == [20, 6]


def test_nothing_to_compare_is_refused(compiled: Path, photographs: Path) -> None:
    with pytest.raises(UsageError, match="--images says what it is run on"):
        measure_matrix([compiled], AgreeRequest(images=None), SILENT)
    with pytest.raises(UsageError, match="agrees with itself"):
        measure_matrix([compiled], AgreeRequest(images=ImageRequest(path=photographs)), SILENT)
    with pytest.raises(UsageError, match="no folder given"):
        measure_matrix([], AgreeRequest(images=None), SILENT)
