"""`assay score`: the original's result where the original is right, and a word where it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assay.errors import AssayError, BadInputError, GateFailedError, UsageError
from assay.runs.listener import SILENT
from assay.workflows.modelzoo.score import Score, score_results
from conftest import RunAssay

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "modelzoo" / "vision_metric_ImageNet.py"


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """A folder `results` with three images' values over four classes, and `labels.txt`: two are right."""
    rows = {"a": [0.1, 0.9, 0.0, 0.0], "b": [0.0, 0.0, 0.0, 5.0], "c": [3.0, 2.0, 1.0, 0.0]}
    (tmp_path / "results").mkdir()
    for name, row in rows.items():
        write_text(tmp_path / "results" / f"{name}_0.txt", row)
    (tmp_path / "labels.txt").write_text("a.JPEG 1\nb.JPEG 3\nc.JPEG 1\n")
    return tmp_path


def write_text(path: Path, values: list[float]) -> None:
    path.write_text("".join(f"{value:f} " for value in values) + "\n")


def score(folder: Path, *, allow_missing: bool = False) -> Score:
    return score_results(
        folder / "results",
        folder / "labels.txt",
        folder / "result.json",
        allow_missing=allow_missing,
        listener=SILENT,
    )


def read_values(folder: Path) -> dict[str, str]:
    value = json.loads((folder / "result.json").read_text())["value"]
    return {entry["key"]: entry["value"] for entry in value}


def expect_refusal(folder: Path, kind: type[AssayError], message: str) -> None:
    """A refusal leaves an earlier result as it was (quirk 19: the original empties it first)."""
    (folder / "result.json").write_text("an earlier result")
    with pytest.raises(kind, match=message):
        score(folder)
    assert (folder / "result.json").read_text() == "an earlier result"
    assert not (folder / "metrics.json").exists()


def test_the_result_is_byte_for_byte_the_originals(run_assay: RunAssay, golden: Path, tmp_path: Path) -> None:
    results = golden / "scores" / "2022_09_08-10_11_12"
    done = run_assay("score", results, golden / "labels.txt", tmp_path, "result.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result.json").read_bytes() == (golden / "scores" / "result.json").read_bytes()
    top1 = json.loads((tmp_path / "metrics.json").read_text())["accuracy"]["top1"]
    assert top1["hits"] == 89
    assert len(top1["interval_percent"]) == 2


