from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from assay.errors import BadImagesError
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.label_files import LabelOptions
from assay.images.prepare import preprocess_image
from assay.images.sources import index_images, require_labels
from assay.models.record import ModelRecord


def make_files(folder: Path, *relative_paths: str) -> None:
    """Make files whose contents are their path, in an order that is not the sorted one."""
    for relative_path in random.Random(3).sample(relative_paths, len(relative_paths)):
        file = folder / relative_path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(relative_path.encode())


def list_labels(folder: Path, label_file: Path | None = None) -> dict[str, int | None]:
    index = index_images(folder, IMAGENET_CLASSES, LabelOptions(path=label_file))
    return {image.relative_path: image.label for image in index.images}


def test_a_flat_folder_is_in_byte_order_of_the_names(tmp_path: Path) -> None:
    make_files(tmp_path, "b.JPEG", "B.jpeg", "a10.png", "a9.png", "é.jpg", "z.JPG", "~.webp")
    names = [image.name for image in index_images(tmp_path, IMAGENET_CLASSES).images]
    assert names == ["B.jpeg", "a10.png", "a9.png", "b.JPEG", "z.JPG", "~.webp", "é.jpg"]


def test_an_image_says_what_and_where_it_is(tmp_path: Path) -> None:
    make_files(tmp_path, "n01440764/ILSVRC2012_val_00000293.JPEG")
    (image,) = index_images(tmp_path, IMAGENET_CLASSES).images
    assert image.name == "ILSVRC2012_val_00000293.JPEG"
    assert image.relative_path == "n01440764/ILSVRC2012_val_00000293.JPEG"
    assert image.size_bytes == 38
    assert image.read_bytes() == b"n01440764/ILSVRC2012_val_00000293.JPEG"


def test_validation_images_have_labels_without_a_label_file(tmp_path: Path) -> None:
    make_files(tmp_path, "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG", "cat.JPEG")
    assert list_labels(tmp_path) == {
        "ILSVRC2012_val_00000001.JPEG": 65,
        "ILSVRC2012_val_00000002.JPEG": 970,
        "cat.JPEG": None,
    }


def test_class_folders_are_labelled_by_synset_never_by_position(tmp_path: Path) -> None:
    # n02119789 is 278, n15075141 is 999 in the published list; by position they would be 0 and 1
    make_files(tmp_path, "n15075141/a.JPEG", "n02119789/b.JPEG")
    assert list_labels(tmp_path) == {"n15075141/a.JPEG": 999, "n02119789/b.JPEG": 278}


def test_class_folders_are_in_byte_order_of_the_names_then_of_the_paths(tmp_path: Path) -> None:
    make_files(tmp_path, "n15075141/a.JPEG", "n15075141/b.JPEG", "n02119789/b.JPEG", "n02119789/c.JPEG")
    assert list(list_labels(tmp_path)) == [
        "n15075141/a.JPEG",
        "n02119789/b.JPEG",
        "n15075141/b.JPEG",
        "n02119789/c.JPEG",
    ]


def test_a_folder_named_like_an_unknown_synset_is_refused(tmp_path: Path) -> None:
    make_files(tmp_path, "n15075141/a.JPEG", "n00000007/b.JPEG")
    with pytest.raises(BadImagesError, match="none of the 1000 of ImageNet: n00000007"):
        require_labels(index_images(tmp_path, IMAGENET_CLASSES))


def test_a_label_file_takes_precedence_over_the_folders_synsets(tmp_path: Path) -> None:
    make_files(tmp_path / "images", "n15075141/a.JPEG", "n02119789/b.JPEG")
    label_file = tmp_path / "labels.txt"
    label_file.write_bytes(b"n15075141/a.JPEG 5\nb 6\n")
    assert list_labels(tmp_path / "images", label_file) == {"n15075141/a.JPEG": 5, "n02119789/b.JPEG": 6}


def test_an_image_that_the_label_file_leaves_out_has_no_label(tmp_path: Path) -> None:
    make_files(tmp_path / "images", "a.JPEG", "ILSVRC2012_val_00000001.JPEG")
    label_file = tmp_path / "labels.txt"
    label_file.write_bytes(b"a.JPEG 5\nelsewhere.JPEG 6\n")
    assert list_labels(tmp_path / "images", label_file) == {"ILSVRC2012_val_00000001.JPEG": None, "a.JPEG": 5}


def test_a_label_file_for_other_images_is_refused(tmp_path: Path) -> None:
    make_files(tmp_path / "images", "a.JPEG")
    label_file = tmp_path / "labels.txt"
    label_file.write_bytes(b"b.JPEG 5\n")
    with pytest.raises(BadImagesError, match="names none of the 1 images"):
        index_images(tmp_path / "images", IMAGENET_CLASSES, LabelOptions(path=label_file))


