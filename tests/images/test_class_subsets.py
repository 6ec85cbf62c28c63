"""ImageNet's relatives: known by their synsets, and the traps that their numbers and names are."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import BadImagesError, UsageError
from assay.images.class_subsets import check_subset_choice, list_synsets
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.label_files import LabelOptions
from assay.images.labels import read_synset_labels, read_synsets
from assay.images.sources import ImageIndex, index_images, require_labels
from assay.models.tables.read import read_class_subsets

IMAGENETTE = (
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
)


def make_folders(root: Path, names: list[str], image: str = "a.jpg") -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / image).write_bytes(b"x")
    return root


def name_subset(index: ImageIndex) -> str | None:
    require_labels(index)
    return str(index.subset) if index.subset else None


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("imagenette", "the 10 classes of Imagenette"),
        ("imagewoof", "the 10 classes of Imagewoof"),
        ("imagewang", "the 20 classes of Imagewang"),
        ("imagenet-a", "the 200 classes of ImageNet-A"),
        ("imagenet-r", "the 200 classes of ImageNet-R"),
        ("tiny-imagenet", "the 200 classes of Tiny-ImageNet"),
        ("imagenet-100-cmc", "the 100 classes of ImageNet-100 (CMC's list)"),
        ("mini-imagenet", "the 100 classes of mini-ImageNet"),
    ],
)
def test_a_relative_of_imagenet_is_recognised_by_its_synsets(tmp_path: Path, key: str, text: str) -> None:
    index = index_images(make_folders(tmp_path, list(list_synsets(key))), IMAGENET_CLASSES)
    assert name_subset(index) == text
    published = {row.imagenet1k_index for row in read_class_subsets() if row.subset == key}
    assert index.subset is not None
    assert set(index.subset.labels) == published


def test_the_synsets_of_imagenette_are_those_that_its_authors_list() -> None:
    assert list_synsets("imagenette") == IMAGENETTE


def test_other_classes_are_a_subset_only_where_it_is_asked_for(tmp_path: Path) -> None:
    root = make_folders(tmp_path, list(IMAGENETTE[:7]))
    assert name_subset(index_images(root, IMAGENET_CLASSES)) is None
    asked = index_images(root, IMAGENET_CLASSES, LabelOptions(subset="images"))
    assert name_subset(asked) == "the 7 classes of these images"
    wider = index_images(root, IMAGENET_CLASSES, LabelOptions(subset="imagenette"))
    assert name_subset(wider) == "the 10 classes of Imagenette"


def test_a_subset_may_be_declined(tmp_path: Path) -> None:
    root = make_folders(tmp_path, list(IMAGENETTE))
    assert name_subset(index_images(root, IMAGENET_CLASSES, LabelOptions(subset="none"))) is None


def test_a_subset_that_the_images_are_not_of_is_refused(tmp_path: Path) -> None:
    root = make_folders(tmp_path, [*IMAGENETTE, "n01443537"])
    with pytest.raises(BadImagesError, match="1 classes of the images are none of Imagenette's: 1 goldfish"):
        index_images(root, IMAGENET_CLASSES, LabelOptions(subset="imagenette"))
    with pytest.raises(UsageError, match=r"no known set of classes\n  did you mean imagenette"):
        check_subset_choice("imagenete")


def test_validation_images_by_name_are_a_sample_of_all_classes(tmp_path: Path) -> None:
    for number in range(1, 20):
        (tmp_path / f"ILSVRC2012_val_{number:08d}.JPEG").write_bytes(b"x")
    assert name_subset(index_images(tmp_path, IMAGENET_CLASSES)) is None


def test_a_model_of_the_relatives_own_classes_is_scored_among_these_alone(tmp_path: Path) -> None:
    root = make_folders(tmp_path, list(IMAGENETTE))
    index = index_images(root, Classes(count=10, synsets=tuple(reversed(IMAGENETTE))))
    assert name_subset(index) is None
    labels = {image.relative_path[:9]: image.label for image in index.images}
    assert labels == {synset: 9 - place for place, synset in enumerate(IMAGENETTE)}


def test_folders_numbered_as_imagenet_a_are_read_by_its_name(tmp_path: Path) -> None:
    root = make_folders(tmp_path, [str(number) for number in range(200)])
    index = index_images(root, IMAGENET_CLASSES, LabelOptions(subset="imagenet-a"))
    assert name_subset(index) == "the 200 classes of ImageNet-A"
    found = {image.relative_path.split("/")[0]: image.label for image in index.images}
    first, last = list_synsets("imagenet-a")[0], list_synsets("imagenet-a")[199]
    assert found["0"] == read_synset_labels()[first]
    assert found["199"] == read_synset_labels()[last]
    assert index.label_source == "the folders' numbers, as places in imagenet-a"


def test_numbers_of_tiny_imagenet_have_two_meanings_and_are_refused(tmp_path: Path) -> None:
    root = make_folders(tmp_path, [str(number) for number in range(200)])
    with pytest.raises(BadImagesError, match="whose published list is not sorted"):
        index_images(root, IMAGENET_CLASSES, LabelOptions(subset="tiny-imagenet"))


def test_objectnet_is_refused_since_its_classes_are_several_of_imagenets(tmp_path: Path) -> None:
    rows = [row for row in read_class_subsets() if row.subset == "objectnet-113"]
    names = {row.name.partition(" -> ")[0].lower().replace(" ", "_").replace("/", "_") for row in rows}
    index = index_images(make_folders(tmp_path, sorted(names)), IMAGENET_CLASSES)
    with pytest.raises(BadImagesError, match="ObjectNet's: nine of its classes are two or three"):
        require_labels(index)


def test_training_images_in_a_validation_folder_are_noted(tmp_path: Path) -> None:
    """Imagenette v2's val folder, whose images networks of ImageNet were trained on."""
    root = make_folders(tmp_path, list(IMAGENETTE), image="n01440764_10026.JPEG")
    index = index_images(root, IMAGENET_CLASSES)
    assert any("10 of 10 images have names of ImageNet's training images" in note for note in index.notes)


def test_all_1000_synsets_are_no_subset(tmp_path: Path) -> None:
    """ImageNet-Sketch, for one."""
    assert name_subset(index_images(make_folders(tmp_path, list(read_synsets())), IMAGENET_CLASSES)) is None
