"""Classes of a user's own: what folders, columns and samples call them becomes the model's labels."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import pyarrow
import pyarrow.parquet as pq
import pytest

from assay.errors import BadImagesError
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.label_files import LabelOptions
from assay.images.sources import ImageIndex, index_images, require_labels

UNNAMED = Classes(count=3)
PETS = Classes(count=3, names=("dog", "tabby cat", "bird"))
SORTED = LabelOptions(classes="sorted")


def make_folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "a.jpg").write_bytes(b"x")
    return root


def list_labels(index: ImageIndex) -> dict[str, int | None]:
    require_labels(index)
    return {image.relative_path: image.label for image in index.images}


def write_zip(root: Path, place: Path) -> Path:
    with zipfile.ZipFile(place / "data.zip", "w") as archive:
        for file in sorted(root.rglob("*.jpg")):
            archive.write(file, f"data/{file.relative_to(root)}")
    return place / "data.zip"


def write_tar(root: Path, place: Path) -> Path:
    with tarfile.open(place / "data.tar", "w") as archive:
        archive.add(root, "data")
    return place / "data.tar"


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "url"])
def test_folders_named_by_the_models_classes_are_labels_in_every_form(tmp_path: Path, form: str) -> None:
    root = make_folders(tmp_path / "in", "bird", "dog", "Tabby_Cat")
    path = {
        "folder": lambda: root,
        "url": lambda: Path(f"file://{root}"),
        "zip": lambda: write_zip(root, tmp_path),
        "tar": lambda: write_tar(root, tmp_path),
    }[form]()
    index = index_images(path, PETS)
    found = {name.split("/")[-2]: label for name, label in list_labels(index).items()}
    assert found == {"bird": 2, "dog": 0, "Tabby_Cat": 1}
    assert (index.label_kind, index.label_source) == ("classes", "the folders' names")


def test_one_folder_of_the_models_classes_is_enough(tmp_path: Path) -> None:
    assert list_labels(index_images(make_folders(tmp_path, "bird"), PETS)) == {"bird/a.jpg": 2}


def test_a_folder_that_is_no_class_of_the_model_is_refused_with_the_nearest(tmp_path: Path) -> None:
    index = index_images(make_folders(tmp_path, "brid", "dog"), PETS)
    with pytest.raises(
        BadImagesError, match=r"1 of 2 are no classes of the model: 'brid' \(did you mean bird\?\)"
    ):
        require_labels(index)


def test_folders_of_a_model_without_names_are_refused_with_the_option_and_the_order(tmp_path: Path) -> None:
    index = index_images(make_folders(tmp_path, "cat", "dog", "bird"), UNNAMED)
    with pytest.raises(BadImagesError, match=r"--classes sorted, .*order: 0 bird, 1 cat, 2 dog; else"):
        require_labels(index)


def test_too_few_folders_are_refused_without_an_order(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match="2 classes, the model has 3"):
        index_images(make_folders(tmp_path, "cat", "dog"), UNNAMED, SORTED)


def test_sorted_folders_number_the_classes_and_name_them(tmp_path: Path) -> None:
    index = index_images(make_folders(tmp_path, "cat", "dog", "bird"), UNNAMED, SORTED)
    assert list_labels(index) == {"bird/a.jpg": 0, "cat/a.jpg": 1, "dog/a.jpg": 2}
    assert index.classes.names == ("bird", "cat", "dog")
    assert index.label_source == "the folders' names, numbered in their sorted order"


def test_an_order_that_contradicts_the_models_own_names_is_refused(tmp_path: Path) -> None:
    """The folders of the 1000 names of ImageNet, sorted, are not its classes in order."""
    root = make_folders(tmp_path, "bird", "dog", "tabby cat")
    with pytest.raises(BadImagesError, match="bird is class 0 there, and class 2 of the model"):
        index_images(root, PETS, SORTED)


@pytest.mark.parametrize("given", [True, False])
def test_a_class_file_numbers_the_folders_given_or_beside_the_images(tmp_path: Path, *, given: bool) -> None:
    root = make_folders(tmp_path / "in", "cat", "dog", "bird")
    path = tmp_path / "names.txt" if given else root / "classes.txt"
    path.write_text("dog\ncat\nbird\n")
    index = index_images(root, UNNAMED, LabelOptions(classes=path if given else None))
    assert list_labels(index) == {"bird/a.jpg": 2, "cat/a.jpg": 1, "dog/a.jpg": 0}
    assert index.label_source == f"the folders' names, numbered by {path.name}"


def test_label_files_of_names_are_numbered_in_sorted_order_too(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        (tmp_path / name).write_bytes(b"x")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,class\n1.jpg,dog\n2.jpg,golden eagle\n3.jpg,cat\n")
    index = index_images(tmp_path, UNNAMED, LabelOptions(path=labels, classes="sorted"))
    assert list_labels(index) == {"1.jpg": 1, "2.jpg": 2, "3.jpg": 0}


def test_numbers_are_indices_unless_they_are_names_of_the_models_classes(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "0", "1", "2")
    assert list(list_labels(index_images(root, UNNAMED)).values()) == [0, 1, 2]
    named = index_images(root, Classes(count=3, names=("2", "1", "0")))
    assert list(list_labels(named).values()) == [2, 1, 0]


def test_numbers_that_torchvision_sorts_as_text_are_noted(tmp_path: Path) -> None:
    root = make_folders(tmp_path, *map(str, range(12)))
    index = index_images(root, Classes(count=12))
    assert list_labels(index)["11/a.jpg"] == 11
    assert any("sort them as text" in note for note in index.notes)


@pytest.mark.parametrize("kind", ["folders", "parquet", "webdataset"])
def test_the_200_numbers_of_imagenet_a_are_refused_for_a_model_of_imagenet(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data"
    if kind == "folders":
        make_folders(path, *map(str, range(200)))
    elif kind == "parquet":
        path = write_parquet(tmp_path, list(range(200)))
    else:
        path = write_samples(tmp_path, {f"{n}.cls": str(n) for n in range(200)})
    with pytest.raises(BadImagesError, match="numbers 0 to 199, all of them"):
        index_images(path, IMAGENET_CLASSES)


def test_the_1000_numbers_of_imagenetv2_are_indices_never_sorted_as_text(tmp_path: Path) -> None:
    index = index_images(make_folders(tmp_path, *map(str, range(1000))), IMAGENET_CLASSES)
    assert all(path == f"{label}/a.jpg" for path, label in list_labels(index).items())


@pytest.mark.parametrize("tail", ["", "_tench", "-tench", " tench, Tinca tinca"])
def test_a_name_behind_the_synset_of_a_folder_or_image_does_not_matter(tmp_path: Path, tail: str) -> None:
    make_folders(tmp_path / "folders", f"n01440764{tail}", "n01443537")
    assert set(list_labels(index_images(tmp_path / "folders", IMAGENET_CLASSES)).values()) == {0, 1}
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / f"n01440764{tail}.JPEG").write_bytes(b"x")
    index = index_images(tmp_path / "flat", IMAGENET_CLASSES)
    assert list(list_labels(index).values()) == [0]
    assert index.label_source == "the synsets in the images' names"


def test_synset_folders_are_labels_of_a_model_whose_synsets_are_known(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "n01440764", "n02102040")
    springer_and_tench = Classes(count=2, synsets=("n02102040", "n01440764"))
    assert list(list_labels(index_images(root, springer_and_tench)).values()) == [1, 0]
    with pytest.raises(BadImagesError, match="the synsets of the 2 classes of the model are not known"):
        require_labels(index_images(root, Classes(count=2, names=("a", "b"))))


def test_tiny_imagenets_folders_are_read_as_it_has_them(tmp_path: Path) -> None:
    make_folders(tmp_path / "train", "n01443537/images", "n02124075/images")
    tiny = Classes(count=2, synsets=("n02124075", "n01443537"))
    assert list(list_labels(index_images(tmp_path / "train", tiny)).values()) == [1, 0]
    make_folders(tmp_path / "val", "images")
    (tmp_path / "val" / "val_annotations.txt").write_text("a.jpg\tn01443537\t0\t32\t44\t62\n")
    assert list(list_labels(index_images(tmp_path / "val", tiny)).values()) == [1]


def write_parquet(place: Path, labels: list[int] | list[str], names: list[str] | None = None) -> Path:
    images = [{"bytes": b"x", "path": f"{number}.jpg"} for number in range(len(labels))]
    table = pyarrow.table({"image": images, "label": labels})
    if names:
        info = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, place / "data.parquet")
    return place / "data.parquet"


def write_samples(place: Path, members: dict[str, str]) -> Path:
    with tarfile.open(place / "data.tar", "w") as archive:
        for name, content in members.items():
            for member, text in ((f"{name.split('.')[0]}.jpg", "x"), (name, content)):
                described = tarfile.TarInfo(member)
                described.size = len(text.encode())
                archive.addfile(described, io.BytesIO(text.encode()))
    return place / "data.tar"


def test_a_parquet_column_of_names_is_labels(tmp_path: Path) -> None:
    index = index_images(write_parquet(tmp_path, ["bird", "dog"]), PETS)
    assert list(list_labels(index).values()) == [2, 0]


def test_numbers_that_the_parquet_file_names_are_labels_by_name(tmp_path: Path) -> None:
    """Imagenette as Hugging Face has it: 0 to 9, named by synset."""
    path = write_parquet(tmp_path, [1, 0], ["n01440764", "n02102040"])
    assert list(list_labels(index_images(path, IMAGENET_CLASSES)).values()) == [217, 0]


def test_numbers_whose_names_are_no_classes_of_the_model_are_refused(tmp_path: Path) -> None:
    index = index_images(write_parquet(tmp_path, [1, 0], ["airplane", "automobile"]), PETS)
    with pytest.raises(BadImagesError, match="2 of 2 are no classes of the model: 'airplane'"):
        require_labels(index)


def test_numbers_with_as_many_names_as_the_model_has_classes_name_these(tmp_path: Path) -> None:
    index = index_images(write_parquet(tmp_path, [2, 0], ["dog", "cat", "bird"]), UNNAMED)
    assert list(list_labels(index).values()) == [2, 0]
    assert index.classes.names == ("dog", "cat", "bird")


@pytest.mark.parametrize(
    ("suffix", "contents"),
    [
        ("cls", ("bird", "tabby cat\n")),
        ("json", ('{"label": "bird", "width": 3}', '{"label": "tabby cat"}')),
        ("json", ('{"label": 2}', '{"label": 1}')),
    ],
)
def test_samples_of_webdataset_may_name_their_classes(
    tmp_path: Path, suffix: Literal["cls", "json"], contents: tuple[str, str]
) -> None:
    path = write_samples(tmp_path, {f"{n}.{suffix}": text for n, text in enumerate(contents)})
    index = index_images(path, PETS)
    assert list(list_labels(index).values()) == [2, 1]
    assert index.label_source == f"the samples' .{suffix} files"


def test_images_that_need_no_labels_are_indexed_whatever_their_folders_are_called(tmp_path: Path) -> None:
    """Those that a model is calibrated on, say."""
    index = index_images(make_folders(tmp_path, "part one", "part two"), PETS)
    assert [image.label for image in index.images] == [None, None]


def test_validation_images_in_folders_of_any_name_keep_their_published_labels(tmp_path: Path) -> None:
    for folder, number in (("first", 1), ("second", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(b"x")
    index = index_images(tmp_path, IMAGENET_CLASSES)
    assert sorted(label for label in list_labels(index).values() if label is not None) == [65, 970]


def test_an_offset_and_an_order_are_refused_where_nothing_reads_them(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "in", "dog", "bird")
    with pytest.raises(BadImagesError, match="names have no offset"):
        index_images(root, PETS, LabelOptions(offset=1))
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(b"x")
    with pytest.raises(BadImagesError, match="no names of classes to sort"):
        index_images(tmp_path / "flat", UNNAMED, SORTED)
