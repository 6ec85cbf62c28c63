"""Gates of a run: judged by the workflow, once, before the report is written."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from assay.images.drawn_images import draw_labelled_images
from assay.images.label_files import LabelOptions
from assay.images.request import ImageRequest
from assay.measure.gates import judge_gate, parse_gate
from assay.measure.speed.repeats import RepeatPlan
from assay.runs.folder import RunResult
from assay.runs.listener import SILENT
from assay.runs.locks import Share
from assay.runs.place import RunPlace
from assay.runs.results_file import Benchmark, Manifest, read_result
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.full_run import RunRequest, run_all
from assay.workflows.results.gates import collect_evidence
from speed_rows import make_speed_row

GATES = tuple(map(parse_gate, ("smoke", "throughput>=0.001@bs1")))
COUNT = 4


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gates")
    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=COUNT, seed=3)
    return folder


def name_images(workplace: Path) -> ImageRequest:
    labels = LabelOptions(path=workplace / "labels.txt")
    return ImageRequest(path=workplace / "images", labels=labels)


@pytest.fixture(scope="module")
def finished(workplace: Path, colour_onnx: Path) -> RunResult:
    """A full run from Python, with two gates."""
    request = RunRequest(
        weights=colour_onnx,
        images=name_images(workplace),
        evaluation=EvaluateOptions(gates=GATES),
        speed=RepeatPlan(batch_sizes=(1,), seconds=0.05),
    )
    return run_all(request, RunPlace(path=workplace / "run"))


def test_a_run_from_python_gives_its_judged_gates_and_its_report_holds_them(finished: RunResult) -> None:
    assert [(found.gate, found.outcome) for found in finished.gates] == [
        ("smoke", "cannot tell"),  # four images are too few
        ("throughput>=0.001@bs1", "cannot tell"),  # measured for a moment only: INVALID
    ]
    manifest = read_result(finished.folder, Manifest)
    assert manifest is not None
    assert (manifest.status, tuple(manifest.gates)) == ("finished", finished.gates)
    for page in ("report.md", "report.html"):
        assert "Gate smoke: cannot tell" in (finished.folder / page).read_text()


def test_a_share_that_leaves_images_to_others_records_no_judgement(
    finished: RunResult, workplace: Path, tmp_path: Path
) -> None:
    options = EvaluateOptions(shard_size=2, gates=GATES[:1])
    recorded = []
    for number in (1, 2):
        place = RunPlace(path=tmp_path / "run", share=Share(number=number, count=2))
        result = run_evaluation(finished.folder / "compiled", name_images(workplace), options, place, SILENT)
        assert [found.outcome for found in result.gates] == ["cannot tell"]
        manifest = read_result(tmp_path / "run", Manifest)
        assert manifest is not None
        recorded.append(len(manifest.gates))
    assert recorded == [0, 1]


def test_the_float_model_that_an_int8_run_measures_is_the_reference_of_a_speedup(finished: RunResult) -> None:
    manifest = msgspec.structs.replace(finished.manifest, precision="int8")
    slow, fast = make_speed_row(10, 10, 10), make_speed_row(21, 21, 21, precision="int8")
    other_engine = make_speed_row(1, 1, 1, engine="onnxruntime")
    evidence = collect_evidence(manifest, None, Benchmark(rows=[fast, slow, other_engine]))
    assert judge_gate(parse_gate("speedup>=1.6"), evidence).outcome == "pass"
    assert judge_gate(parse_gate("speedup>=2.8"), evidence).outcome == "fail"
    alone = collect_evidence(finished.manifest, None, Benchmark(rows=[slow]))
    assert judge_gate(parse_gate("speedup>=2"), alone).outcome == "cannot tell"
