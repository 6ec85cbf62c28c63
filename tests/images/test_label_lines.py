"""Lines of a label file: two columns are read, more are read where they are known and refused elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.errors import BadImagesError
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.label_files import LabelFile, read_label_file


def read(tmp_path: Path, content: str) -> LabelFile:
    path = tmp_path / "labels.txt"
    path.write_text(content, encoding="utf-8", newline="")
    return read_label_file(path, IMAGENET_CLASSES)


@pytest.mark.parametrize(
    "line",
    [
        "photo.png\t3\t9\t12\t48\t1",
        "photo.png 3 9 12 48 1",
        "photo.png 3 1",
        "photo.png\t3\t1",
        "photo 3 1",
        "photo\t3\t1",
        "photo.png 3\t1",
        "photo.png 3,1",
        "photo.png 3 0.93",
        "photo.png,3,1",
        "photo.png, 3, 1",
        "photo.png;3;1",
        "photo.png 3;1",
        "photo.png = 1",
        "photo.png other.png 1",
        "0 photo.png 224 224",
        "photo,n01440764 111 108 441 193",
        "photo.png n01440764 1",
        "0\t1.000000\tphoto.png",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_line_of_more_than_two_columns_is_refused(tmp_path: Path, line: str, end: str) -> None:
    """Which of the columns is the class, nothing says: the last one is a box's edge as often."""
    with pytest.raises(BadImagesError, match="line 1"):
        read(tmp_path, line + end)


def test_the_refusal_of_more_columns_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError) as refusal:
        read(tmp_path, "photo.png 3 9 12 48 1\n")
    assert "line 1: expected a name and a label, found 6 columns: 'photo.png 3 9 12 48 1'" in str(
        refusal.value
    )
    assert "or a header that names them" in str(refusal.value)


def test_the_advice_for_more_columns_works(tmp_path: Path) -> None:
    file = read(tmp_path, "name class x1 y1 x2 y2\nphoto.png 3 9 12 48 1\n")
    assert file.labels == {"photo.png": 3}


@pytest.mark.parametrize("line", ['"my photo" 3', "'my photo' 3", "my photo\t3", "my photo\t\t3"])
def test_the_advice_for_a_name_with_blanks_works(tmp_path: Path, line: str) -> None:
    with pytest.raises(BadImagesError, match="quotes, or a tab"):
        read(tmp_path, "my photo 3\n")
    assert read(tmp_path, f"{line}\n").labels == {"my photo": 3}


@pytest.mark.parametrize(
    "name",
    ["my  cat #2.JPEG", "my photos/a cat.JPEG", "C:\\My Photos\\cat.JPEG", "a\tcat.JPEG", "12 monkeys.png"],
)
def test_a_path_with_blanks_that_ends_in_a_suffix_is_a_name(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, f"dog.JPEG 1\n{name} 3\n").labels == {"dog.JPEG": 1, name: 3}


@pytest.mark.parametrize("column", ["0", "7", "n01440764"])
def test_a_column_before_the_names_is_no_part_of_them(tmp_path: Path, column: str) -> None:
    with pytest.raises(BadImagesError, match="every line begins with a number or a synset"):
        read(tmp_path, f"{column} cat.JPEG 3\n{column} val/dog.JPEG 4\n")


def test_tiny_imagenets_annotations_are_read_by_their_synset(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        "val_0.JPEG\tn01443537\t0\t32\t44\t62\nval_1.JPEG\tn01629819\t52\t55\t57\t59\n"
        "my val.JPEG n01440764 1 2 3 4\n",
    )
    assert file.form == "Tiny-ImageNet's annotations"
    assert file.labels == {"val_0.JPEG": 1, "val_1.JPEG": 25, "my val.JPEG": 0}


def test_tiny_imagenets_synsets_are_no_labels_of_its_200_classes(tmp_path: Path) -> None:
    """Its own wnids.txt is not sorted, and networks number the classes by either order."""
    path = tmp_path / "val_annotations.txt"
    path.write_text("val_0.JPEG\tn01443537\t0\t32\t44\t62\n")
    with pytest.raises(BadImagesError, match=r"n01443537 is a synset.*the model has 200 classes"):
        read_label_file(path, Classes(count=200))


@pytest.mark.parametrize(
    "content",
    [
        "label\tfile_name\tsplit\n1\tmy cat.JPEG\tval\n",
        "label,file_name,split\r\n1,my cat.JPEG,val\r\n",
        '\ufefffile_name,label\n"my cat.JPEG",1\n',
        "image name,label\nmy cat.JPEG,1\n",
        ",file,label\n0,my cat.JPEG,1\n",
    ],
)
def test_a_header_says_which_columns_are_read(tmp_path: Path, content: str) -> None:
    assert read(tmp_path, content).labels == {"my cat.JPEG": 1}


@pytest.mark.parametrize(
    "content",
    [
        "name,label\ncat.JPEG,1,2\n",
        "name label box\nmy cat.JPEG 1 2\n",
        "name\tlabel\ncat.JPEG 1\n",
        "name label\ncat.JPEG 3 1\n",
    ],
)
def test_a_line_of_other_columns_than_the_header_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadImagesError, match="line 2"):
        read(tmp_path, content)


def test_kaggles_solution_begins_with_a_synset(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match="line 2: expected a synset and the four numbers of its box"):
        read(tmp_path, "ImageId,PredictionString\ncat,1 2 3 4 n01440764\n")


@pytest.mark.parametrize(
    "label", ["1.0", "-1", "+1", "1e0", "0x1", "1_0", "\u0661", "9" * 400, "\u00b9", "1\u200b"]
)
def test_what_only_looks_like_an_index_is_refused(tmp_path: Path, label: str) -> None:
    with pytest.raises(BadImagesError, match="line 2: expected an index or a synset as label") as refusal:
        read(tmp_path, f"dog.JPEG 0\ncat.JPEG {label}\n")
    message = str(refusal.value).replace(str(tmp_path), "")
    assert max(map(len, message.splitlines())) < 200


def test_two_spellings_of_one_path_with_different_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError, match=r"cat.JPEG has label 1 in line 1 and 2 in line 2"):
        read(tmp_path, "cat.JPEG 1\n./cat.JPEG 2\n")
