"""Files of predictions from odd names: no cell of a CSV is a formula, and every row is read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assay.images.classes import Classes
from assay.inference.prediction_file import make_row, write_rows
from assay.inference.predictions import Prediction

ODD = ["=cmd|' /C calc'!A0.jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", 'a\nb,"c".jpg', "\tx.jpg", "plain.jpg"]


def make_rows(names: list[str]) -> list[dict[str, object]]:
    classes = Classes(count=2, names=("=HYPERLINK(1)", "kite"))
    rows = []
    for name in names:
        found = Prediction(name=name, relative_path=name, label=None, status="ok", top_classes=(0, 1))
        rows.append(dict(make_row(found, classes, 0, [0.75, 0.25])))
    return rows


def test_no_cell_of_a_csv_is_a_formula_and_each_path_leads_to_its_image(tmp_path: Path) -> None:
    write_rows(tmp_path / "p.csv", ".csv", [make_rows(ODD)])
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(tmp_path / row["path"]).resolve() for row in rows] == [tmp_path / name for name in ODD]
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert rows[-1]["path"] == "plain.jpg"
    assert json.loads(rows[0]["top5"])[0]["name"] == "=HYPERLINK(1)"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_other_forms_have_the_names_as_they_are(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    write_rows(path, suffix, [make_rows(ODD)])
    lines = path.read_text("utf-8").splitlines() if suffix == ".jsonl" else []
    rows = list(map(json.loads, lines)) or pq.read_table(path).to_pylist()
    assert [row["path"] for row in rows] == ODD
    assert rows[0]["name"] == "=HYPERLINK(1)"
