"""The index file: what it holds is what was listed, and it is believed only while nothing changed."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import BadImagesError, UsageError
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.forms import scan
from assay.images.label_files import LabelOptions
from assay.images.listing import LabelledImage
from assay.images.request import ImageRequest, StoredPlace, index_requested_images, store_index
from assay.images.rows import STRETCH
from assay.images.sources import ImageIndex
from assay.images.stored_index import StoredImages
from assay.images.table import make_table
from assay.workflows.write_index import write_image_index

FILES = ("n01440764/b.JPEG", "n01440764/a.JPEG", "n15075141/a.JPEG", "n15075141/\udcff.JPEG")
ROWS = [
    ("n01440764/a.JPEG", 0),
    ("n15075141/a.JPEG", 999),
    ("n01440764/b.JPEG", 0),
    ("n15075141/\udcff.JPEG", 999),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Class folders that were written to long ago: what is seconds old may be written to again unseen."""
    for name in FILES:
        file = tmp_path / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(name))
    settle(tmp_path / "images")
    return tmp_path / "images"


def settle(folder: Path) -> None:
    for each in (folder, *folder.iterdir()):
        os.utime(each, (1e9, 1e9))


def store(folder: Path) -> ImageIndex:
    request = ImageRequest(path=folder)
    index = index_requested_images(request, IMAGENET_CLASSES)
    return store_index(folder.parent / "images.arrow", index, request, IMAGENET_CLASSES)


def find_again(folder: Path, *, is_shared: bool = False) -> ImageIndex | None:
    place = StoredPlace(path=folder.parent / "images.arrow", is_shared=is_shared)
    return place.find(ImageRequest(path=folder), IMAGENET_CLASSES)


def test_a_stored_index_holds_the_images_in_order_with_labels_and_contents(folder: Path) -> None:
    store(folder)
    index = find_again(folder)
    assert index is not None
    assert isinstance(index.images, StoredImages)
    assert [(image.relative_path, image.label) for image in index.images] == ROWS
    assert [image.read_bytes() for image in index.images] == [os.fsencode(path) for path, _ in ROWS]
    assert [image.relative_path for image in index.images[1:3]] == [path for path, _ in ROWS[1:3]]
    sent = pickle.loads(pickle.dumps(index.images[1:3]))
    assert [(image.relative_path, image.read_bytes()) for image in sent] == [
        (path, os.fsencode(path)) for path, _ in ROWS[1:3]
    ]


def add_file(folder: Path) -> None:
    (folder / "n01440764" / "c.JPEG").write_bytes(b"c")


def remove_file(folder: Path) -> None:
    (folder / "n01440764" / "b.JPEG").unlink()


def rename_file(folder: Path) -> None:
    (folder / "n01440764" / "b.JPEG").rename(folder / "n01440764" / "z.JPEG")


def add_class(folder: Path) -> None:
    (folder / "n01443537").mkdir()


def write_other_bytes(folder: Path) -> None:
    (folder / "n01440764" / "b.JPEG").write_bytes(b"x" * len("n01440764/b.JPEG"))


@pytest.mark.parametrize(
    ("change", "folders_tell"),
    [
        (add_file, True),
        (remove_file, True),
        (rename_file, True),
        (add_class, True),
        (write_other_bytes, False),
    ],
)
def test_an_index_is_not_used_again_after_a_change(
    change: Callable[[Path], None], folders_tell: bool, folder: Path
) -> None:
    store(folder)
    change(folder)
    assert find_again(folder) is None
    assert (find_again(folder, is_shared=True) is None) == folders_tell


def test_what_was_written_to_a_moment_ago_is_listed_again(folder: Path) -> None:
    add_file(folder)
    store(folder)
    assert find_again(folder) is None


def write_tar(path: Path, synset: str, names: Sequence[str]) -> None:
    with tarfile.open(path, "w") as archive:
        for name in names:
            member = tarfile.TarInfo(f"{synset}/{name}")
            content = f"{path.name} {name}".encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """Two tar archives in a folder that was written to long ago."""
    (tmp_path / "images").mkdir()
    write_tar(tmp_path / "images" / "1.tar", "n15075141", ["b.JPEG", "a.JPEG"])
    write_tar(tmp_path / "images" / "0.tar", "n01440764", ["c.JPEG"])
    settle(tmp_path / "images")
    return tmp_path / "images"


def name_archives(kind: str, folder: Path) -> Path:
    return {"folder": folder, "archive": folder / "1.tar", "URL": Path(f"file://{folder}")}[kind]


@pytest.mark.parametrize("kind", ["folder", "archive", "URL"])
def test_an_index_of_tar_archives_reads_their_members_in_place(kind: str, archives: Path) -> None:
    request = ImageRequest(path=name_archives(kind, archives))
    listed = index_requested_images(request, IMAGENET_CLASSES)
    place = StoredPlace(path=archives.parent / "images.arrow")
    store_index(place.path, listed, request, IMAGENET_CLASSES)
    found = place.find(request, IMAGENET_CLASSES)
    assert found is not None
    assert dataclasses.replace(found, images=()) == dataclasses.replace(listed, images=())
    rows = [
        [(image.relative_path, image.label, image.size_bytes, image.read_bytes()) for image in index.images]
        for index in (listed, found)
    ]
    assert rows[0] == rows[1]
    assert ("1.tar a.JPEG" in {content.decode() for *_, content in rows[1]}, len(rows[1])) == (
        True,
        2 if kind == "archive" else 3,
    )
    sent = pickle.loads(pickle.dumps(found.images[:1]))
    assert sent[0].read_bytes() == rows[0][0][-1]


