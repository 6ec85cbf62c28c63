"""Bundles: whole, the same every time, and proven by computing every figure again."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq
import pytest

from assay.inference.predictions import Prediction
from assay.inference.shards import read_shard, write_shard
from assay.workflows.results.report import write_report
from assay.workflows.results.verify import verify_bundle
from conftest import RunAssay

SHARD = "predictions/part-00000.parquet"


@pytest.fixture(scope="module")
def run_folder(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished `assay run`, with its benchmark, over eleven of twelve drawn images."""
    folder = tmp_path_factory.mktemp("bundle")
    from assay.images.drawn_images import draw_labelled_images

    draw_labelled_images(folder / "images", folder / "labels.txt", image_count=12, seed=3)
    given = ["--weights", colour_onnx, "--images", folder / "images", "--labels", folder / "labels.txt"]
    given += ["--limit", 11, "--gate", "throughput>=1000000@bs1"]
    done = run_assay("run", *given, "--batch-size", "1,2", "-o", folder / "run", "-q")
    assert done.returncode in {1, 6}, done.stderr  # the gate fails, or cannot be told
    return folder / "run"


@pytest.fixture
def bundle(run_assay: RunAssay, run_folder: Path, tmp_path: Path) -> Path:
    done = run_assay("bundle", run_folder, tmp_path / "run.zip")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run.zip"


def edit(bundle: Path, name: str, change: Callable[[bytes], bytes], *, honest_hash: bool = False) -> None:
    """Change one file of a bundle; `honest_hash` leaves its entry in bundle.json as it was."""
    with zipfile.ZipFile(bundle) as archive:
        contents = {entry: archive.read(entry) for entry in archive.namelist()}
    contents[name] = change(contents[name])
    if not honest_hash:
        index = json.loads(contents["bundle.json"])
        index["files"][name] = hashlib.sha256(contents[name]).hexdigest()
        contents["bundle.json"] = json.dumps(index).encode()
    with zipfile.ZipFile(bundle, "w") as archive:
        for entry, content in contents.items():
            archive.writestr(entry, content)


def make_one_right(content: bytes) -> bytes:
    """Turn one wrong prediction into a right one, with all metadata kept."""
    table = pq.read_table(io.BytesIO(content))
    rows = table.to_pylist()
    row = next(row for row in rows if row["label"] != row["top_classes"][0])
    row["top_classes"] = [row["label"], *(number for number in row["top_classes"] if number != row["label"])][
        :5
    ]
    stream = io.BytesIO()
    pq.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), stream)
    return stream.getvalue()


def test_a_bundle_of_a_run_verifies(run_assay: RunAssay, bundle: Path) -> None:
    done = run_assay("verify", bundle)
    assert done.returncode == 0, done.stdout
    assert "Every figure is the same" in done.stdout


def test_one_run_gives_one_file_byte_for_byte(
    run_assay: RunAssay, run_folder: Path, bundle: Path, tmp_path: Path
) -> None:
    done = run_assay("bundle", run_folder, tmp_path / "again.zip")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.zip").read_bytes() == bundle.read_bytes()


def test_one_prediction_edited_is_caught_by_its_hash(run_assay: RunAssay, bundle: Path) -> None:
    edit(bundle, SHARD, make_one_right, honest_hash=True)
    done = run_assay("verify", bundle)
    assert done.returncode == 1
    assert SHARD in done.stdout


@pytest.mark.parametrize(
    ("name", "before", "after", "caught"),
    [
        ("metrics.json", '"image_count": 11', '"image_count": 12', "accuracy"),
        ("manifest.json", '"shard_size": 1024', '"shard_size": 1025', "shards of the predictions"),
        ("report.md", "of 11", "of 12", "report.md"),
    ],
)
def test_an_edited_result_is_caught(
    run_assay: RunAssay, bundle: Path, name: str, before: str, after: str, caught: str
) -> None:
    edit(bundle, name, lambda content: content.replace(before.encode(), after.encode(), 1))
    done = run_assay("verify", bundle, "--json")
    assert done.returncode == 1, done.stdout
    checks = json.loads(done.stdout)["checks"]
    assert any(caught in check["what"] and check["found"] != "same" for check in checks)


def make_faster(document: Any) -> None:
    rates = document["rows"][1]["images_per_second"]
    rates["median"] *= 1000
    rates["values"] = [1000 * value for value in rates["values"]]


def mark_as_valid(document: Any) -> None:
    validity = document["rows"][1]["validity"]
    validity["is_valid"], validity["reasons"] = not validity["is_valid"], ["no reason"]


