"""`assay score`: the original's result where the original is right, and a word where it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assay.errors import AssayError, BadInputError, GateFailedError, UsageError
from assay.images.label_files import LabelOptions
from assay.runs.listener import SILENT
from assay.workflows.modelzoo.score import Score, ScoreOptions, score_results
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
        SILENT,
        ScoreOptions(allow_missing=allow_missing),
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
    done = score_results(results, labels, tmp_path / "r.json", SILENT, ScoreOptions(allow_missing=True))
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
        score_results(scored / "gone", scored, scored / "r.json", SILENT)


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
        score_results(scored / "results", scored / "labels.txt", scored / "metrics.json", SILENT)


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


NAMES = [f"ILSVRC2012_val_{number:08d}" for number in range(1, 6)]


@pytest.fixture
def real_rows() -> np.ndarray:
    """Float32 logits of five images over 1000 classes; image k's largest value is that of class k."""
    rows = np.random.default_rng(0).normal(0, 2, (5, 1000)).astype(np.float32)
    rows[np.arange(5), np.arange(5)] = 20
    return rows


def write_results(folder: Path, rows: np.ndarray, end: str) -> Path:
    (folder / "results").mkdir()
    (folder / "labels.txt").write_text("".join(f"{name}.JPEG {k}\n" for k, name in enumerate(NAMES)))
    for name, row in zip(NAMES, rows, strict=True):
        row.tofile(folder / "results" / f"{name}{end}")
    return folder / "results"