def write_archive_anew(folder: Path) -> None:
    write_tar(folder / "1.tar", "n15075141", ["b.JPEG", "x.JPEG"])


def add_archive(folder: Path) -> None:
    write_tar(folder / "2.tar", "n15075141", ["d.JPEG"])


def add_image_beside(folder: Path) -> None:
    (folder / "d.JPEG").write_bytes(b"d")


@pytest.mark.parametrize("kind", ["folder", "archive", "URL"])
@pytest.mark.parametrize("change", [write_archive_anew, add_archive, add_image_beside])
def test_an_index_of_tar_archives_is_not_used_again_after_a_change(
    change: Callable[[Path], None], kind: str, archives: Path
) -> None:
    request = ImageRequest(path=name_archives(kind, archives))
    place = StoredPlace(path=archives.parent / "images.arrow")
    store_index(place.path, index_requested_images(request, IMAGENET_CLASSES), request, IMAGENET_CLASSES)
    change(archives)
    is_of_this_one = change is write_archive_anew or kind != "archive"
    assert (place.find(request, IMAGENET_CLASSES) is None) == is_of_this_one


@pytest.mark.parametrize("sorted_at_once", [1, 3, 2**16])
def test_images_stand_in_byte_order_of_names_however_many_the_scan_sorts_at_once(
    tmp_path: Path, sorted_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_SORTED_AT_ONCE", sorted_at_once)
    names = [f"n01440764/{name}.JPEG" for name in ("e", "a", "d", "Z", "b", "c")]
    for name in [*names, "n01440764/aa.JPEG", "n15075141/ab.JPEG", "n15075141/0.JPEG"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name.endswith("/aa.JPEG") else os.fsencode(name))
    found = index_requested_images(ImageRequest(path=tmp_path), IMAGENET_CLASSES).images
    assert [image.name[:-5] for image in found] == ["0", "Z", "a", "aa", "ab", "b", "c", "d", "e"]
    assert [image.name for image in found if image.fault] == ["aa.JPEG"]  # empty
    assert all(image.read_bytes() == os.fsencode(image.relative_path) for image in found if not image.fault)


def test_an_index_of_another_request_is_not_used(folder: Path) -> None:
    store(folder)
    place = StoredPlace(path=folder.parent / "images.arrow")
    labels = folder.parent / "labels.txt"
    labels.write_text("a.JPEG 3\n")
    for other in (
        ImageRequest(path=folder, limit=2),
        ImageRequest(path=folder, labels=LabelOptions(path=labels)),
    ):
        assert place.find(other, IMAGENET_CLASSES) is None
    assert place.find(ImageRequest(path=folder), Classes(count=5)) is None


def test_a_damaged_index_is_not_used(folder: Path) -> None:
    store(folder)
    file = folder.parent / "images.arrow"
    file.write_bytes(file.read_bytes()[:-100])
    assert find_again(folder) is None


def test_an_index_file_stands_for_the_images(folder: Path) -> None:
    file = folder.parent / "val.arrow"
    write_image_index(ImageRequest(path=folder), IMAGENET_CLASSES, file)
    index = index_requested_images(ImageRequest(path=file, limit=2), IMAGENET_CLASSES)
    assert (index.path, len(index.images), index.limited_from) == (folder, 2, 4)
    with pytest.raises(BadImagesError, match="classes of another model"):
        index_requested_images(ImageRequest(path=file), Classes(count=5))
    with pytest.raises(UsageError, match="have their labels"):
        index_requested_images(ImageRequest(path=file, labels=LabelOptions(offset=1)), IMAGENET_CLASSES)
    write_other_bytes(folder)
    with pytest.raises(BadImagesError, match="changed since"):
        index_requested_images(ImageRequest(path=file), IMAGENET_CLASSES)


def test_an_index_replaces_no_other_file(folder: Path) -> None:
    with pytest.raises(UsageError, match="no index"):
        write_image_index(ImageRequest(path=folder), IMAGENET_CLASSES, folder / "n01440764" / "a.JPEG")


@given(
    st.lists(st.tuples(st.sampled_from(["", "a/", "a.b/", "a/b/"]), st.text("ab.é", min_size=1, max_size=3)))
)
def test_a_table_sorts_as_python_sorts_bytes(places: list[tuple[str, str]]) -> None:
    images = [
        LabelledImage(relative_path=folder + name, label=None, size_bytes=1, read_bytes=bytes)
        for folder, name in places
    ]
    expected = sorted(images, key=lambda image: (image.name.encode(), image.relative_path.encode()))
    found = [image.relative_path for image in make_table(images).sort()]
    assert found == [image.relative_path for image in expected]


def test_more_images_than_one_stretch_are_read_across_its_end() -> None:
    images = [
        LabelledImage(relative_path=f"{number:06d}", label=number, size_bytes=1, read_bytes=bytes)
        for number in range(STRETCH + 2)
    ]
    found = make_table(images).sort()[STRETCH - 1 : STRETCH + 1]
    assert [image.label for image in found] == [STRETCH - 1, STRETCH]