def test_the_original_command_works_from_any_folder(golden: Path, tmp_path: Path) -> None:
    results = golden / "scores" / "2022_09_08-10_11_12"
    command = [sys.executable, str(SCRIPT), str(results), str(golden / "labels.txt"), "./", "result.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "result.json").read_bytes() == (golden / "scores" / "result.json").read_bytes()


def test_the_newest_tools_folder_and_summary_are_read(golden: Path, tmp_path: Path) -> None:
    results, labels = golden / "ais_bench_newest" / "r", golden / "labels.txt"
    done = score_results(results, labels, tmp_path / "r.json", allow_missing=True, listener=SILENT)
    assert (done.metrics.coverage.result_count, done.metrics.coverage.missing_count) == (10, 90)


@pytest.mark.parametrize("kind", ["bin", "npy", "npy_flat"])
@pytest.mark.parametrize("output", [0, 1])
def test_every_form_gives_the_same_score(scored: Path, kind: str, output: int) -> None:
    score(scored)
    as_text = (scored / "result.json").read_bytes()
    for file in list((scored / "results").iterdir()):
        row = np.array([file.read_text().split()], dtype=np.float32)  # (1, classes)
        stem = file.with_name(file.name.replace("_0.txt", f"_{output}"))
        if kind == "bin":
            row.tofile(stem.with_suffix(".bin"))
        else:
            np.save(stem.with_suffix(".npy"), row if kind == "npy" else row[0])
        file.unlink()
    score(scored)
    assert (scored / "result.json").read_bytes() == as_text


def test_counts_and_percentages_are_those_of_a_count_by_hand(scored: Path) -> None:
    score(scored)
    values = read_values(scored)
    assert (values["Number of images"], values["Number of classes"]) == ("3", "4")
    assert (values["Top1 accuracy"], values["Top2 accuracy"]) == ("66.67%", "100.0%")


@pytest.mark.parametrize("text", ["a.JPEG\t1\r\nb.JPEG  3\r\n\r\nc.JPEG 1", "\ufeffa 1\nb 3\nc 1\n"])
def test_quirk_22_tabs_blanks_blank_lines_and_marks_in_the_label_file_are_read(
    scored: Path, text: str
) -> None:
    (scored / "labels.txt").write_bytes(text.encode())
    assert score(scored).metrics.accuracy.top1.hits == 2


def test_quirk_22_a_label_without_result_fails_and_nothing_is_written(scored: Path) -> None:
    (scored / "results" / "b_0.txt").unlink()
    expect_refusal(scored, GateFailedError, "1 of 3 labels have no result, such as b")


def test_quirk_22_allowed_to_miss_it_counts_as_wrong_in_our_metrics(scored: Path) -> None:
    (scored / "results" / "b_0.txt").unlink()
    accuracy = score(scored, allow_missing=True).metrics.accuracy
    assert (accuracy.top1.hits, accuracy.image_count, accuracy.failures) == (1, 3, {"no result": 1})
    assert read_values(scored)["Top1 accuracy"] == "50.0%"  # the original's denominator: what is there


def test_quirk_22_a_result_without_label_is_counted_and_named(scored: Path) -> None:
    write_text(scored / "results" / "z_0.txt", [1, 2, 3, 4])
    coverage = score(scored).metrics.coverage
    assert (coverage.surplus_count, coverage.surplus) == (1, ("z",))


def test_quirk_22_two_labels_for_one_name_are_refused(scored: Path) -> None:
    (scored / "labels.txt").write_text("a.JPEG 1\na.png 2\nb 3\nc 1\n")
    expect_refusal(scored, BadInputError, r"a\.JPEG and of a\.png")


def test_quirk_20_a_missing_path_is_one_message(scored: Path) -> None:
    with pytest.raises(BadInputError, match="gone cannot be listed"):
        score_results(scored / "gone", scored, scored / "r.json", allow_missing=False, listener=SILENT)


def test_quirk_21_several_outputs_are_not_images_of_their_own(scored: Path) -> None:
    write_text(scored / "results" / "a_1.txt", [1, 2, 3, 4])
    expect_refusal(scored, BadInputError, r"a_0\.txt and a_1\.txt.*several outputs of one network")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 2 3 4 \n1 2 3 4 \n", r"b_0\.txt: expected one line, found 2"),  # quirk 23
        ("", r"b_0\.txt: expected numbers"),  # quirk 24
        ("nan nan nan nan \n", r"b_0\.txt: a value is NaN"),  # quirk 24
        ("1 2 inf 4 \n", r"b_0\.txt: a value is NaN or infinite"),
        ("1 2 3 \n", r"b_0\.txt: 3 values; the first file has 4"),  # quirk 26
        ("1,5 2 3 4 \n", r"b_0\.txt"),
        ("1 2 three 4 \n", r"b_0\.txt"),
    ],
)
def test_quirks_23_24_26_a_file_that_is_no_result_is_named(scored: Path, content: str, message: str) -> None:
    (scored / "results" / "b_0.txt").write_text(content)
    expect_refusal(scored, BadInputError, message)


def test_quirk_25_ties_rank_by_class_index(scored: Path) -> None:
    for name in "abc":
        write_text(scored / "results" / f"{name}_0.txt", [7.0] * 4)
    (scored / "labels.txt").write_text("a 0\nb 1\nc 3\n")
    score(scored)
    values = read_values(scored)
    assert [values[f"Top{k} accuracy"] for k in (1, 2, 3, 4)] == ["33.33%", "66.67%", "66.67%", "100.0%"]