def run_score(run_assay: RunAssay, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = ["score", folder / "results", folder / "labels.txt", folder, "--trust-labels", *flags]
    return run_assay(*command)


@pytest.mark.parametrize("end", ["_0.bin", "_1.bin", ".bin", "_output_0.bin", "_output_1.bin"])
def test_the_names_of_every_generation_of_tools_are_read(
    run_assay: RunAssay, tmp_path: Path, real_rows: np.ndarray, end: str
) -> None:
    write_results(tmp_path, real_rows, end)
    done = run_score(run_assay, tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_values(tmp_path)["Top1 accuracy"] == "100.0%"


def test_an_image_whose_name_ends_like_msames_results_keeps_its_name(scored: Path) -> None:
    (scored / "labels.txt").write_text("a_output.JPEG 1\nb.JPEG 3\nc.JPEG 1\n")
    (scored / "results" / "a_0.txt").rename(scored / "results" / "a_output_0.txt")
    assert score(scored).metrics.accuracy.top1.hits == 2


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
@pytest.mark.parametrize("class_count", [10, 500, 1000, 1001])
def test_values_that_are_no_float32_are_refused_and_read_when_the_type_is_given(
    run_assay: RunAssay, tmp_path: Path, real_rows: np.ndarray, dtype: str, class_count: int
) -> None:
    rows = real_rows[:, :class_count]
    if class_count == 1001:  # the class of label k is k + 1, behind the background
        rows = np.concatenate([np.zeros((5, 1), dtype=np.float32), real_rows], axis=1)
    write_results(tmp_path, rows.astype(dtype), "_0.bin")
    done = run_score(run_assay, tmp_path)
    assert done.returncode == 5
    assert dtype in done.stderr
    assert not (tmp_path / "result.json").exists()
    done = run_score(run_assay, tmp_path, "--dtype", dtype)
    assert done.returncode == 0, done.stderr
    assert read_values(tmp_path)["Top1 accuracy"] == "100.0%"
    assert read_values(tmp_path)["Number of classes"] == str(class_count)


def test_labels_below_the_wrong_class_count_do_not_hide_float16(tmp_path: Path) -> None:
    """2,000 bytes are 500 float32 values too, and the labels fit both."""
    write_results(tmp_path, (np.eye(5, 1000) * 9).astype(np.float16), "_0.bin")
    expect_refusal(tmp_path, BadInputError, "2,000 bytes that are no float32 logits.*float16")


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_probabilities_of_another_type_are_told_from_float32(tmp_path: Path, dtype: str) -> None:
    shares = np.exp(np.random.default_rng(1).normal(0, 3, (5, 100)))
    write_results(tmp_path, (shares / shares.sum(axis=1, keepdims=True)).astype(dtype), "_0.bin")
    expect_refusal(tmp_path, BadInputError, f"no float32 logits.*{dtype}")


def make_shares(logits: np.ndarray) -> np.ndarray:
    exact = np.exp(logits.astype(np.float64))
    shares: np.ndarray = (exact / exact.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


@pytest.mark.parametrize("class_count", [5, 10, 500, 1000])
@pytest.mark.parametrize("kind", ["logits", "probabilities", "log-probabilities", "one-hot", "whole numbers"])
def test_float32_of_every_kind_is_read(
    tmp_path: Path, real_rows: np.ndarray, class_count: int, kind: str
) -> None:
    logits = real_rows[:, :class_count]
    rows = {
        "logits": logits,
        "probabilities": make_shares(4 * logits),
        "log-probabilities": np.log(make_shares(logits)),
        "one-hot": np.eye(5, class_count, dtype=np.float32),
        "whole numbers": np.round(logits),
    }[kind]
    write_results(tmp_path, rows, "_0.bin")
    done = score_results(
        tmp_path / "results",
        tmp_path / "labels.txt",
        tmp_path / "result.json",
        SILENT,
        ScoreOptions(labels=LabelOptions(trusted=True)),
    )
    assert (done.class_count, done.metrics.accuracy.top1.hits) == (class_count, 5)


def test_the_type_of_files_that_hold_it_is_not_asked(run_assay: RunAssay, scored: Path) -> None:
    done = run_assay("score", scored / "results", scored / "labels.txt", scored, "--dtype", "float16")
    assert done.returncode == 2
    assert "--dtype is for .bin files" in done.stderr


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8", "<i4", "i1", ">i2"])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 4, 1, 1)])
def test_an_array_is_read_by_its_own_type_and_shape(scored: Path, dtype: str, shape: tuple[int, ...]) -> None:
    for file, row in zip("abc", ([0, 9, 1, 2], [0, 1, 2, 9], [9, 3, 2, 1]), strict=True):
        (scored / "results" / f"{file}_0.txt").unlink()
        np.save(scored / "results" / f"{file}_0.npy", np.asfortranarray(np.array(row, dtype).reshape(shape)))
    assert score(scored).metrics.accuracy.top1.hits == 2


@pytest.mark.parametrize("array", [np.zeros((2, 4)), np.zeros((4, 1)), np.zeros((4, 2, 1, 1)), np.zeros(())])
def test_an_array_of_several_images_is_refused(scored: Path, array: np.ndarray) -> None:
    for file in "abc":
        (scored / "results" / f"{file}_0.txt").unlink()
        np.save(scored / "results" / f"{file}_0.npy", array)
    expect_refusal(scored, BadInputError, "expected one image's values, found shape")


@pytest.mark.parametrize("array", [np.zeros(4, dtype=complex), np.array(["1"] * 4), np.zeros(4, dtype=bool)])
def test_an_array_of_no_numbers_is_refused(scored: Path, array: np.ndarray) -> None:
    for file in "abc":
        (scored / "results" / f"{file}_0.txt").unlink()
        np.save(scored / "results" / f"{file}_0.npy", array)
    expect_refusal(scored, BadInputError, "expected an array of numbers, found")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (",".join(map(str, np.eye(1000)[0])) + "\n", "expected numbers with blanks between, found commas"),
        ("1\n2\n3\n4\n", "expected one line, found 4, with one value each"),
        ("1 2 3 4\r5 6 7 8\r", "expected one line, found 2"),
        ("x" * 9000 + " 1", "could not convert"),
        ("18560 49792 14336 15360 \n", "whole numbers that are float16 values bit by bit"),
    ],
)
def test_text_of_another_form_is_refused_in_a_line(scored: Path, content: str, message: str) -> None:
    for name in "abc":
        (scored / "results" / f"{name}_0.txt").write_bytes(content.encode())
    with pytest.raises(BadInputError, match=message) as refusal:
        score(scored)
    assert max(map(len, str(refusal.value).splitlines())) < 400


def test_values_are_ranked_with_all_their_digits(scored: Path) -> None:
    """As float32 they would be equal, and the first would win."""
    write_text(scored / "results" / "a_0.txt", [16777216.0, 16777217.0, 0, 0])
    (scored / "labels.txt").write_text("a 1\nb 3\nc 0\n")
    assert score(scored).metrics.accuracy.top1.hits == 3


def test_values_that_fill_up_the_classes_are_refused(tmp_path: Path, real_rows: np.ndarray) -> None:
    rows = np.concatenate([real_rows[:, :10], np.zeros((5, 6), dtype=np.float32)], axis=1)
    write_results(tmp_path, rows, "_0.bin")
    expect_refusal(tmp_path, BadInputError, "the last 6 of 16 values are 0 in every result: padding")


def test_a_file_that_lacks_one_value_is_named(tmp_path: Path, real_rows: np.ndarray) -> None:
    results = write_results(tmp_path, real_rows[:, :500], "_0.bin")
    real_rows[2, :499].tofile(results / f"{NAMES[2]}_0.bin")
    expect_refusal(tmp_path, BadInputError, f"{NAMES[2]}_0.bin: 499 values; the first file has 500")
