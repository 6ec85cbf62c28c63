"""One report of several runs: a column each, compared with the first, in three forms that say the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assay.images.drawn_images import draw_labelled_images
from assay.inference.shards import read_shard, write_shard
from conftest import RunAssay


@pytest.fixture(scope="module")
def folder(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs over the same twelve images, `other` with one prediction changed, and one over other images."""
    folder = tmp_path_factory.mktemp("joint")
    given = ["--weights", colour_onnx, "--batch-size", "1", "-q"]
    for name, count in (("one", 12), ("elsewhere", 3)):
        draw_labelled_images(folder / f"{name}_images", folder / f"{name}.txt", image_count=count, seed=count)
        images = ["--images", folder / f"{name}_images", "--labels", folder / f"{name}.txt"]
        done = run_assay("run", *given, *images, "-o", folder / name)
        assert done.returncode == 0, done.stderr
    for image in (folder / "elsewhere_images").iterdir():
        image.rename(image.with_name(f"elsewhere_{image.name}"))
    text = (folder / "elsewhere.txt").read_text().splitlines()
    (folder / "elsewhere.txt").write_text("".join(f"elsewhere_{line}\n" for line in text))
    images = ["--images", folder / "elsewhere_images", "--labels", folder / "elsewhere.txt"]
    done = run_assay("run", *given, *images, "-o", folder / "elsewhere", "--overwrite")
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "one", folder / "other")
    part = folder / "other" / "predictions" / "part-00000.parquet"
    first, *others = read_shard(part)
    fingerprint = pq.read_schema(part).metadata[b"assay.fingerprint"].decode()
    write_shard(part, [replace(first, top_classes=first.top_classes[::-1]), *others], fingerprint)
    return folder


@pytest.fixture(scope="module")
def document(run_assay: RunAssay, folder: Path) -> dict[str, Any]:
    done = run_assay("report", folder / "one", folder / "other", "-o", folder / "report", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def find_table(document: dict[str, Any], title: str) -> dict[str, Any]:
    return next(table for table in document["tables"] if table["title"] == title)


def test_there_is_a_column_for_each_run(document: dict[str, Any], folder: Path) -> None:
    accuracy = find_table(document, "Accuracy by run")
    assert accuracy["header"] == ["Accuracy", "A (one)", "B (other)"]
    rows = {row[0]: row[1:] for row in accuracy["rows"]}
    hits = json.loads((folder / "one" / "metrics.json").read_text())["accuracy"]["top1"]["hits"]
    assert rows["Images"] == ["12", "12"]
    assert rows["Top-1 right"][0] == f"{hits}"
    assert rows["Against A (one): same Top-1"] == ["reference", "11 of 12"]
    speed = find_table(document, "Throughput by engine or chip")
    assert speed["header"][1:3] == ["A (one): openvino CPU fp32", "B (other): openvino CPU fp32"]
    ratio = speed["header"].index("B (other): openvino CPU fp32 / A (one): openvino CPU fp32")
    assert speed["rows"][0][ratio] == "1.00 !"  # measured for a moment only


def test_page_markdown_and_json_hold_the_same_verdict_and_every_cell(
    document: dict[str, Any], folder: Path
) -> None:
    kept = json.loads((folder / "report" / "report.json").read_text())
    assert kept["tables"] == document["tables"]
    markdown, page = ((folder / "report" / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert document["verdict"] in markdown
    assert document["verdict"] in page
    markdown, page = unescape(markdown.replace("\\", "")), unescape(page)
    for table in document["tables"]:
        assert f"## {table['title']}\n" in markdown
        assert f">{table['title']}</h2>" in page
        cells = [*table["header"], *(cell for row in table["rows"] for cell in row)]
        assert [cell for cell in cells if cell not in markdown or cell not in page] == []


def test_the_gallery_shows_what_changed_against_the_first(document: dict[str, Any], folder: Path) -> None:
    changed = [picture for picture in document["pictures"] if picture["kind"] != "mistake"]
    assert [(picture["run"], len(picture["reference_top"])) for picture in changed] == [("B (other)", 5)]
    assert "in B (other)</p>" in (folder / "report" / "report.html").read_text()


def test_runs_over_other_images_are_shown_but_not_compared(run_assay: RunAssay, folder: Path) -> None:
    done = run_assay("report", folder / "one", folder / "elsewhere", "-o", folder / "apart", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    rows = {row[0]: row[1:] for row in find_table(document, "Accuracy by run")["rows"]}
    assert rows["Images"] == ["12", "3"]
    assert rows["Against A (one): same Top-1"] == ["reference", "not compared"]
    reason = "Not compared with A (one): the two runs have no labelled image"
    assert any(reason in line for line in document["lines"])


def test_a_run_folder_is_not_written_over(run_assay: RunAssay, folder: Path) -> None:
    done = run_assay("report", folder / "one", folder / "other", "-o", folder / "one")
    assert done.returncode == 2
    assert "is a run folder" in done.stderr
