from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from assay.errors import BadImagesError
from assay.images.labels import (
    find_canonical_label,
    match_label,
    read_canonical_labels,
    read_label_file,
    read_synsets,
)

# shared/facts/imagenet_data.md: four independent publications of the lists agree on these.
SYNSETS_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
LABELS_SHA256 = "4138c0cd92d2dffea9353a9339c9f352361b7c6c267d2ff989b366f154188257"


@pytest.fixture
def label_file(tmp_path: Path) -> Path:
    return tmp_path / "val_label.txt"


def expect_refusal(label_file: Path, content: str | bytes, message: str, label_count: int = 1000) -> None:
    label_file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadImagesError, match=message):
        read_label_file(label_file, label_count)


def test_the_synsets_are_the_published_list() -> None:
    text = "".join(f"{synset}\n" for synset in read_synsets())
    assert hashlib.sha256(text.encode()).hexdigest() == SYNSETS_SHA256


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


def test_a_label_file_gives_each_name_its_label(label_file: Path) -> None:
    label_file.write_bytes(b"a.JPEG 0\nval/b.JPEG 999\nc 7\n")
    assert read_label_file(label_file, 1000) == {"a.JPEG": 0, "val/b.JPEG": 999, "c": 7}


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa.JPEG 1\nb.JPEG 2\n",
        "a.JPEG 1\r\nb.JPEG 2\r\n",
        "a.JPEG\t1\nb.JPEG\t2",
        "  a.JPEG   1  \n\n# a remark\n\t\nb.JPEG \t 2\n",
        "a.JPEG 1\nb.JPEG 2\na.JPEG 1\n",
        "a.JPEG 01\nb.JPEG 002\n",
    ],
    ids=["byte-order mark", "CRLF", "tabs", "blanks and remarks", "said twice", "leading zeros"],
)
def test_the_many_ways_to_write_a_label_file_are_read(label_file: Path, content: str) -> None:
    label_file.write_bytes(content.encode())
    assert read_label_file(label_file, 1000) == {"a.JPEG": 1, "b.JPEG": 2}


def test_a_name_may_hold_blanks_and_any_letters(label_file: Path) -> None:
    label_file.write_bytes("my  cat #2.JPEG 3\n#1.JPEG 4\nKätzchen.JPEG 5\n".encode())
    assert read_label_file(label_file, 10) == {"my  cat #2.JPEG": 3, "#1.JPEG": 4, "Kätzchen.JPEG": 5}


def test_a_synset_is_its_place_in_the_sorted_list(label_file: Path) -> None:
    label_file.write_bytes(b"a.JPEG n01440764\nb.JPEG n15075141\nc.JPEG n02119789\n")
    assert read_label_file(label_file, 1000) == {"a.JPEG": 0, "b.JPEG": 999, "c.JPEG": 278}


def test_a_label_counted_from_1_is_refused_with_its_line(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG 1\nb.JPEG 1000\n", "line 2: label 1000 is out of range.*0 to 999")


def test_the_range_is_that_of_the_model(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG 20\n", "line 1.*expected 0 to 19", label_count=20)


def test_a_synset_beyond_the_models_labels_is_refused(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG n15075141\n", "line 1.*range", label_count=20)


def test_two_labels_for_one_name_are_refused_with_both_lines(label_file: Path) -> None:
    expect_refusal(
        label_file, "a.JPEG 1\nb.JPEG 2\na.JPEG 1\na.JPEG 3\n", "label 1 in line 1 and 3 in line 4"
    )


@pytest.mark.parametrize(
    "line", ["a.JPEG", "12", "a.JPEG -1", "a.JPEG 1.5", "a.JPEG cat", "a.JPEG 1234567890", "a.JPEG ٣"]
)
def test_a_malformed_line_is_refused_with_its_number(label_file: Path, line: str) -> None:
    expect_refusal(label_file, f"z.JPEG 0\n\n{line}\n", "line 3: expected")


def test_an_unknown_synset_is_refused(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG n00000001\n", "line 1: n00000001 is not one of the 1000")


def test_a_file_that_is_not_utf_8_is_refused(label_file: Path) -> None:
    expect_refusal(label_file, b"a.JPEG 1\n\xff.JPEG 2\n", r"not UTF-8 text \(byte 9\)")


@pytest.mark.parametrize("content", ["", "\n\n", "# only a remark\n"])
def test_a_file_without_labels_is_refused(label_file: Path, content: str) -> None:
    expect_refusal(label_file, content, "holds no labels")


def test_a_missing_label_file_is_refused(label_file: Path) -> None:
    with pytest.raises(BadImagesError, match="cannot be read: No such file"):
        read_label_file(label_file, 1000)


def test_a_folder_is_no_label_file(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match="cannot be read: Is a directory"):
        read_label_file(tmp_path, 1000)


def test_a_label_is_found_by_path_then_by_name_then_by_stem() -> None:
    labels = {"pets/cat.JPEG": 1, "cat.JPEG": 2, "cat": 3}
    assert match_label(labels, "pets/cat.JPEG") == 1
    assert match_label(labels, "wild/cat.JPEG") == 2
    assert match_label(labels, "cat.png") == 3
    assert match_label(labels, "cat.2.png") is None
    assert match_label({"cat.2": 4}, "cat.2.png") == 4
