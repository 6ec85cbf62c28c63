"""`assay predict`: images without labels to one file, whole or not at all, and resumable."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from assay.engines.catalog import find_engine
from assay.engines.engine import Session
from assay.errors import BadImagesError, EngineError, UsageError
from assay.images.label_files import LabelOptions
from assay.images.request import ImageRequest
from assay.runs.place import Mode, RunPlace
from assay.workflows.evaluate import evaluate
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.predict_images import PredictedFile, PredictRequest, predict_images
from assay.workflows.evaluate.run_evaluation import run_evaluation


@pytest.fixture
def compiled(colour_compiled: Path) -> Path:
    return colour_compiled


@pytest.fixture
def request_of(photographs: Path, tmp_path: Path) -> PredictRequest:
    """Twelve photographs and a file that is none, in shards of four."""
    (photographs / "torn.JPEG").write_bytes(b"no picture")
    output = tmp_path / "predictions.csv"
    return PredictRequest(images=ImageRequest(path=photographs), output=output, shard_size=4)


def read_rows(path: Path) -> list[dict[str, object]]:
    """The rows of a file of any form, with cells as JSON has them."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            rows: list[dict[str, object]] = file.read().to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return [
            {
                "path": row["path"],
                "status": row["status"],
                "class": int(row["class"]) if row["class"] else None,
                "name": row["name"] or None,
                "probability": float(row["probability"]) if row["probability"] else None,
                "top5": json.loads(row["top5"]),
            }
            for row in csv.DictReader(file)
        ]


def test_every_form_says_what_an_evaluation_of_the_same_images_says(
    compiled: Path, request_of: PredictRequest, tmp_path: Path
) -> None:
    run = run_evaluation(
        compiled, request_of.images, EvaluateOptions(keep_logits=True), RunPlace(path=tmp_path / "run")
    )
    with pq.ParquetFile(run.folder / "predictions" / "part-00000.parquet") as file:
        expected = {row["relative_path"]: row for row in file.read().to_pylist()}
    found = []
    for suffix in ("csv", "jsonl", "parquet"):
        request = dataclasses.replace(request_of, output=tmp_path / f"p.{suffix}")
        made = predict_images(compiled, request)
        assert made == PredictedFile(
            path=request.output,
            image_count=13,
            failures={expected["torn.JPEG"]["status"]: 1},
            outputs="logits",
        )
        found.append(read_rows(request.output))
    assert found[0] == found[1] == found[2]
    assert [row["path"] for row in found[0]] == sorted(expected)
    for row in found[0]:
        other = expected[str(row["path"])]
        if row["path"] == "torn.JPEG":
            assert (row["class"], row["name"], row["probability"], row["top5"]) == (None, None, None, [])
            continue
        logits = np.array(other["logits"], dtype=np.float64)
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        top5 = row["top5"]
        assert isinstance(top5, list)
        assert row["status"] == "ok"
        assert [one["class"] for one in top5] == other["top_classes"]
        assert (row["class"], row["name"]) == (top5[0]["class"], top5[0]["name"])
        assert [one["probability"] for one in top5] == pytest.approx(
            [shares[number] for number in other["top_classes"]], rel=1e-4
        )
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


class FailsAfter:
    """A session that fails after so many images, as one that is killed does."""

    def __init__(self, session: Session, count: int) -> None:
        self._session = session
        self._left = count

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def run(self, images: np.ndarray) -> np.ndarray:
        self._left -= len(images)
        if self._left < 0:
            raise EngineError("ended")
        return self._session.run(images)


def test_what_is_left_of_a_file_is_continued_when_asked_and_ends_with_the_same(
    compiled: Path, request_of: PredictRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_images(compiled, request_of)
    whole = request_of.output.read_bytes()
    request_of.output.unlink()
    with monkeypatch.context() as patched:
        engine = find_engine("openvino")
        patched.setattr(evaluate, "load_for_evaluation", lambda path: FailsAfter(engine.load(path), 6))
        with pytest.raises(EngineError):
            predict_images(compiled, request_of)
    assert not request_of.output.exists()
    shards = sorted((request_of.unfinished / "predictions").iterdir())
    assert shards
    times = [shard.stat().st_mtime_ns for shard in shards]
    with pytest.raises(UsageError, match="begun, and are not whole"):
        predict_images(compiled, request_of)
    limited = dataclasses.replace(request_of.images, limit=3)
    with pytest.raises(UsageError, match="cannot resume"):
        predict_images(compiled, dataclasses.replace(request_of, images=limited, mode="resume"))
    assert [shard.stat().st_mtime_ns for shard in shards] == times
    predict_images(compiled, dataclasses.replace(request_of, mode="resume"))
    assert request_of.output.read_bytes() == whole
    assert not request_of.unfinished.exists()


@pytest.mark.parametrize("mode", ["new", "resume"])
def test_a_file_that_is_there_is_replaced_only_when_asked(
    compiled: Path, request_of: PredictRequest, mode: Mode
) -> None:
    request_of.output.write_text("mine")
    with pytest.raises(UsageError, match="is there already"):
        predict_images(compiled, dataclasses.replace(request_of, mode=mode))
    assert request_of.output.read_text() == "mine"
    predict_images(compiled, dataclasses.replace(request_of, mode="overwrite"))
    assert len(read_rows(request_of.output)) == 13


def test_what_cannot_be_predicted_leaves_nothing_behind(
    compiled: Path, request_of: PredictRequest, tmp_path: Path
) -> None:
    empty = dataclasses.replace(request_of, images=ImageRequest(path=compiled))
    with pytest.raises(BadImagesError, match="no images"):
        predict_images(compiled, empty)
    for name, complaint in (
        ("p.txt", r"\.csv, \.jsonl"),
        ("photographs", "expected a name"),
        ("s3://b/p.csv", "URL"),
    ):
        request = dataclasses.replace(request_of, output=Path(name))
        with pytest.raises(UsageError, match=complaint):
            predict_images(compiled, request)
    assert {path.name for path in tmp_path.iterdir()} == {"photographs"}


def test_photographs_in_folders_of_any_name_and_beside_the_file_are_predicted(
    compiled: Path, tmp_path: Path
) -> None:
    """Folders are no classes here, and names that data sets have for something else are none either."""
    for folder in ("", "2024 June", "val"):
        (tmp_path / "album" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (300, 260), (200, 30, 30)).save(tmp_path / "album" / folder / "red, or not.png")
    images = ImageRequest(path=tmp_path / "album", labels=LabelOptions())
    request = PredictRequest(images=images, output=tmp_path / "album" / "p.csv")
    predict_images(compiled, request)
    again = predict_images(compiled, dataclasses.replace(request, mode="overwrite"))
    rows = read_rows(request.output)
    paths = {row["path"] for row in rows}
    assert paths == {"red, or not.png", "2024 June/red, or not.png", "val/red, or not.png"}
    assert again.failures == {}
    assert rows[0]["top5"] == rows[1]["top5"]
