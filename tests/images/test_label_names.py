"""Which image a name of a label file means, and where no honest answer exists."""

from __future__ import annotations

import pytest

from assay.errors import BadImagesError
from assay.images.label_names import match_label_names


def test_a_label_is_found_by_path_then_by_name_then_by_stem() -> None:
    labels = {"pets/cat.JPEG": 1, "cat.JPEG": 2, "cat": 3}
    images = ["pets/cat.JPEG", "wild/cat.JPEG", "cat.png", "dog.png"]
    assert match_label_names(labels, images) == {
        "pets/cat.JPEG": "pets/cat.JPEG",
        "wild/cat.JPEG": "cat.JPEG",
        "cat.png": "cat",
    }


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("val/ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000001.JPEG"),
        ("C:\\val\\cat.JPEG", "cat.JPEG"),
        ("/data/imagenet/val/cat.JPEG", "cat.JPEG"),
        ("cat.jpeg", "cat.JPEG"),
        ("CAT", "cat.JPEG"),
        ("ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000001_n01751748.JPEG"),
        ("cat.v2", "cat.v2.JPEG"),
        ("cat", "cat.v2.JPEG"),
        ("Ka\u0308tzchen.JPEG", "K\u00e4tzchen.JPEG"),
    ],
)
def test_case_76_names_fit_without_folder_suffix_case_and_synset(name: str, image: str) -> None:
    assert match_label_names({name: 3, "other": 4}, [image]) == {image: name}


def test_case_76_names_that_fit_equally_well_and_disagree_are_refused() -> None:
    labels = {"a/cat.JPEG": 1, "b/cat.JPEG": 2}
    assert match_label_names(labels, ["a/cat.JPEG"]) == {"a/cat.JPEG": "a/cat.JPEG"}
    with pytest.raises(BadImagesError, match=r"a/cat.JPEG and b/cat.JPEG.*labels 1 and 2"):
        match_label_names(labels, ["cat.JPEG"])


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("IMG.001.JPEG", "IMG.002.JPEG"),
        ("IMG.001", "IMG.002"),
        ("cat.v2", "cat.JPEG"),
        ("cat.JPEG 0 9 12", "cat.JPEG"),
        ("cat.v1.JPEG", "cat.JPEG"),
    ],
)
def test_a_name_that_shares_only_its_beginning_labels_no_image(name: str, image: str) -> None:
    assert match_label_names({name: 3}, [image]) == {}


def test_images_that_fit_one_name_equally_well_are_refused() -> None:
    with pytest.raises(BadImagesError, match=r"cat.JPEG of the label file fits day/cat.JPEG and night/cat"):
        match_label_names({"cat.JPEG": 1}, ["day/cat.JPEG", "night/cat.JPEG"])


def test_a_name_labels_the_image_that_fits_it_most_strictly_and_no_other() -> None:
    assert match_label_names({"cat.jpg": 1}, ["cat.png", "cat.jpg"]) == {"cat.jpg": "cat.jpg"}
