"""Images behind a URL: an S3 bucket of a server that the test starts, and file://."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from assay.errors import BadImagesError
from assay.images.sources import index_images
from conftest import RunAssay


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An empty bucket `bucket`, which the environment leads to."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="bucket")
    yield client
    server.stop()


def upload(client: object, folder: Path, prefix: str) -> None:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            client.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", ["s3", "file"])
def test_a_flat_folder_behind_a_url_is_indexed_and_read_as_the_folder_is(
    bucket: object, photographs: Path, place: str
) -> None:
    (photographs / "notes.txt").write_text("no image")
    (photographs / "deeper").mkdir()
    shutil.copy(photographs / "ILSVRC2012_val_00000001.JPEG", photographs / "deeper" / "again.jpg")
    upload(bucket, photographs, "val")
    url = "s3://bucket/val/?region=us-east-1" if place == "s3" else f"file://{photographs}"
    found = index_images(Path(url), 1000)
    expected = index_images(photographs, 1000)
    assert [(i.relative_path, i.label, i.size_bytes, i.read_bytes()) for i in found.images] == [
        (i.relative_path, i.label, i.size_bytes, i.read_bytes()) for i in expected.images
    ]
    assert found.ignored == expected.ignored == ("notes.txt",)


def test_class_folders_behind_a_url_give_labels(bucket: object, photographs: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number, image in enumerate(sorted(photographs.iterdir())):
        folder = tree / ("n01440764", "n01443537")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder / f"photo{number}.jpg")
    upload(bucket, tree, "classes")
    found = index_images(Path("s3://bucket/classes?region=us-east-1"), 1000)
    assert {(image.relative_path.split("/")[0], image.label) for image in found.images} == {
        ("n01440764", 0),
        ("n01443537", 1),
    }
    assert len(found.images) == 12


def test_a_bucket_that_is_not_there_is_a_clear_error(bucket: object) -> None:
    del bucket
    with pytest.raises(BadImagesError, match="cannot be listed"):
        index_images(Path("s3://elsewhere/val?region=us-east-1"), 1000)


def test_a_run_over_a_bucket_predicts_what_a_run_over_the_folder_does(
    bucket: object, run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    upload(bucket, photographs, "val")
    assert run_assay("compile", colour_onnx, tmp_path / "compiled").returncode == 0
    for run, images in (("near", photographs), ("far", "s3://bucket/val?region=us-east-1")):
        done = run_assay(
            "evaluate", tmp_path / "compiled", "--images", images, "-o", tmp_path / run, "--shard-size", 5
        )
        assert done.returncode == 0, done.stderr
    for name in ("part-00000.parquet", "part-00001.parquet", "part-00002.parquet"):
        near, far = (tmp_path / run / "predictions" / name for run in ("near", "far"))
        assert near.read_bytes() == far.read_bytes()
