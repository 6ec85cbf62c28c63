"""Images behind a URL: an S3 bucket of a server that the test starts, and file://."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from assay.errors import BadImagesError, SourceError, UsageError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.forms.object_store import ObjectFolder, find_url
from assay.images.listing import LabelledImage
from assay.images.read import Patience, read_image
from assay.images.sources import index_images
from assay.runs import remote
from assay.runs.place import RunPlace
from assay.runs.remote import stage_run
from conftest import RunAssay
from failing_store import FAILURES, FailingStore


@pytest.fixture
def bucket(store: FailingStore) -> Any:
    """The client of an empty bucket `bucket`, which the environment leads to."""
    return store.client


def upload(client: object, folder: Path, prefix: str) -> None:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            client.put_object(Bucket="bucket", Key=key, Body=file.read_bytes())  # type: ignore[attr-defined]


def download(client: object) -> dict[str, bytes]:
    listed = client.list_objects_v2(Bucket="bucket")["Contents"]  # type: ignore[attr-defined]
    keys = [each["Key"] for each in listed]
    return {
        key: client.get_object(Bucket="bucket", Key=key)["Body"].read()  # type: ignore[attr-defined]
        for key in keys
    }


@pytest.mark.parametrize("place", ["s3", "file"])
def test_a_flat_folder_behind_a_url_is_indexed_and_read_as_the_folder_is(
    bucket: object, photographs: Path, place: str
) -> None:
    (photographs / "notes.txt").write_text("no image")
    (photographs / "deeper").mkdir()
    shutil.copy(photographs / "ILSVRC2012_val_00000001.JPEG", photographs / "deeper" / "again.jpg")
    upload(bucket, photographs, "val")
    url = "s3://bucket/val/?region=us-east-1" if place == "s3" else f"file://{photographs}"
    found = index_images(Path(url), IMAGENET_CLASSES)
    expected = index_images(photographs, IMAGENET_CLASSES)
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
    found = index_images(Path("s3://bucket/classes?region=us-east-1"), IMAGENET_CLASSES)
    assert {(image.relative_path.split("/")[0], image.label) for image in found.images} == {
        ("n01440764", 0),
        ("n01443537", 1),
    }
    assert len(found.images) == 12


def test_a_bucket_that_is_not_there_is_a_clear_error(bucket: object) -> None:
    del bucket
    with pytest.raises(BadImagesError, match="cannot be listed"):
        index_images(Path("s3://elsewhere/val?region=us-east-1"), IMAGENET_CLASSES)


def list_one(store: FailingStore, content: bytes = b"whole" * 1000) -> LabelledImage:
    store.client.put_object(Bucket="bucket", Key="val/ILSVRC2012_val_00000001.JPEG", Body=content)
    (image,) = index_images(Path("s3://bucket/val?region=us-east-1"), IMAGENET_CLASSES).images
    return image


@pytest.mark.parametrize("failure", FAILURES)
def test_a_store_that_fails_is_asked_again_and_is_no_fault_of_the_image(
    store: FailingStore, failure: int | str
) -> None:
    image = list_one(store)
    store.fail(failure)
    with pytest.raises(SourceError, match=r"ILSVRC2012_val_00000001\.JPEG: its source failed: .*\(1 tries"):
        read_image(image, patience=Patience(pauses_s=()))
    store.fail(failure, times=2)
    assert read_image(image, patience=Patience(pauses_s=(0.01, 0.01))) == b"whole" * 1000


def test_an_object_that_was_written_since_it_was_listed_is_never_used(store: FailingStore) -> None:
    image = list_one(store)
    assert read_image(image) == b"whole" * 1000
    place = ObjectFolder(url="s3://bucket/val?region=us-east-1", path="bucket/val")
    listed = store.client.list_objects_v2(Bucket="bucket")["Contents"][0]["LastModified"].timestamp()
    assert place.read_bytes(image.name, listed) == b"whole" * 1000
    with pytest.raises(SourceError, match="changed since it was listed: written to at"):
        place.read_bytes(image.name, listed - 60)


def test_a_store_that_fails_while_it_is_listed_is_asked_again(
    store: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_one(store)
    store.fails_listing = True
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())
    store.fail("refused")
    with pytest.raises(SourceError, match=r"--images s3://bucket/val\?region=us-east-1: its source failed"):
        index_images(Path("s3://bucket/val?region=us-east-1"), IMAGENET_CLASSES)
    monkeypatch.setattr("assay.images.read.PAUSES_S", (0.01,))
    store.fail("refused", times=2)
    assert len(index_images(Path("s3://bucket/val?region=us-east-1"), IMAGENET_CLASSES).images) == 1


def test_a_store_that_refuses_the_credentials_is_not_asked_again(store: FailingStore) -> None:
    list_one(store)
    store.fails_listing = True
    store.fail(403)
    with pytest.raises(BadImagesError, match=r"cannot be listed: .*ACCESS_DENIED"):
        index_images(Path("s3://bucket/val?region=us-east-1"), IMAGENET_CLASSES)
    assert store.failed_count == 1


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


def test_a_run_behind_a_url_holds_what_one_in_a_folder_holds_and_can_be_resumed(
    bucket: object, run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run_assay("compile", colour_onnx, tmp_path / "compiled").returncode == 0
    command = ["evaluate", tmp_path / "compiled", "--images", photographs, "--shard-size", 5]
    url = "s3://bucket/runs/val?region=us-east-1"
    assert run_assay(*command, "-o", tmp_path / "near").returncode == 0
    done = run_assay(*command, "-o", url, env=environment)
    assert done.returncode == 0, done.stderr
    near = {
        f"runs/val/{path.relative_to(tmp_path / 'near')}": path.read_bytes()
        for path in (tmp_path / "near").rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    far = download(bucket)
    assert far.keys() == near.keys()
    same = [name for name in far if "/predictions/" in name or name.endswith("metrics.json")]
    assert len(same) == 4
    assert {name: far[name] for name in same} == {name: near[name] for name in same}
    done = run_assay(*command, "-o", url, env=environment)
    assert done.returncode == 2
    assert "holds a run already" in done.stderr
    bucket.delete_object(Bucket="bucket", Key="runs/val/predictions/part-00001.parquet")  # type: ignore[attr-defined]
    shutil.rmtree(tmp_path / "cache")  # as on another machine
    done = run_assay(*command, "-o", url, "--resume", env=environment)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 shards are there already" in done.stderr
    again = download(bucket)
    assert {name: again[name] for name in same} == {name: far[name] for name in same}


def test_results_that_cannot_be_copied_are_kept_and_resume_copies_them(
    store: FailingStore,
    run_assay: RunAssay,
    colour_onnx: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", (0.01,))
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert run_assay("compile", colour_onnx, tmp_path / "compiled").returncode == 0
    url = "s3://bucket/runs/val?region=us-east-1"
    command = ["evaluate", tmp_path / "compiled", "--images", photographs, "--shard-size", 5, "-o", url]
    store.fails_writing = True
    store.fail(403, after=0)
    done = run_assay(*command, env=environment)
    assert done.returncode == 2, done.stderr
    assert "ACCESS_DENIED" in done.stderr
    assert f"the results are kept in {tmp_path / 'cache'}" in done.stderr
    assert "Contents" not in store.client.list_objects_v2(Bucket="bucket")
    store.recover()
    done = run_assay(*command, "--resume", env=environment)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 shards are there already" in done.stderr
    assert len([name for name in download(store.client) if "/predictions/" in name]) == 3
    assert not list(tmp_path.rglob("*.unpublished"))


def test_results_that_could_not_be_copied_never_replace_another_run(
    store: FailingStore, tmp_path: Path
) -> None:
    place = RunPlace(path=Path("s3://bucket/run?region=us-east-1"), mode="resume")
    identity = {
        "compiled_model": "a", "preprocessing": "b", "images": "c", "labels": "d",
        "shard_size": 1024, "keep_logits": False,
    }  # fmt: skip
    with stage_run(place, tmp_path) as staged:
        assert staged.path is not None
        (staged.path / "manifest.json").write_text(json.dumps({"identity": identity}))
    (marker,) = (path.with_suffix(".unpublished") for path in tmp_path.glob("*.lock"))
    marker.touch()  # as a process leaves it that is killed before it copies
    with stage_run(place, tmp_path):
        pass
    marker.touch()
    other = json.dumps({"identity": {**identity, "images": "other"}}).encode()
    store.client.put_object(Bucket="bucket", Key="run/manifest.json", Body=other)
    with (
        pytest.raises(UsageError, match=r"holds another run than the one in .*, which could not be copied"),
        stage_run(place, tmp_path),
    ):
        pass
    assert download(store.client)["run/manifest.json"] == other


def test_a_url_that_holds_something_else_is_refused_and_left_as_it_is(
    bucket: object, run_assay: RunAssay, colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    upload(bucket, photographs, "val")
    before = download(bucket)
    assert run_assay("compile", colour_onnx, tmp_path / "compiled").returncode == 0
    command = ["evaluate", tmp_path / "compiled", "--images", photographs, "--overwrite"]
    done = run_assay(*command, "-o", "s3://bucket/val?region=us-east-1")
    assert done.returncode == 2, done.stderr
    assert "holds something that is no run of assay" in done.stderr
    assert download(bucket) == before


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside"])
def test_a_key_that_leads_out_of_the_run_is_never_written(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote, "_list_remote", lambda _url: ["manifest.json", name])
    monkeypatch.setattr(remote, "_read_remote", lambda _url, _name: b"{}")
    place = RunPlace(path=Path("s3://bucket/run?region=us-east-1"), mode="resume")
    with pytest.raises(UsageError, match="is no file of a run"), stage_run(place, tmp_path / "cache"):
        pass
    assert not list(tmp_path.rglob("outside"))


def test_a_url_with_credentials_is_refused_without_showing_them() -> None:
    with pytest.raises(UsageError, match="a URL with credentials") as caught:
        find_url(Path("s3://me:secret@bucket/val"))
    assert "secret" not in str(caught.value)