def test_what_is_no_image_is_ignored_and_named(tmp_path: Path) -> None:
    make_files(tmp_path, "a.JPEG", "._a.JPEG", ".DS_Store", "val_label.txt", "README", "b.JPEG.part")
    index = index_images(tmp_path, IMAGENET_CLASSES)
    assert [image.name for image in index.images] == ["a.JPEG"]
    assert sorted(index.ignored) == [".DS_Store", "._a.JPEG", "README", "b.JPEG.part", "val_label.txt"]


def test_what_is_no_image_is_ignored_and_named_among_class_folders(tmp_path: Path) -> None:
    make_files(tmp_path, "n15075141/a.JPEG", "n15075141/._a.JPEG", "val_label.txt")
    assert sorted(index_images(tmp_path, IMAGENET_CLASSES).ignored) == ["n15075141/._a.JPEG", "val_label.txt"]


def test_images_beside_class_folders_are_not_dropped_in_silence(tmp_path: Path) -> None:
    make_files(tmp_path, "n15075141/a.JPEG", "b.JPEG")
    index = index_images(tmp_path, IMAGENET_CLASSES)
    assert [image.relative_path for image in index.images] == ["n15075141/a.JPEG"]
    assert index.ignored == ("b.JPEG",)


def test_imagenet_labels_are_refused_for_a_model_with_other_classes(tmp_path: Path) -> None:
    make_files(tmp_path, "ILSVRC2012_val_00000001.JPEG")
    with pytest.raises(BadImagesError, match="of 1000 classes, the model has 20"):
        require_labels(index_images(tmp_path, Classes(count=20)))


def test_a_pipe_is_passed_over_instead_of_waited_on(tmp_path: Path) -> None:
    make_files(tmp_path, "a.JPEG")
    os.mkfifo(tmp_path / "b.JPEG")
    assert list(list_labels(tmp_path)) == ["a.JPEG"]


def test_a_folder_named_like_an_image_is_no_image(tmp_path: Path) -> None:
    make_files(tmp_path, "a.JPEG", "b.JPEG/c.JPEG")
    assert list(list_labels(tmp_path)) == ["a.JPEG"]


def test_a_broken_link_is_an_unreadable_image(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    make_files(tmp_path, "a.JPEG")
    (tmp_path / "ILSVRC2012_val_00000001.JPEG").symlink_to(tmp_path / "gone.JPEG")
    image = index_images(tmp_path, IMAGENET_CLASSES).images[0]
    assert (image.name, image.label) == ("ILSVRC2012_val_00000001.JPEG", 65)
    assert preprocess_image(image, se_resnext50).status == "broken link"


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    make_files(tmp_path, "elsewhere/a.JPEG")
    (tmp_path / "b.JPEG").symlink_to(tmp_path / "elsewhere" / "a.JPEG")
    (image,) = index_images(tmp_path, IMAGENET_CLASSES).images
    assert (image.name, image.size_bytes) == ("b.JPEG", 16)


def test_a_name_that_is_no_utf_8_is_read_by_its_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.JPEG")
    try:
        (tmp_path / name).write_bytes(b"contents")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (image,) = index_images(tmp_path, IMAGENET_CLASSES).images
    assert image.read_bytes() == b"contents"


@pytest.mark.parametrize("name", [None, ".DS_Store", ".cats/a.JPEG"])
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str | None) -> None:
    make_files(tmp_path, *([name] if name else []))
    with pytest.raises(BadImagesError, match="no images there"):
        index_images(tmp_path, IMAGENET_CLASSES)


def test_a_folder_of_empty_class_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "n15075141").mkdir()
    with pytest.raises(BadImagesError, match="no images there"):
        index_images(tmp_path, IMAGENET_CLASSES)


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match="found nothing"):
        index_images(tmp_path / "gone", IMAGENET_CLASSES)


def test_images_of_which_none_has_a_label_cannot_be_scored(tmp_path: Path) -> None:
    make_files(tmp_path, "a.JPEG", "b.JPEG")
    with pytest.raises(BadImagesError, match=r"no labels: a\.JPEG"):
        require_labels(index_images(tmp_path, IMAGENET_CLASSES))


def test_one_label_is_enough_to_score(tmp_path: Path) -> None:
    make_files(tmp_path, "a.JPEG", "ILSVRC2012_val_00000001.JPEG")
    require_labels(index_images(tmp_path, IMAGENET_CLASSES))
