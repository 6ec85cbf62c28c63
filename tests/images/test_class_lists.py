"""Lists of classes beside the record: a file in the usual forms, or the sorted names."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import BadImagesError
from assay.images.class_lists import read_class_file, replace_classes, sort_classes
from assay.images.classes import IMAGENET_CLASSES, Classes


@pytest.mark.parametrize(
    "text",
    [
        "dog\ntabby cat\nparrot, macaw\n",
        "\ufeffdog\r\ntabby cat\r\nparrot, macaw\r\n",
        "0 dog\n1 tabby cat\n2 parrot, macaw\n",
        "1: dog\n2: tabby cat\n3: parrot, macaw\n",
        "2,parrot, macaw\n0,dog\n1,tabby cat\n",
        "dog 0\ntabby cat 1\nparrot, macaw 2\n",
        '["dog", "tabby cat", "parrot, macaw"]',
        '{"0": "dog", "2": "parrot, macaw", "1": "tabby cat"}',
        '{"dog": 0, "parrot, macaw": 2, "tabby cat": 1}',
    ],
)
def test_a_class_file_is_read_in_every_usual_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_class_file(path, 3).names == ("dog", "tabby cat", "parrot, macaw")


def test_names_that_end_in_numbers_stay_whole_where_these_do_not_count_them(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("class 0\nclass 1\n")
    assert read_class_file(path, 2).names == ("class 0", "class 1")
    path.write_text("Boeing 707\nBoeing 747\n")
    assert read_class_file(path, 2).names == ("Boeing 707", "Boeing 747")


def test_a_class_file_of_synsets_names_the_synsets_in_its_own_order(tmp_path: Path) -> None:
    path = tmp_path / "wnids.txt"
    path.write_text("n02124075\nn01443537\n")  # as in Tiny-ImageNet, whose list is not sorted
    assert read_class_file(path, 2).synsets == ("n02124075", "n01443537")
    path.write_text("n02124075 Egyptian cat\nn01443537 goldfish, Carassius auratus\n")
    found = read_class_file(path, 2)
    assert found.names == ("Egyptian cat", "goldfish, Carassius auratus")
    assert found.find_labels("goldfish") == (1,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog\ncat\n", "lists 2 classes, the model has 3"),
        ("dog\ncat\ndog\n", "lists dog twice"),
        ('{"0": "dog", "1": "cat", "3": "bird"}', "do not count the classes from 0"),
        ("[1, 2, 3]", "--classes"),
        ("dog\0", "no list of classes"),
    ],
)
def test_a_class_file_that_cannot_be_the_models_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(BadImagesError, match=message):
        read_class_file(path, 3)


def test_a_list_in_another_order_than_the_models_own_names_is_refused() -> None:
    listed = Classes(count=2, names=("cat", "dog"))
    with pytest.raises(BadImagesError, match="cat is class 0 there, and class 1 of the model"):
        replace_classes(Classes(count=2, names=("dog", "cat")), listed, "classes.txt")
    assert replace_classes(Classes(count=2), listed, "classes.txt") == listed


def test_synsets_stay_only_where_every_listed_name_is_one_of_the_models() -> None:
    """A model of 1000 classes that nobody named is taken for ImageNet's until somebody names them."""
    own = Classes(count=1000, names=tuple(f"part {number}" for number in range(1000)))
    assert replace_classes(IMAGENET_CLASSES, own, "here").synsets == ()
    in_order = Classes(count=1000, names=IMAGENET_CLASSES.names)
    assert replace_classes(IMAGENET_CLASSES, in_order, "here").are_imagenets


def test_sorted_names_are_sorted_as_text() -> None:
    assert sort_classes("here", ["dog", "Ägypten", "cat"], 3).names == ("cat", "dog", "Ägypten")


@pytest.mark.parametrize("names", [["0", "1", "2", "10"], ["Zebra", "ant"], ["class10", "class9"]])
def test_names_that_torchvision_and_timm_sort_differently_are_refused(names: list[str]) -> None:
    with pytest.raises(BadImagesError, match=r"sorted as text .*timm"):
        sort_classes("here", names, len(names))


def test_a_text_means_a_class_by_the_strictest_comparison_that_finds_one() -> None:
    classes = Classes(count=4, names=("Cat", "cat", "guinea_pig", "n02124075"), synsets=())
    assert [classes.find_labels(text) for text in ("cat", "Cat", "CAT", "Guinea Pig", "pig")] == [
        (1,),
        (0,),
        (0, 1),
        (2,),
        (),
    ]
    assert IMAGENET_CLASSES.find_labels("n01440764_tench") == (0,)
    assert IMAGENET_CLASSES.suggest("goldfsh") == "goldfish"
