"""What `import assay` offers: the documented names, and runs that answer as their files do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

import assay

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "python.md"


def test_the_exported_names_are_the_documented_ones() -> None:
    documented = re.findall(r"^\| `([A-Za-z_]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == list(assay.__all__)


@pytest.mark.parametrize("name", assay.__all__)
def test_an_exported_name_is_there_with_a_docstring(name: str) -> None:
    assert getattr(assay, name).__doc__
    assert name in dir(assay)


def test_the_stub_for_type_checkers_has_the_same_names() -> None:
    stub = Path(assay.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert sorted(re.findall(r" as (\w+)$", stub, re.MULTILINE)) == list(assay.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = assay.no_such_name  # type: ignore[attr-defined]


MODEL = "se_resnext50_32x4d"  # whose tensors the colour classifier has
QUICK = assay.RepeatPlan(batch_sizes=(1,), seconds=0.02)


@pytest.fixture
def images(photographs: Path) -> assay.ImageRequest:
    return assay.ImageRequest(path=photographs)


@pytest.fixture
def run(images: assay.ImageRequest, colour_onnx: Path, tmp_path: Path) -> assay.Run:
    gates = (assay.parse_gate("throughput>=1@bs1"), assay.parse_gate("published"))
    request = assay.RunRequest(
        weights=colour_onnx,
        images=images,
        model=MODEL,
        speed=QUICK,
        evaluation=assay.EvaluateOptions(gates=gates),
    )
    return assay.run(request, tmp_path / "run")


def test_a_run_says_what_its_files_say(run: assay.Run) -> None:
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert run.accuracy is not None
    assert run.benchmark is not None
    assert json.loads(msgspec.json.encode(run.accuracy.top1)) == metrics["accuracy"]["top1"]
    assert [row.batch_size for row in run.benchmark.rows] == [1]
    assert [(found.gate, found.outcome) for found in run.gates][1] == ("published", "cannot tell")
    assert json.loads((run.path / "manifest.json").read_text())["gates"] == json.loads(
        msgspec.json.encode(run.gates)
    )


def test_the_accuracy_prints_counts_before_percentages(run: assay.Run) -> None:
    assert run.accuracy is not None
    top1, top5 = str(run.accuracy).splitlines()
    assert top1.startswith(f"Top-1  {run.accuracy.top1.hits} of 12  ")
    assert top5.startswith("Top-5  ")


def test_the_predictions_are_a_table_from_which_the_accuracy_follows(run: assay.Run) -> None:
    rows = run.predictions.to_pylist()
    hits = sum(row["top_classes"][0] == row["label"] for row in rows)
    assert len(rows) == 12
    assert run.accuracy is not None
    assert hits == run.accuracy.top1.hits
    assert sum(one.image_count for one in run.per_class) == 12
    assert all(one.name == run.class_names[one.label] for one in run.per_class)


def test_flips_are_the_images_that_one_of_two_runs_has_right(
    photographs: Path, colour_onnx: Path, tmp_path: Path
) -> None:
    """Half of the images are labelled with the class that each of two models gives them."""
    models = {"colour": assay.CompileChoice(), "constant": assay.CompileChoice(engine="constant")}
    tops = {}
    for name, choice in models.items():
        assay.compile(colour_onnx, tmp_path / name, model=MODEL, choice=choice)
        run = assay.evaluate(
            tmp_path / name, assay.ImageRequest(path=photographs), tmp_path / f"{name}-first"
        )
        tops[name] = {row["name"]: row["top_classes"][0] for row in run.predictions.to_pylist()}
    names = sorted(tops["colour"])
    right = {"colour": set(names[:6]), "constant": set(names[6:])}
    lines = [f"{name} {tops[model][name]}" for model in models for name in sorted(right[model])]
    (tmp_path / "labels.txt").write_text("\n".join(lines))
    labels = assay.LabelOptions(path=tmp_path / "labels.txt", trusted=True)
    images = assay.ImageRequest(path=photographs, labels=labels)
    colour, constant = (assay.evaluate(tmp_path / name, images, tmp_path / f"{name}-run") for name in models)
    lost = {name for name in right["colour"] if tops["constant"][name] != tops["colour"][name]}
    won = {name for name in right["constant"] if tops["constant"][name] != tops["colour"][name]}
    assert lost
    assert won
    assert [flip.relative_path for flip in constant.flips(colour)] == [*sorted(lost), *sorted(won)]
    paired = assay.compare(colour, constant).comparison.paired
    assert (paired.lost_count, paired.won_count) == (len(lost), len(won))


def test_a_benchmark_alone_has_no_accuracy(colour_onnx: Path, tmp_path: Path) -> None:
    assay.compile(colour_onnx, tmp_path / "compiled", model=MODEL)
    request = assay.BenchmarkRequest(plans=(QUICK,))
    run = assay.benchmark(tmp_path / "compiled", tmp_path / "run", request=request)
    assert run.accuracy is None
    assert run.per_class == ()
    assert run.benchmark is not None
    with pytest.raises(assay.UsageError, match="no run with predictions"):
        _ = run.predictions


def test_a_folder_without_a_run_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(assay.BadInputError, match=r"holds no run"):
        assay.open_run(tmp_path)