def pass_gates(document: Any) -> None:
    document["gates"][0]["outcome"] = "pass"


def remove_limit(document: Any) -> None:
    document["image_set"]["limited_from"] = None


def remove_limit_of_metrics(document: Any) -> None:
    document["limited_from"] = None


@pytest.mark.parametrize(
    ("name", "change", "check", "found"),
    [
        ("benchmark.json", make_faster, "rows of timings", "batch 2, call clock: images per second"),
        ("benchmark.json", mark_as_valid, "rows of timings", "batch 2, call clock: VALID or not"),
        ("manifest.json", pass_gates, "gates", "throughput>=1000000@bs1"),
        ("manifest.json", remove_limit, "images and labels", "cut by --limit from another number of images"),
        ("metrics.json", remove_limit_of_metrics, "what was scored", "limited_from: it says None"),
    ],
)
def test_a_forged_result_is_found(
    bundle: Path, name: str, change: Callable[[Any], None], check: str, found: str
) -> None:
    def forge(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    edit(bundle, name, forge)
    said = next(each.found for each in verify_bundle(bundle) if check in each.what)
    assert found in said


def forge_predictions(
    bundle: Path, folder: Path, change: Callable[[list[Prediction]], list[Prediction]]
) -> None:
    """Change predictions as one would who knows how a shard binds its content."""

    def forge(content: bytes) -> bytes:
        path = folder / Path(SHARD).name
        path.write_bytes(content)
        fingerprint = pq.read_schema(path).metadata[b"assay.fingerprint"].decode()
        write_shard(path, change(read_shard(path)), fingerprint)
        return path.read_bytes()

    edit(bundle, SHARD, forge)


def test_one_prediction_edited_with_its_hashes_is_caught_by_the_figures(bundle: Path, tmp_path: Path) -> None:
    def make_right(rows: list[Prediction]) -> list[Prediction]:
        wrong = next(row for row in rows if row.label != row.top_classes[0])
        right = replace(wrong, top_classes=(wrong.label or 0, *wrong.top_classes[1:]))
        return [right if row is wrong else row for row in rows]

    forge_predictions(bundle, tmp_path, make_right)
    checks = {check.what: check.found for check in verify_bundle(bundle)}
    assert checks["accuracy, with its intervals"].startswith("top1.hits: it says ")
    assert checks["hits of every class"] != "same"
    assert next(found for what, found in checks.items() if what.startswith("sha256")) == "same"


def test_labels_set_to_the_answers_are_found(bundle: Path, tmp_path: Path) -> None:
    forge_predictions(bundle, tmp_path, lambda rows: [replace(row, label=row.top_classes[0]) for row in rows])
    said = next(each.found for each in verify_bundle(bundle) if "images and labels" in each.what)
    assert said == "other labels than the run had"


def test_predictions_that_are_there_twice_are_found(bundle: Path, tmp_path: Path) -> None:
    forge_predictions(bundle, tmp_path, lambda rows: [*rows[:6], *rows[:5]])
    said = next(each.found for each in verify_bundle(bundle) if "images and labels" in each.what)
    assert "an image is there twice" in said


def test_a_path_that_leads_out_is_refused(run_assay: RunAssay, bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("../outside.txt", "x")
    done = run_assay("verify", bundle)
    assert done.returncode == 5
    assert "is no path of a bundle" in done.stderr
    assert not list(tmp_path.parent.rglob("outside.txt"))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(run_assay: RunAssay, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    done = run_assay("verify", tmp_path / "x.zip")
    assert done.returncode == 5
    assert "cannot be read as a bundle" in done.stderr


def test_an_existing_bundle_and_a_missing_run_are_refused(
    run_assay: RunAssay, run_folder: Path, bundle: Path, tmp_path: Path
) -> None:
    done = run_assay("bundle", run_folder, bundle)
    assert (done.returncode, "exists already" in done.stderr) == (2, True)
    done = run_assay("bundle", tmp_path / "nothing", tmp_path / "new.zip")
    assert (done.returncode, "holds no run" in done.stderr) == (2, True)
    assert not (tmp_path / "new.zip").exists()


def test_the_report_of_a_run_from_elsewhere_opens_no_url(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["image_set"]["path"] = "s3://elsewhere/val?endpoint_override=198.51.100.7"
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    opened: list[object] = []
    monkeypatch.setattr("assay.workflows.results.gallery.index_images", lambda *given: opened.append(given))
    written = write_report(tmp_path / "run")
    assert not opened
    assert "only the run itself opens" in written.path.read_text()
