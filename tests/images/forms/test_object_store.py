"""Images behind a URL: an S3 bucket of a server that the test starts, and file://."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from assay.errors import BadImagesError, SourceError, UsageError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.forms import object_store
from assay.images.forms.object_store import ObjectFolder, find_url
from assay.images.listing import LabelledImage
from assay.images.read import Patience, read_image
from assay.images.sources import index_images
from assay.runs import remote_store
from assay.runs.place import RunPlace
from assay.runs.remote import stage_run
from assay.runs.remote_store import RemoteStore
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
    keys = [each["Key"] for each in listed if not each["Key"].endswith("/")]  # pyarrow's folders
    return {
        key: client.get_object(Bucket="bucket", Key=key)["Body"].read()  # type: ignore[attr-defined]
        for key in keys
    }


@pytest.mark.parametrize("form", ["tar", "zip", "WebDataset"])
def test_an_archive_behind_a_url_is_indexed_and_read_by_ranges_as_the_file_is(
    bucket: object, photographs: Path, tmp_path: Path, form: str
) -> None:
    suffix = "zip" if form == "zip" else "tar"
    place = tmp_path / "archives"
    archive = Path(shutil.make_archive(str(place / "one"), suffix, photographs))
    if form == "WebDataset":
        shutil.copy(archive, place / "two.tar")
    upload(bucket, place, "val")
    name = "val" if form == "WebDataset" else f"val/one.{suffix}"
    found = index_images(Path(f"s3://bucket/{name}?region=us-east-1"), IMAGENET_CLASSES)
    expected = index_images(place if form == "WebDataset" else archive, IMAGENET_CLASSES)
    assert len(found.images) == (24 if form == "WebDataset" else 12)
    assert [(i.relative_path, i.label, i.read_bytes()) for i in found.images] == [
        (i.relative_path, i.label, i.read_bytes()) for i in expected.images
    ]
    if form != "zip":  # which one process reads
        image = pickle.loads(pickle.dumps(found.images[3]))
        assert image.read_bytes() == expected.images[3].read_bytes()


def test_an_archive_behind_a_url_that_is_written_to_again_fails_as_a_source(
    bucket: object, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "one"), "tar", photographs))
    upload(bucket, archive.parent, "val")
    found = index_images(Path("s3://bucket/val/one.tar?region=us-east-1"), IMAGENET_CLASSES)
    monkeypatch.setattr(object_store, "_CLOCK_STEP_S", -1)  # as if some time had passed
    with pytest.raises(SourceError, match="changed since it was listed"):
        read_image(found.images[0])


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
    bucket: object, run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    upload(bucket, photographs, "val")
    for run, images in (("near", photographs), ("far", "s3://bucket/val?region=us-east-1")):
        done = run_assay(
            "evaluate", colour_compiled, "--images", images, "-o", tmp_path / run, "--shard-size", 5
        )
        assert done.returncode == 0, done.stderr
    for name in ("part-00000.parquet", "part-00001.parquet", "part-00002.parquet"):
        near, far = (tmp_path / run / "predictions" / name for run in ("near", "far"))
        assert near.read_bytes() == far.read_bytes()


def test_a_run_behind_a_url_holds_what_one_in_a_folder_holds_and_can_be_resumed(
    bucket: object, run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = ["evaluate", colour_compiled, "--images", photographs, "--shard-size", 5]
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
    colour_compiled: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", (0.01,))
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    url = "s3://bucket/runs/val?region=us-east-1"
    command = ["evaluate", colour_compiled, "--images", photographs, "--shard-size", 5, "-o", url]
    store.fails_writing, store.wanted = True, ".parquet"
    store.fail(403)
    done = run_assay(*command, env=environment)
    assert done.returncode == 4, done.stderr
    assert "ACCESS_DENIED" in done.stderr
    assert f"the results are kept in {tmp_path / 'cache'}" in done.stderr
    assert not [name for name in download(store.client) if "/predictions/" in name]
    store.recover()
    done = run_assay(*command, "--resume", env=environment)
    assert done.returncode == 0, done.stderr
    assert "nothing has changed since" in done.stderr
    assert len([name for name in download(store.client) if "/predictions/" in name]) == 3
    assert not list(tmp_path.rglob("*.unpublished"))


def test_a_url_that_cannot_be_written_to_is_refused_before_any_computing(
    store: FailingStore,
    run_assay: RunAssay,
    colour_compiled: Path,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", (0.01,))
    store.fails_writing = True
    store.fail(403)
    place = ["-o", "s3://bucket/run?region=us-east-1"]
    done = run_assay(
        "evaluate", colour_compiled, "--images", photographs, *place,
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "ACCESS_DENIED" in done.stderr
    assert "Evaluating" not in done.stderr


def test_shares_compiled_model_and_images_behind_urls_make_the_same_run(
    bucket: object, run_assay: RunAssay, colour_compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    command = ["evaluate", colour_compiled, "--images", photographs, "--shard-size", 5]
    assert run_assay(*command, "-o", tmp_path / "near").returncode == 0
    upload(bucket, colour_compiled, "model")
    upload(bucket, photographs, "val")
    model, images, url = (f"s3://bucket/{name}?region=us-east-1" for name in ("model", "val", "run"))
    command = ["evaluate", model, "--images", images, "--shard-size", 5, "-o", url]
    for number in (2, 1):  # each as on a machine of its own
        environment = {"XDG_CACHE_HOME": str(tmp_path / f"cache-{number}")}
        done = run_assay(*command, "--shard", f"{number}/2", env=environment)
        assert done.returncode == 0, done.stderr
    far = {name: content for name, content in download(bucket).items() if name.startswith("run/")}
    for name in ("metrics.json", *(f"predictions/part-0000{number}.parquet" for number in range(3))):
        assert far[f"run/{name}"] == (tmp_path / "near" / name).read_bytes()
    assert json.loads(far["run/manifest.json"])["status"] == "finished"
    assert not [name for name in far if ".claim" in name]
    bucket.delete_object(Bucket="bucket", Key="run/metrics.json")  # type: ignore[attr-defined]
    done = run_assay("merge", url, env={"XDG_CACHE_HOME": str(tmp_path / "cache-3")})
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) not in done.stdout
    assert download(bucket)["run/metrics.json"] == far["run/metrics.json"]


def test_a_second_machine_is_refused_and_a_killed_ones_claim_is_not_waited_for_long(
    bucket: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_LOOKS_S", 0.05), ("_RENEWS_S", 1.1), ("_ABANDONED_S", 4.0)):
        monkeypatch.setattr(remote_store, name, seconds)
    place = RunPlace(path=Path("s3://bucket/run?region=us-east-1"), mode="resume")
    with stage_run(place, tmp_path / "one") as staged:
        assert staged.path is not None
        (staged.path / "manifest.json").write_text("{}")
        with pytest.raises(UsageError, match="another process works"), stage_run(place, tmp_path / "two"):
            pass
    bucket.put_object(Bucket="bucket", Key="run/.claim-all-0123456789abcdef", Body=b"")  # type: ignore[attr-defined]
    with stage_run(place, tmp_path / "two"):
        pass
    assert download(bucket).keys() == {"run/manifest.json"}


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
    bucket: object, run_assay: RunAssay, colour_compiled: Path, photographs: Path
) -> None:
    upload(bucket, photographs, "val")
    before = download(bucket)
    command = ["evaluate", colour_compiled, "--images", photographs, "--overwrite"]
    done = run_assay(*command, "-o", "s3://bucket/val?region=us-east-1")
    assert done.returncode == 2, done.stderr
    assert "holds something that is no run of assay" in done.stderr
    assert download(bucket) == before


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../outside"])
def test_a_key_that_leads_out_of_the_run_is_never_written(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(RemoteStore, "list_files", lambda _store: ["manifest.json", name])
    monkeypatch.setattr(RemoteStore, "read", lambda _store, _name: b"{}")
    place = RunPlace(path=Path("s3://bucket/run?region=us-east-1"), mode="resume")
    with pytest.raises(UsageError, match="is no file of a run"), stage_run(place, tmp_path / "cache"):
        pass
    assert not list(tmp_path.rglob("outside"))


def test_a_url_with_credentials_is_refused_without_showing_them() -> None:
    with pytest.raises(UsageError, match="a URL with credentials") as caught:
        find_url(Path("s3://me:secret@bucket/val"))
    assert "secret" not in str(caught.value)
