from __future__ import annotations

import hashlib

import pytest

from assay.images.labels import (
    find_canonical_label,
    read_canonical_labels,
    read_class_names,
    read_synsets,
)

# shared/facts/imagenet_data.md: four independent publications of the lists agree on these.
SYNSETS_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
LABELS_SHA256 = "4138c0cd92d2dffea9353a9339c9f352361b7c6c267d2ff989b366f154188257"


def test_the_synsets_are_the_published_list() -> None:
    text = "".join(f"{synset}\n" for synset in read_synsets())
    assert hashlib.sha256(text.encode()).hexdigest() == SYNSETS_SHA256


def test_a_class_has_the_name_that_everybody_knows() -> None:
    """The numbers as in torchvision's categories and every published list; both kinds of crane are there."""
    names = read_class_names()
    known = {1: "goldfish", 65: "sea snake", 207: "golden retriever", 281: "tabby", 388: "giant panda"}
    assert len(names) == 1000
    assert {number: names[number] for number in known} == known
    assert names[134] == names[517] == "crane"


def test_the_canonical_labels_are_the_published_file() -> None:
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 50_001)]
    text = "".join(f"{name} {label}\n" for name, label in zip(names, read_canonical_labels(), strict=True))
    assert hashlib.sha256(text.encode()).hexdigest() == LABELS_SHA256


# The first six lines of every published val_label.txt.
@pytest.mark.parametrize(
    ("number", "label"), [(1, 65), (2, 970), (3, 230), (4, 809), (5, 516), (6, 57), (19_877, 998)]
)
def test_a_validation_images_label_is_found_by_its_name(number: int, label: int) -> None:
    assert find_canonical_label(f"ILSVRC2012_val_{number:08d}.JPEG") == label
    assert find_canonical_label(f"val/ilsvrc2012_VAL_{number:08d}.png") == label


@pytest.mark.parametrize(
    "name",
    [
        "ILSVRC2012_val_00000000.JPEG",
        "ILSVRC2012_val_00050001.JPEG",
        "ILSVRC2012_val_0000001.JPEG",
        "ILSVRC2012_test_00000001.JPEG",
        "my_ILSVRC2012_val_00000001.JPEG",
    ],
)
def test_another_name_has_no_canonical_label(name: str) -> None:
    assert find_canonical_label(name) is None
