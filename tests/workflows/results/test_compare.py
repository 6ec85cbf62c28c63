"""`assay compare` through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from conftest import RunAssay


@pytest.fixture(scope="module")
def golden_runs(
    run_assay: RunAssay,
    golden: Path,
    lite0_toml: Path,
    lite0_compiled: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """EfficientNet-Lite0 on the golden images: preprocessed right, and bilinear with ImageNet's constants."""
    folder = tmp_path_factory.mktemp("compare")
    wrong = lite0_toml.read_text().replace("bicubic", "bilinear")
    wrong = wrong.replace("mean = [0.5, 0.5, 0.5]", "mean = [0.485, 0.456, 0.406]")
    wrong = wrong.replace("std = [0.5, 0.5, 0.5]", "std = [0.229, 0.224, 0.225]")
    (folder / "wrong.toml").write_text(wrong)
    (folder / "compiled_right").symlink_to(lite0_compiled)
    onnx_path = golden / "efficientnet_lite0" / "model.onnx"
    given = ["compile", onnx_path, folder / "compiled_wrong", "--model", folder / "wrong.toml", "-q"]
    assert run_assay(*given).returncode == 0
    for name in ("right", "wrong"):
        images = ["--images", golden / "images", "--labels", golden / "labels.txt"]
        done = run_assay("evaluate", folder / f"compiled_{name}", *images, "-o", folder / name, "-q")
        assert done.returncode == 0, done.stderr
    return folder


def test_wrong_preprocessing_is_found_with_its_flips_and_fails_the_gate(
    run_assay: RunAssay, golden_runs: Path
) -> None:
    folders = [golden_runs / "right", golden_runs / "wrong"]
    done = run_assay("compare", *folders, "--gate", "paired:1", "--json")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    found = document["comparison"]["comparison"]
    hits = [json.loads((run / "metrics.json").read_text())["accuracy"]["top1"]["hits"] for run in folders]
    paired = found["paired"]
    assert hits[0] - hits[1] == paired["lost_count"] - paired["won_count"] > 0
    assert len(found["lost"]) == paired["lost_count"]
    assert document["comparison"]["verdict"]["outcome"] in {"loses", "cannot tell"}
    differences = {each["what"]: each for each in document["comparison"]["differences"]}
    assert differences["preprocessing, resize_filter"]["reference"] == "bicubic"
    assert differences["preprocessing, resize_filter"]["candidate"] == "bilinear"
    assert {"engine", "device", "images", "labels"}.isdisjoint(differences)

    text = run_assay("compare", *folders, "--gate", "paired:1").stdout
    assert "Differs: preprocessing, resize_filter: bilinear instead of bicubic" in text
    assert text.index("Differs: ") < text.index("Top-1: A ")
    assert "Verdict: " in text
    assert found["lost"][0]["relative_path"] in text
    assert "Gate paired:1: " in text


def test_a_run_against_itself_is_as_accurate_where_the_images_are_enough(
    run_assay: RunAssay, golden_runs: Path
) -> None:
    done = run_assay("compare", golden_runs / "right", golden_runs / "right", "--gate", "paired:5")
    assert done.returncode == 0, done.stderr
    assert "Gate paired:5: pass (the run is as often right as the reference (95 %: " in done.stdout
    shown = " ".join(done.stdout.split())
    assert "Same answer as A on all 100 images; their top-5 logits are equal." in shown


def test_too_few_images_cannot_tell_and_do_not_pass_a_gate(run_assay: RunAssay, golden_runs: Path) -> None:
    given = ["compare", golden_runs / "right", golden_runs / "right", "--gate", "paired:0.1"]
    done = run_assay(*given)
    assert done.returncode == 6, done.stderr
    assert "A difference in more than 3 % of images is ruled out (95 %)." in " ".join(done.stdout.split())
    assert "Gate paired:0.1: cannot tell" in done.stdout
    for counted_as, status in (("pass", 0), ("fail", 1)):
        done = run_assay(*given, "--cannot-tell", counted_as)
        assert done.returncode == status, done.stderr
        assert "Gate paired:0.1: cannot tell" in done.stdout


