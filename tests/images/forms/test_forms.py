"""The same images in every form: identical names, labels and bytes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from assay.errors import BadImagesError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions
from assay.images.labels import read_synsets
from assay.images.listing import LabelledImage
from assay.images.members import Member
from assay.images.sources import index_images
from data_set_forms import FORMS, UNLABELLED_FORMS, Encoded

EVERY_FORM = {**FORMS, **UNLABELLED_FORMS}
# Names of the canonical list with their published labels
IMAGES = {
    f"ILSVRC2012_val_{number:08d}.JPEG": Encoded(
        content=bytes([number]) * (700 + number), label=label, synset=read_synsets()[label]
    )
    for number, label in zip(range(1, 7), (65, 970, 230, 809, 516, 57), strict=True)
}


@pytest.mark.parametrize("form", EVERY_FORM)
def test_every_form_holds_the_same_images(form: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    index = index_images(path, IMAGENET_CLASSES)
    found = {image.name: (image.label, image.read_bytes(), image.fault) for image in index.images}
    assert found == {name: (image.label, image.content, "") for name, image in IMAGES.items()}
    assert len({image.relative_path for image in index.images}) == len(IMAGES)


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "Parquet"])
def test_another_process_opens_an_archive_once_and_reads_the_same_bytes(form: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    images = index_images(path, IMAGENET_CLASSES).images
    first, second, first_again = (
        pickle.loads(pickle.dumps(part)) for part in (images[:3], images[3:], images[:1])
    )
    found = {image.name: (image.label, image.read_bytes()) for image in [*first, *second]}
    assert found == {name: (image.label, image.content) for name, image in IMAGES.items()}
    is_kept_open = form != "tar"
    assert (_find_reader(first_again[0]) is _find_reader(first[0])) == is_kept_open


def _find_reader(image: LabelledImage) -> object:
    """What a form that must be opened reads all of its images with."""
    read = image.read_bytes
    if isinstance(read, Member):
        return read.archive
    return read.func.__self__  # type: ignore[attr-defined]  # a partial of a bound method


@pytest.mark.parametrize("form", sorted(EVERY_FORM.keys() - {"tar.gz", "Parquet"}))
def test_images_are_in_byte_order_of_the_names(form: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    assert [image.name for image in index_images(path, IMAGENET_CLASSES).images] == sorted(IMAGES)


@pytest.mark.parametrize("form", ["tar.gz", "Parquet"])
def test_forms_without_fast_random_access_are_in_stored_order(form: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    assert [image.name for image in index_images(path, IMAGENET_CLASSES).images] == sorted(
        IMAGES, reverse=True
    )


@pytest.mark.parametrize("form", EVERY_FORM)
def test_a_label_file_takes_precedence_over_the_forms_own_labels(form: str, tmp_path: Path) -> None:
    path = tmp_path / "data"
    EVERY_FORM[form](path, IMAGES)
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{name} {number}\n" for number, name in enumerate(IMAGES)))
    index = index_images(path, IMAGENET_CLASSES, LabelOptions(path=labels, trusted=True))
    assert {image.name: image.label for image in index.images} == {n: k for k, n in enumerate(IMAGES)}
    assert "6 of 6 labels are not the published ones" in index.notes


@pytest.mark.parametrize("form", ["number folders", "WebDataset", "Parquet"])
def test_numbers_of_another_class_order_are_refused(form: str, tmp_path: Path) -> None:
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 121)]
    images = {
        name: Encoded(content=b"x", label=number * 7 % 1000, synset="") for number, name in enumerate(names)
    }
    FORMS[form](tmp_path / "data", images)
    with pytest.raises(BadImagesError, match="another class order"):
        index_images(tmp_path / "data", IMAGENET_CLASSES)
    index = index_images(tmp_path / "data", IMAGENET_CLASSES, LabelOptions(trusted=True))
    assert {image.name: image.label for image in index.images} == {n: i.label for n, i in images.items()}


@pytest.mark.parametrize("form", ["number folders", "WebDataset", "Parquet"])
def test_numbers_from_1_are_read_with_an_offset_alone(form: str, tmp_path: Path) -> None:
    images = {f"{k}.jpg": Encoded(content=b"x", label=k, synset="") for k in (1, 7, 1000)}
    FORMS[form](tmp_path / "data", images)
    with pytest.raises(BadImagesError, match=r"labels from 1 to 1000, expected 0 to 999\n  --label-offset 1"):
        index_images(tmp_path / "data", IMAGENET_CLASSES)
    index = index_images(tmp_path / "data", IMAGENET_CLASSES, LabelOptions(offset=1))
    assert {image.name: image.label for image in index.images} == {"1.jpg": 0, "7.jpg": 6, "1000.jpg": 999}


def test_the_annotations_label_kaggles_images_where_the_csv_is_missing(tmp_path: Path) -> None:
    FORMS["Kaggle"](tmp_path / "data", {"a.JPEG": Encoded(content=b"x", label=278, synset="n02119789")})
    (tmp_path / "data" / "LOC_val_solution.csv").unlink()
    annotations = tmp_path / "data" / "ILSVRC" / "Annotations" / "CLS-LOC" / "val"
    annotations.mkdir(parents=True)
    (annotations / "a.xml").write_text(
        "<annotation><object><name>n02119789</name></object><object><name>n01440764</name></object></annotation>"
    )
    index = index_images(tmp_path / "data", IMAGENET_CLASSES)
    assert [image.label for image in index.images] == [278]
    assert index.label_kind == "synsets"
    with pytest.raises(BadImagesError, match="synsets have no offset"):
        index_images(tmp_path / "data", IMAGENET_CLASSES, LabelOptions(offset=1))


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("synset folders", "synsets"),
        ("number folders", "numbers"),
        ("WebDataset", "numbers"),
        ("Parquet", "numbers"),
        ("Kaggle", "file"),
        ("flat folder", "names"),
    ],
)
def test_where_the_labels_come_from_is_a_value_too(form: str, kind: str, tmp_path: Path) -> None:
    EVERY_FORM[form](tmp_path / "data", IMAGES)
    assert index_images(tmp_path / "data", IMAGENET_CLASSES).label_kind == kind


def test_synset_folders_take_no_offset(tmp_path: Path) -> None:
    FORMS["synset folders"](tmp_path / "data", IMAGES)
    with pytest.raises(BadImagesError, match="the folders' synsets: synsets have no offset"):
        index_images(tmp_path / "data", IMAGENET_CLASSES, LabelOptions(offset=1))


def test_numbers_are_classes_by_value_never_by_place(tmp_path: Path) -> None:
    # sorted as text the folders are 0, 1, 10, 2: torchvision's ImageFolder labels them by that place
    images = {f"{k}.jpg": Encoded(content=b"x", label=k, synset="") for k in (0, 1, 2, 10)}
    FORMS["number folders"](tmp_path / "data", images)
    index = index_images(tmp_path / "data", IMAGENET_CLASSES)
    assert {image.relative_path: image.label for image in index.images} == {
        "0/0.jpg": 0,
        "1/1.jpg": 1,
        "2/2.jpg": 2,
        "10/10.jpg": 10,
    }