def test_quirk_26_1001_classes_begin_with_a_background_class(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    row = np.zeros(1001)
    row[66] = 1
    write_text(tmp_path / "results" / "a_0.txt", row.tolist())
    (tmp_path / "labels.txt").write_text("a 65\n")
    assert score(tmp_path).metrics.accuracy.top1.hits == 1


@pytest.mark.parametrize("place", ["results/sumary.json", "results/summary.json", "results_summary.json"])
def test_a_file_that_the_summary_names_must_be_there(scored: Path, place: str) -> None:
    entry = {"infiles": ["in/d.bin"], "outfiles": ["out/d_0.txt"]}
    (scored / place).write_text(json.dumps({"filesinfo": {"0": entry}}))
    expect_refusal(scored, BadInputError, r"1 files are missing that the summary names, such as d_0\.txt")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sample_id_0_output_0.txt", "does not say which image"),
        ("d_0.npy", "several kinds of files: npy, txt"),
    ],
)
def test_names_that_do_not_tell_the_image_are_refused(scored: Path, name: str, message: str) -> None:
    write_text(scored / "results" / name, [1, 2, 3, 4])
    expect_refusal(scored, BadInputError, message)


def test_a_result_is_not_that_of_an_image_whose_name_it_only_begins_with(scored: Path) -> None:
    write_text(scored / "results" / "a.v2_0.txt", [1, 2, 3, 4])
    coverage = score(scored).metrics.coverage
    assert (coverage.surplus, coverage.missing_count) == (("a.v2",), 0)


def test_results_of_other_images_than_the_labels_are_refused(scored: Path) -> None:
    (scored / "labels.txt").write_text("x 1\ny 2\n")
    expect_refusal(scored, GateFailedError, "not one of 3 results has a label")


def test_the_result_must_not_take_the_name_of_the_metrics(scored: Path) -> None:
    with pytest.raises(UsageError):
        score_results(
            scored / "results",
            scored / "labels.txt",
            scored / "metrics.json",
            allow_missing=False,
            listener=SILENT,
        )


def test_case_82_a_name_without_the_outputs_number_is_the_images(scored: Path) -> None:
    (scored / "results" / "a_0.txt").rename(scored / "results" / "a.txt")
    assert score(scored).metrics.coverage.missing_count == 0


@pytest.mark.parametrize("place", ["results/sumary.json", "results_summary.json"])
def test_numbered_samples_are_named_by_the_summary(scored: Path, place: str) -> None:
    """The tool of May 2022 called its files by the place of the image in its own order."""
    filesinfo = {}
    for number, name in enumerate(["c", "a", "b"]):
        sample = f"sample_id_{number}_output_0.txt"
        (scored / "results" / f"{name}_0.txt").rename(scored / "results" / sample)
        filesinfo[str(number)] = {"infiles": [f"bins/{name}.bin"], "outfiles": [f"out/{sample}"]}
    (scored / place).write_text(json.dumps({"filesinfo": filesinfo}))
    assert score(scored).metrics.accuracy.top1.hits == 2


def test_quirk_2_two_images_that_the_tool_wrote_into_one_file_are_refused(scored: Path) -> None:
    entries = {
        str(place): {"infiles": [f"in/{name}.bin"], "outfiles": ["out/a_0.txt"]}
        for place, name in enumerate(["a", "a.v2"])
    }
    (scored / "results_summary.json").write_text(json.dumps({"filesinfo": entries}))
    expect_refusal(scored, BadInputError, r"in/a\.bin and in/a\.v2\.bin have both been written to a_0\.txt")


def test_the_old_benchmarks_names_count_outputs_from_1(scored: Path) -> None:
    for name in "abc":
        (scored / "results" / f"{name}_0.txt").rename(scored / "results" / f"{name}_1.txt")
    assert score(scored).metrics.accuracy.top1.hits == 2


def test_labels_from_1_are_scored_with_an_offset(run_assay: RunAssay, scored: Path) -> None:
    (scored / "labels.txt").write_text("a.JPEG 2\nb.JPEG 4\nc.JPEG 2\n")
    done = run_assay("score", scored / "results", scored / "labels.txt", scored)
    assert done.returncode == 5
    assert "--label-offset 1" in done.stderr
    done = run_assay("score", scored / "results", scored / "labels.txt", scored, "--label-offset", "1")
    assert done.returncode == 0, done.stderr
    assert read_values(scored)["Top1 accuracy"] == "66.67%"
