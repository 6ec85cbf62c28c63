"""Every form of data set whose files are cut short, replaced or gone after they were listed."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assay.errors import SourceError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.forms import local_file
from assay.images.listing import LabelledImage
from assay.images.read import NO_PATIENCE, read_image
from assay.images.sources import index_images
from data_set_forms import FORMS, UNLABELLED_FORMS, Encoded, write_tar_members

EVERY_FORM = {**FORMS, **UNLABELLED_FORMS}
IMAGES = {
    f"ILSVRC2012_val_{number:08d}.JPEG": Encoded(content=os.urandom(700 + number), label=label, synset=synset)
    for number, label, synset in zip(
        range(1, 7),
        (65, 970, 230, 809, 516, 57),
        ("n01751748", "n09193705", "n02105855", "n04263257", "n03125729", "n01735189"),
        strict=True,
    )
}
KEEP_OPEN = {"zip", "tar.gz"}
"""Forms that hold their file open: what is put in its place is not read."""


def list_data_files(path: Path) -> list[Path]:
    """The files that hold image bytes."""
    places = [path, path.with_suffix(".images")]
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return [file for file in files if file.is_file() and file.suffix != ".csv" and file.stat().st_size > 600]


def cut_short(file: Path) -> None:
    with file.open("rb+") as opened:
        opened.truncate(file.stat().st_size // 2)


def write_over(file: Path) -> None:
    """Put other bytes of the same length into the same file."""
    size = file.stat().st_size
    with file.open("rb+") as opened:
        opened.write(os.urandom(size))
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 10_000_000))


def replace(file: Path) -> None:
    """Put another file of the same length in its place."""
    other = file.with_name("other")
    other.write_bytes(os.urandom(file.stat().st_size))
    os.utime(other, ns=(0, file.stat().st_mtime_ns + 10_000_000))
    other.replace(file)


def read_each(images: Sequence[LabelledImage]) -> list[bytes | str]:
    """What each image gives: its bytes, or what the source's failure says."""
    found: list[bytes | str] = []
    for image in images:
        try:
            found.append(read_image(image, patience=NO_PATIENCE))
        except SourceError as error:
            found.append(error.message)
    return found


@pytest.mark.parametrize("harm", [cut_short, write_over, replace, Path.unlink])
@pytest.mark.parametrize("form", EVERY_FORM)
def test_what_changed_since_it_was_listed_is_never_taken_for_the_image(
    form: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    images = index_images(path, IMAGENET_CLASSES).images
    assert read_each(images[:1]) == [IMAGES[images[0].name].content]
    for file in list_data_files(path):
        harm(file)
    whole = [IMAGES[image.name].content for image in images]
    found = read_each(images)
    if form in KEEP_OPEN and harm in (replace, Path.unlink):
        assert found == whole
    elif form == "Parquet":  # a row group is read at once: of what was read before, nothing changed
        assert {outcome for outcome, content in zip(found, whole, strict=True) if outcome != content}
        assert all(isinstance(outcome, str) or outcome in whole for outcome in found)
    else:
        assert all(isinstance(outcome, str) for outcome in found)


@pytest.mark.parametrize("harm", [write_over, replace])
@pytest.mark.parametrize("form", EVERY_FORM)
def test_another_process_of_this_machine_does_not_read_what_was_written_since(
    form: str, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    sent = pickle.dumps(index_images(path, IMAGENET_CLASSES).images)
    for file in list_data_files(path):
        harm(file)
    assert all("changed since it was listed" in str(outcome) for outcome in read_each(pickle.loads(sent)))


@pytest.mark.parametrize("form", sorted(EVERY_FORM.keys() - KEEP_OPEN - {"Parquet"}))
def test_another_machine_may_read_a_copy_that_was_written_at_another_time(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    sent = pickle.dumps(index_images(path, IMAGENET_CLASSES).images)
    monkeypatch.setattr(local_file, "name_machine", lambda: "another")
    images = pickle.loads(sent)
    for file in list_data_files(path):
        os.utime(file, ns=(0, 0))
    assert read_each(images) == [IMAGES[image.name].content for image in images]
    for file in list_data_files(path):
        cut_short(file)
    assert all(isinstance(outcome, str) for outcome in read_each(images))


@pytest.mark.parametrize("form", sorted(EVERY_FORM.keys() - {"zip", "tar.gz", "Parquet"}))
def test_a_device_that_fails_is_no_fault_of_the_image(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    images = index_images(path, IMAGENET_CLASSES).images

    def open_double(*_arguments: object, **_options: object) -> None:
        """A double of a device that cannot be read."""
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_double)
        assert all("Input/output error" in str(outcome) for outcome in read_each(images))
    assert read_each(images) == [IMAGES[image.name].content for image in images]


def test_a_list_of_paths_to_a_file_that_is_not_there_is_a_fault_of_the_list(tmp_path: Path) -> None:
    EVERY_FORM["list of paths"](tmp_path / "data", IMAGES)
    shutil.rmtree(next((tmp_path / "data.images").iterdir()))
    faults = [image.fault for image in index_images(tmp_path / "data", IMAGENET_CLASSES).images]
    assert sorted(faults) == ["", "", "", "", "", "unreadable: No such file or directory"]


def test_a_webdataset_whose_archive_fails_while_its_classes_are_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())
    write_tar_members(tmp_path / "0.tar", {"a.jpg": b"x", "a.cls": b"7"})

    def pread_double(*_arguments: object) -> bytes:
        """A double of a network drive that has gone away."""
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "pread", pread_double)
    with pytest.raises(SourceError, match=r"a\.cls: its source failed: Stale file handle"):
        index_images(tmp_path / "0.tar", IMAGENET_CLASSES)
