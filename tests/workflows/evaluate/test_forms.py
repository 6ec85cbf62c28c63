"""The 100 golden images in every form: identical predictions, image for image, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assay.images.labels import read_synsets
from conftest import RunAssay
from data_set_forms import FORMS, UNLABELLED_FORMS, Encoded, Images

EVERY_FORM = {**FORMS, **UNLABELLED_FORMS}
Row = tuple[int, str, list[int], list[float]]


@pytest.fixture(scope="module")
def golden_images(golden: Path) -> Images:
    labels = dict(line.split() for line in (golden / "labels.txt").read_text().splitlines())
    return {
        image.name: Encoded(
            content=image.read_bytes(),
            label=int(labels[image.name]),
            synset=read_synsets()[int(labels[image.name])],
        )
        for image in sorted((golden / "images").iterdir())
    }


@pytest.fixture(scope="module")
def baseline(
    run_assay: RunAssay, golden: Path, colour_compiled: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Row]]:
    """A compiled model, and what it predicts from the golden folder itself, with its label file."""
    run = tmp_path_factory.mktemp("baseline") / "run"
    images = ["--images", golden / "images", "--labels", golden / "labels.txt"]
    assert run_assay("evaluate", colour_compiled, *images, "-o", run).returncode == 0
    return colour_compiled, read_rows(run)


def read_rows(run: Path) -> dict[str, Row]:
    rows = [row for part in (run / "predictions").iterdir() for row in pq.read_table(part).to_pylist()]
    return {row["name"]: (row["label"], row["status"], row["top_classes"], row["top_logits"]) for row in rows}


@pytest.mark.parametrize("form", sorted(EVERY_FORM))
def test_predictions_do_not_depend_on_the_form(
    run_assay: RunAssay,
    golden: Path,
    golden_images: Images,
    baseline: tuple[Path, dict[str, Row]],
    tmp_path: Path,
    form: str,
) -> None:
    compiled, expected = baseline
    EVERY_FORM[form](tmp_path / "data", golden_images)
    labels = ["--labels", golden / "labels.txt"] if form in UNLABELLED_FORMS else []
    command = ["evaluate", compiled, "--images", tmp_path / "data", *labels, "-o", tmp_path / "run"]
    done = run_assay(*command, "--json")
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "run")
    assert rows == expected
    assert {name: row[0] for name, row in rows.items()} == {n: i.label for n, i in golden_images.items()}
    hits = sum(label == top_classes[0] for label, _, top_classes, _ in rows.values())
    accuracy = json.loads(done.stdout)["accuracy"]
    assert (accuracy["top1"]["hits"], accuracy["image_count"]) == (hits, 100)
