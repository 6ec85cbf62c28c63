"""`compare` counts what a plain re-computation from the two predictions files counts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.images.label_files import LabelOptions
from assay.images.request import ImageRequest
from assay.measure.gates import parse_gate
from assay.models.record import ModelRecord
from assay.runs.folder import RunResult
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.models.compile import compile_model
from assay.workflows.results.compare import RunComparison, compare_runs
from colour_classifier import make_colour_classifier
from compiling import resolve_choice
from conftest import RunAssay

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 200, 0), (90, 90, 90)]
Side = Literal["A", "B"]
Evaluate = Callable[[Side, Path, Path], RunResult]
"""Evaluates one side's model on a folder of images with a label file."""


@dataclass(frozen=True)
class DrawnImage:
    """An image of the test: its colour, its label, and in which runs it is there, labelled, and broken."""

    colour: int
    label: int
    present: str
    labelled: str
    broken: str
    content: bytes


SIDES = st.sampled_from(["AB", "AB", "AB", "A", "B"])
IMAGES = st.lists(
    st.builds(
        DrawnImage,
        colour=st.integers(0, len(COLOURS) - 1),
        label=st.integers(0, 2),
        present=SIDES,
        labelled=st.sampled_from(["AB", "AB", "AB", "A", "B", ""]),
        broken=st.sampled_from(["", "", "", "A", "B", "AB"]),
        content=st.sampled_from([b"", b"\xff\xd8\xff\xe0 cut short"]),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def evaluate(se_resnext50: ModelRecord, tmp_path_factory: pytest.TempPathFactory) -> Evaluate:
    """Two classifiers with other weights, as `assay evaluate` runs them."""
    folder = tmp_path_factory.mktemp("models")
    for side in "AB":
        onnx_path = make_colour_classifier(folder / f"{side}.onnx", seed=ord(side))
        options = resolve_choice(se_resnext50, engine="onnxruntime")
        compile_model(onnx_path, folder / side, options, overwrite=False, listener=SILENT)

    def run(side: Side, images: Path, labels: Path) -> RunResult:
        place = RunPlace(path=images.with_name(f"run{side}"))
        options = EvaluateOptions(shard_size=3)
        request = ImageRequest(path=images, labels=LabelOptions(path=labels))
        return run_evaluation(folder / side, request, options, place, SILENT)

    return run


@pytest.fixture(scope="module")
def likeliest(evaluate: Evaluate, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Side, list[int]]:
    """What each side's model takes each colour for, so that a test can draw labels that are right."""
    found: dict[Side, list[int]] = {}
    for side in ("A", "B"):
        place = tmp_path_factory.mktemp("likeliest")
        drawn = [DrawnImage(number, 2, "AB", "AB", "", b"") for number in range(len(COLOURS))]
        evaluate(side, *write_side(side, drawn, place, {}))
        found[side] = [row["top_classes"][0] for row in read_rows(place / f"run{side}").values()]
    return found


def write_side(
    side: Side, drawn: list[DrawnImage], place: Path, likeliest: Mapping[Side, list[int]]
) -> tuple[Path, Path]:
    """Write the images and the label file of one side, and return where they are."""
    folder = place / f"images{side}"
    folder.mkdir()
    lines = []
    for number, one in enumerate(drawn):
        name = f"{number:02}.png"
        if side not in one.present:
            continue
        if side in one.broken:
            (folder / name).write_bytes(one.content)
        else:
            Image.new("RGB", (260, 257), COLOURS[one.colour]).save(folder / name)
        if side in one.labelled:
            right = [likeliest[each][one.colour] for each in likeliest]
            lines.append(f"{name} {[*right, 7, 7, 7][one.label]}\n")
    labels = place / f"labels{side}.txt"
    labels.write_text("".join(lines))
    return folder, labels


def read_rows(run: Path) -> dict[str, dict[str, Any]]:
    """The rows of a run's predictions files by path, read by pyarrow alone."""
    paths = sorted((run / "predictions").glob("*.parquet"))
    return {row["relative_path"]: row for path in paths for row in pq.read_table(path).to_pylist()}


def is_right(row: dict[str, Any]) -> bool:
    return bool(row["status"] == "ok" and row["top_classes"][0] == row["label"])


def count_plainly(rows_a: dict[str, dict[str, Any]], rows_b: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Return every count of the comparison, from the rows alone."""
    both = sorted(set(rows_a) & set(rows_b))
    compared = [path for path in both if None not in (rows_a[path]["label"], rows_b[path]["label"])]
    pairs = [(rows_a[path], rows_b[path]) for path in compared]
    answered = [(a, b) for a, b in pairs if a["status"] == b["status"] == "ok"]
    return {
        "images": len(pairs),
        "both": sum(is_right(a) and is_right(b) for a, b in pairs),
        "lost": sum(is_right(a) and not is_right(b) for a, b in pairs),
        "won": sum(is_right(b) and not is_right(a) for a, b in pairs),
        "same": sum(a["top_classes"][0] == b["top_classes"][0] for a, b in answered),
        "failed in A": sum(a["status"] != "ok" and b["status"] == "ok" for a, b in pairs),
        "failed in B": sum(b["status"] != "ok" and a["status"] == "ok" for a, b in pairs),
        "failed in both": sum(a["status"] != "ok" and b["status"] != "ok" for a, b in pairs),
        "not compared": len(set(rows_a) | set(rows_b)) - len(pairs),
    }


def count_found(found: RunComparison) -> dict[str, int]:
    comparison, paired = found.comparison, found.comparison.paired
    coverage = comparison.coverage
    not_compared = [
        coverage.only_in_reference,
        coverage.only_in_candidate,
        coverage.unlabelled_in_reference,
        coverage.unlabelled_in_candidate,
        coverage.unlabelled_in_both,
    ]
    assert paired.image_count == comparison.image_count
    assert (len(comparison.lost), len(comparison.won)) == (paired.lost_count, paired.won_count)
    return {
        "images": comparison.image_count,
        "both": paired.both_count,
        "lost": paired.lost_count,
        "won": paired.won_count,
        "same": comparison.same_top1_count,
        "failed in A": coverage.failed_in_reference.count,
        "failed in B": coverage.failed_in_candidate.count,
        "failed in both": coverage.failed_in_both.count,
        "not compared": sum(images.count for images in not_compared),
    }


@settings(max_examples=8)  # each evaluates twice and compares
@given(drawn=IMAGES)
def test_counts_are_those_of_the_two_predictions_files_failed_images_included(
    evaluate: Evaluate, likeliest: Mapping[Side, list[int]], drawn: list[DrawnImage]
) -> None:
    drawn = [*drawn, DrawnImage(0, 0, "AB", "AB", "", b"")]  # one that can be compared
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        results = [evaluate(side, *write_side(side, drawn, place, likeliest)) for side in ("A", "B")]
        rows = [read_rows(result.folder) for result in results]
        found = compare_runs(results[0].folder, results[1].folder, gates=[parse_gate("paired:99")])
    assert count_found(found) == count_plainly(*rows)
    for result, side_rows in zip(results, rows, strict=True):
        assert result.metrics is not None
        accuracy = result.metrics.accuracy
        assert accuracy.top1.hits == sum(map(is_right, side_rows.values()))
        assert accuracy.image_count == len(side_rows)
    is_same_set = all(set(one.present) == {"A", "B"} and one.labelled in {"AB", ""} for one in drawn)
    if not is_same_set:
        assert found.gates[0].outcome == "cannot tell"
        assert "not over the same images" in found.gates[0].reason


def test_images_that_were_emptied_for_b_are_named_first_and_fail_the_gate(
    run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in photographs.iterdir())
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{name} 0\n" for name in names))
    given = [colour_compiled, "--images", photographs, "--labels", labels, "--trust-labels", "-q", "-o"]
    assert run_assay("evaluate", *given, tmp_path / "trial").returncode == 0
    likeliest = {path: row["top_classes"][0] for path, row in read_rows(tmp_path / "trial").items()}
    labels.write_text("".join(f"{name} {likeliest[name]}\n" for name in names))  # all are right
    assert run_assay("evaluate", *given, tmp_path / "a").returncode == 0
    for name in names[:4]:
        (photographs / name).write_bytes(b"")
    assert run_assay("evaluate", *given, tmp_path / "b").returncode == 3
    done = run_assay("compare", tmp_path / "a", tmp_path / "b", "--gate", "paired:1")
    assert done.returncode == 1, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("Note: 4 images of A failed in B, counted as wrong there:")
    assert "Top-1: A 12, B 8 right of 12 images that both have" in done.stdout
    assert "Same Top-1 on 8 of 8 that both answered; 4 lost, 0 won" in done.stdout
    assert "Gate paired:1: fail" in done.stdout
