"""Label files in every form users have them, and look-alikes that are refused: facts imagenet_data.md 6d."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import BadImagesError
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.label_files import LabelOptions, read_label_file
from assay.images.labels import read_canonical_labels, read_synsets


@pytest.fixture
def label_file(tmp_path: Path) -> Path:
    return tmp_path / "val_label.txt"


def expect_refusal(
    label_file: Path, content: str | bytes, message: str, classes: Classes = IMAGENET_CLASSES
) -> None:
    label_file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadImagesError, match=message):
        read_label_file(label_file, classes)


def test_a_label_file_gives_each_name_its_label(label_file: Path) -> None:
    label_file.write_bytes(b"a.JPEG 0\nval/b.JPEG 999\nc 7\n")
    assert read_label_file(label_file, IMAGENET_CLASSES).labels == {"a.JPEG": 0, "val/b.JPEG": 999, "c": 7}


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
def test_case_68_the_many_ways_to_write_a_label_file_are_read(label_file: Path, content: str) -> None:
    label_file.write_bytes(content.encode())
    assert read_label_file(label_file, IMAGENET_CLASSES).labels == {"a.JPEG": 1, "b.JPEG": 2}


def test_a_name_may_hold_blanks_and_any_letters(label_file: Path) -> None:
    label_file.write_bytes("my  cat #2.JPEG 3\n#1.JPEG 4\nKätzchen.JPEG 5\n".encode())
    assert read_label_file(label_file, Classes(count=10)).labels == {
        "my  cat #2.JPEG": 3,
        "#1.JPEG": 4,
        "Kätzchen.JPEG": 5,
    }


def test_a_synset_is_its_place_in_the_sorted_list(label_file: Path) -> None:
    label_file.write_bytes(b"a.JPEG n01440764\nb.JPEG n15075141\nc.JPEG n02119789\n")
    assert read_label_file(label_file, IMAGENET_CLASSES).labels == {"a.JPEG": 0, "b.JPEG": 999, "c.JPEG": 278}


def test_a_label_counted_from_1_is_refused_with_its_line(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG 1\nb.JPEG 1000\n", "line 2: label 1000 is out of range.*0 to 999")


def test_the_range_is_that_of_the_model(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG 20\n", "line 1.*expected 0 to 19", Classes(count=20))


def test_a_synset_beyond_the_models_labels_is_refused(label_file: Path) -> None:
    expect_refusal(
        label_file, "a.JPEG n15075141\n", "line 1.*the model has 20 classes", classes=Classes(count=20)
    )


def test_a_synset_is_no_label_of_a_model_with_other_classes(label_file: Path) -> None:
    """n01440764 is 0 among ImageNet's 1000; which of another model's 20 classes it is, nothing says."""
    expect_refusal(
        label_file, "a.JPEG n01440764\n", "line 1.*the model has 20 classes", classes=Classes(count=20)
    )


def test_case_69_two_labels_for_one_name_are_refused_with_both_lines(label_file: Path) -> None:
    expect_refusal(
        label_file, "a.JPEG 1\nb.JPEG 2\na.JPEG 1\na.JPEG 3\n", "label 1 in line 1 and 3 in line 4"
    )


@pytest.mark.parametrize(
    "line", ["a.JPEG", "12", "a.JPEG -1", "a.JPEG 1.5", "a.JPEG cat", "a.JPEG 1234567890", "a.JPEG ٣"]
)
def test_case_70_a_malformed_line_is_refused_with_its_number(label_file: Path, line: str) -> None:
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
        read_label_file(label_file, IMAGENET_CLASSES)


def test_case_79_a_folder_given_as_label_file_is_named_as_swapped(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match="cannot be read: it is a folder"):
        read_label_file(tmp_path, IMAGENET_CLASSES)


# The first values of ILSVRC2012_validation_ground_truth.txt, and the labels of the first images.
DEVKIT_START = [490, 361, 171, 822, 297, 482]


@pytest.fixture(scope="session")
def devkit_ids(facts_data: Path) -> list[int]:
    """The devkit's ground truth, made of the two published tables, not of the package's."""
    rows = [line.split() for line in (facts_data / "ilsvrc2012_id_wnid_index.txt").read_text().splitlines()]
    ids = {int(label): int(number) for number, _, label in rows}
    lines = (facts_data / "val_label.txt").read_text().splitlines()
    return [ids[int(line.split()[1])] for line in lines]


def test_case_73_the_devkits_ground_truth_is_recognised(label_file: Path, devkit_ids: list[int]) -> None:
    assert devkit_ids[:6] == DEVKIT_START
    label_file.write_text("".join(f"{number}\n" for number in devkit_ids))
    labels = read_label_file(label_file, IMAGENET_CLASSES).labels
    assert len(labels) == 50_000
    first = [labels[f"ILSVRC2012_val_{number:08d}.JPEG"] for number in range(1, 7)]
    assert first == [65, 970, 230, 809, 516, 57]


def test_case_73_a_ground_truth_of_other_values_is_refused(label_file: Path, devkit_ids: list[int]) -> None:
    shifted = [devkit_ids[-1], *devkit_ids[:-1]]
    expect_refusal(label_file, "".join(f"{number}\n" for number in shifted), "of 50,000 lines are not")


def test_case_73_numbers_without_names_are_no_labels(label_file: Path) -> None:
    expect_refusal(label_file, "490\n361\n171\n", "3 lines of a number alone")


def name_images(numbers: list[int], count: int = 1000) -> str:
    return "".join(
        f"ILSVRC2012_val_{place:08d}.JPEG {number}\n" for place, number in enumerate(numbers[:count], start=1)
    )


def test_case_73_devkit_ids_beside_names_are_refused(label_file: Path, devkit_ids: list[int]) -> None:
    expect_refusal(label_file, name_images(devkit_ids), "the numbers are ILSVRC2012 IDs")


def test_case_74_image_numbers_are_no_labels(label_file: Path) -> None:
    content = "".join(f"ILSVRC2012_val_{number:08d} {number}\n" for number in range(1, 50_001))
    expect_refusal(label_file, content, "those of the images, not of their classes")


def test_case_71_labels_from_1_are_refused_and_explained(label_file: Path) -> None:
    expect_refusal(label_file, name_images([label + 1 for label in read_canonical_labels()]), "count from 1")
    expect_refusal(label_file, "a.JPEG 1\nb.JPEG 1000\n", "line 2: label 1000.*seem to count from 1")


def test_case_71_labels_from_1_are_read_with_an_offset(label_file: Path) -> None:
    label_file.write_text("a.JPEG 1\nb.JPEG 1000\n")
    assert read_label_file(label_file, IMAGENET_CLASSES, LabelOptions(offset=1)).labels == {
        "a.JPEG": 0,
        "b.JPEG": 999,
    }
    label_file.write_text("a.JPEG 0\n")
    with pytest.raises(BadImagesError, match="line 1: label 0 is out of range: expected 1 to 1000"):
        read_label_file(label_file, IMAGENET_CLASSES, LabelOptions(offset=1))


def test_case_75_another_class_order_is_refused_unless_it_is_trusted(label_file: Path) -> None:
    reversed_labels = [999 - label for label in read_canonical_labels()]
    content = name_images(reversed_labels)
    expect_refusal(label_file, content, r"0\.\d% of 1,000 labels are the published ones: another class order")
    trusted = read_label_file(label_file, IMAGENET_CLASSES, LabelOptions(trusted=True))
    assert trusted.labels["ILSVRC2012_val_00000001.JPEG"] == 999 - 65


def test_case_66_utf_16_is_read(label_file: Path) -> None:
    for encoding in ("utf-16", "utf-16-be"):
        mark = "" if encoding == "utf-16" else "\ufeff"
        label_file.write_bytes((mark + "a.JPEG 1\r\nb.JPEG 2\r\n").encode(encoding))
        assert read_label_file(label_file, IMAGENET_CLASSES).labels == {"a.JPEG": 1, "b.JPEG": 2}


@pytest.mark.parametrize(
    ("content", "form"),
    [
        ("a.JPEG,1\nb c.JPEG,2\n", "CSV"),
        ('"a.JPEG", 1\n"b c.JPEG", 2\n', "CSV"),
        ("file,label\na.JPEG,1\nb c.JPEG,2\n", "CSV with a header"),
        ("id,label,file_name\n7,1,a.JPEG\n8,2,b c.JPEG\n", "CSV with a header"),
        ("'a.JPEG'\t1\n'b c.JPEG'\t2\n", "text"),
        ('"a.JPEG" 1\n"b c.JPEG" 2\n', "text"),
        ("name label\na.JPEG 1\nb c.JPEG 2\n", "text with a header"),
    ],
)
def test_case_67_csv_quotes_and_headers_are_read(label_file: Path, content: str, form: str) -> None:
    label_file.write_text(content)
    file = read_label_file(label_file, IMAGENET_CLASSES)
    assert file.labels == {"a.JPEG": 1, "b c.JPEG": 2}
    assert file.form == form


def test_case_67_a_header_that_does_not_tell_is_refused(label_file: Path) -> None:
    expect_refusal(label_file, "file,width,height\na.JPEG,3,4\n", "does not tell one column of names")


def test_case_69_lines_said_twice_are_counted(label_file: Path) -> None:
    label_file.write_text("a.JPEG 1\na.JPEG 1\nb.JPEG 2\n")
    assert read_label_file(label_file, IMAGENET_CLASSES).repeated_count == 1


def test_case_72_the_name_of_two_classes_is_refused(label_file: Path) -> None:
    expect_refusal(
        label_file, "a.JPEG crane\n", r"line 1: 'crane' names 2 classes of the model: 134 crane \(n02012849\)"
    )


def test_case_72_what_is_no_class_of_the_models_is_refused(label_file: Path) -> None:
    expect_refusal(label_file, "a.JPEG tenchh\n", "the name of a class, found 'tenchh'\n  did you mean tench")


PETS = Classes(count=3, names=("tabby cat", "dog", "parrot, macaw"))


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg dog\nb.jpg tabby_cat\n",
        "a.jpg dog\nb.jpg tabby cat\n",
        "a.jpg\tDog\nb.jpg\ttabby cat\n",
        "a.jpg,dog\nb.jpg,Tabby Cat\n",
        'file,class\na.jpg,dog\n"b.jpg","tabby cat"\n',
        "filename,class_name\na.jpg,dog\nb.jpg,tabby cat\n",
        "a.jpg dog\nb.jpg 0\n",
    ],
)
def test_labels_may_be_the_names_of_the_models_classes(label_file: Path, text: str) -> None:
    label_file.write_text(text)
    assert read_label_file(label_file, PETS).labels == {"a.jpg": 1, "b.jpg": 0}


def test_a_class_with_commas_in_its_name_is_written_in_quotes_or_by_a_name_of_it(
    label_file: Path,
) -> None:
    label_file.write_text('a.jpg,"parrot, macaw"\nb.jpg,macaw\n')
    assert read_label_file(label_file, PETS).labels == {"a.jpg": 2, "b.jpg": 2}


def test_a_number_that_is_the_name_of_another_class_is_refused(label_file: Path) -> None:
    digits = Classes(count=3, names=("0", "2", "1"))
    expect_refusal(label_file, "a.jpg 2\n", "2 is the name of class 1 of the model", digits)
    label_file.write_text("a.jpg 0\n")
    assert read_label_file(label_file, digits).labels == {"a.jpg": 0}


def test_the_numbers_of_imagenet_a_are_no_labels_of_imagenet(label_file: Path) -> None:
    """Timm's issue 2456: folders numbered 0 to 199 were scored among 1000 classes, 0.08 %."""
    text = "".join(f"{number}.jpg {number}\n" for number in range(200))
    expect_refusal(label_file, text, "numbers 0 to 199, all of them.*ImageNet-A")
    assert len(read_label_file(label_file, IMAGENET_CLASSES, LabelOptions(trusted=True)).labels) == 200


def test_kaggles_solution_is_read_by_its_first_synset(label_file: Path) -> None:
    label_file.write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000293,n01440764 1 2 3 4 n15075141 5 6 7 8 \n"
        "ILSVRC2012_val_00000001,n01751748 111 108 441 193 \n"
    )
    file = read_label_file(label_file, IMAGENET_CLASSES)
    assert file.form == "Kaggle's solution"
    assert file.labels == {"ILSVRC2012_val_00000293": 0, "ILSVRC2012_val_00000001": 65}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b'{"a.JPEG": 1}', "JSON or XML"),
        (b"a.JPEG 1\0\n", "zero bytes"),
    ],
)
def test_case_78_what_is_no_label_file_is_refused(label_file: Path, content: bytes, message: str) -> None:
    expect_refusal(label_file, content, message)


def test_the_package_knows_the_synset_of_each_label() -> None:
    assert read_synsets()[65] == "n01751748"  # the sea snake of the first validation image