def test_other_labels_are_refused(
    run_assay: RunAssay, golden: Path, golden_runs: Path, tmp_path: Path
) -> None:
    lines = (golden / "labels.txt").read_text().splitlines()
    name, _, label = lines[0].rpartition(" ")
    lines[0] = f"{name} {(int(label) + 1) % 1000}"
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n")
    images = ["--images", golden / "images", "--labels", tmp_path / "labels.txt", "--trust-labels"]
    done = run_assay("evaluate", golden_runs / "compiled_right", *images, "-o", tmp_path / "run", "-q")
    assert done.returncode == 0, done.stderr
    done = run_assay("compare", golden_runs / "right", tmp_path / "run")
    assert done.returncode == 5
    assert "has label" in done.stderr


def test_a_run_that_is_not_finished_is_refused(
    run_assay: RunAssay, golden_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(golden_runs / "right", tmp_path / "cut")
    (tmp_path / "cut" / "predictions" / "part-00000.parquet").unlink()
    done = run_assay("compare", golden_runs / "right", tmp_path / "cut")
    assert done.returncode == 2
    assert "1 of 1 shards are missing: part-00000.parquet" in done.stderr


@pytest.mark.parametrize("gate", ["paired", "paired:0", "paired:x", "fast", "paired:nan"])
def test_a_text_that_is_not_a_gate_is_refused(run_assay: RunAssay, tmp_path: Path, gate: str) -> None:
    tmp_path.joinpath("a").mkdir()
    done = run_assay("compare", tmp_path / "a", tmp_path / "a", "--gate", gate)
    assert done.returncode == 2
    assert "not a gate" in done.stderr


def test_a_published_accuracy_needs_all_the_images(run_assay: RunAssay, golden_runs: Path) -> None:
    done = run_assay("compare", "se_resnext50_32x4d", golden_runs / "right")
    assert done.returncode == 2
    assert "is over 100 images; the published accuracy is over the 50,000" in done.stderr


def test_a_folder_that_holds_no_run_is_refused(run_assay: RunAssay, tmp_path: Path) -> None:
    done = run_assay("compare", tmp_path, tmp_path)
    assert done.returncode == 2
    assert "holds no run with predictions" in done.stderr


def test_gates_of_a_run_stand_in_manifest_and_report_and_set_the_exit_status(
    run_assay: RunAssay, golden: Path, golden_runs: Path, tmp_path: Path
) -> None:
    images = ["--images", golden / "images", "--labels", golden / "labels.txt", "-q"]
    gates = ["--gate", "published", "--gate", "smoke"]
    done = run_assay("evaluate", golden_runs / "compiled_right", *images, *gates, "-o", tmp_path / "run")
    assert done.returncode == 6, done.stderr
    assert "Gate published: cannot tell" in done.stdout
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert [gate["outcome"] for gate in manifest["gates"]] == ["cannot tell", "cannot tell"]
    assert "Gate smoke: cannot tell" in (tmp_path / "run" / "report.md").read_text()
    done = run_assay("bundle", tmp_path / "run", tmp_path / "run.zip")
    assert run_assay("verify", tmp_path / "run.zip").returncode == 0


def test_a_speed_that_was_measured_for_a_moment_is_invalid_and_decides_no_gate(
    run_assay: RunAssay, golden_runs: Path, tmp_path: Path
) -> None:
    given = [golden_runs / "compiled_right", "--batch-size", "2", "-q", "-o", tmp_path / "run"]
    gates = ["--gate", "throughput>=0.001@bs2", "--gate", "throughput>=1000000@bs2"]
    done = run_assay("benchmark", *given, *gates)
    assert done.returncode == 6, done.stderr
    for gate in ("throughput>=0.001@bs2", "throughput>=1000000@bs2"):
        assert f"Gate {gate}: cannot tell (INVALID (" in done.stdout
    assert "measured for less than 3 s" in done.stdout


def test_the_page_of_a_run_with_a_reference_shows_every_changed_image(
    run_assay: RunAssay, golden_runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(golden_runs / "right", tmp_path / "run")
    shutil.copytree(golden_runs / "wrong" / "predictions", tmp_path / "run" / "reference")
    done = run_assay("report", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "run" / "report.html").read_text()
    done = run_assay("compare", golden_runs / "wrong", golden_runs / "right", "--json")
    found = json.loads(done.stdout)["comparison"]["comparison"]
    for kind in ("lost", "won", "changed"):
        assert page.count(f'<li data-kind="{kind}">') == len(found[kind])
    assert page.count("data:image/jpeg;base64,") == page.count("<li data-kind=")
