"""Cases 55 to 65: what archives and Parquet files hold. Nothing is extracted, no name is used as a path."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq
import pytest

from assay.errors import BadImagesError, UndecodableImageError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.listing import ReadOptions
from assay.images.prepare import preprocess_image
from assay.images.sources import ImageIndex, index_images, require_labels
from assay.models.record import ModelRecord
from conftest import RunAssay
from data_set_forms import write_tar_members

NAME = "ILSVRC2012_val_00000001.JPEG"
OTHER = "ILSVRC2012_val_00000002.JPEG"


def read_images(index: ImageIndex) -> dict[str, bytes]:
    return {image.relative_path: image.read_bytes() for image in index.images}


def add(archive: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> None:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(bytes(member.size)))


def test_case_55_only_regular_members_are_read_and_none_is_extracted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "/etc/absolute.JPEG", size=3)
        add(archive, "../../outside.JPEG", size=4)
        add(archive, "link.JPEG", tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.JPEG", tarfile.LNKTYPE, linkname="/etc/passwd")
        add(archive, "device.JPEG", tarfile.CHRTYPE)
        add(archive, "pipe.JPEG", tarfile.FIFOTYPE)
        add(archive, NAME, size=5)
    index = index_images(path, IMAGENET_CLASSES)
    assert read_images(index) == {
        NAME: bytes(5),
        "../../outside.JPEG": bytes(4),
        "etc/absolute.JPEG": bytes(3),
    }
    assert index.ignored == ("device.JPEG", "hard.JPEG", "link.JPEG", "pipe.JPEG")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("prefix", ["./", "val/", "./ILSVRC2012_img_val/"])
def test_case_56_members_with_a_folder_before_their_name(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, prefix, tarfile.DIRTYPE)
        add(archive, prefix + OTHER, size=1)
        add(archive, prefix + NAME, size=2)
    images = index_images(path, IMAGENET_CLASSES).images
    assert [(image.name, image.label) for image in images] == [(NAME, 65), (OTHER, 970)]


def test_case_57_of_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar_members(path, {OTHER: b"other", NAME: b"old"})
    with tarfile.open(path, "a") as archive:
        add(archive, "./" + NAME, size=7)
    index = index_images(path, IMAGENET_CLASSES)
    assert read_images(index) == {NAME: bytes(7), OTHER: b"other"}
    assert index.notes[0] == "a.tar: 1 members were replaced by later ones of the same name"


@pytest.mark.parametrize("kept", [100, 700, 5000, 12_000])
def test_case_58_a_truncated_tar_is_refused_with_what_is_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "ILSVRC2012_img_val.tar"
    write_tar_members(path, {f"ILSVRC2012_val_{n:08d}.JPEG": bytes(4000) for n in range(1, 5)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BadImagesError, match=r"cut short or damaged after [0-2] whole members") as caught:
        index_images(path, IMAGENET_CLASSES)
    assert f"it has {kept:,} bytes, the published one 6,744,924,160" in str(caught.value)


def test_case_58_a_tar_cut_between_two_members_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar_members(path, {NAME: bytes(512), OTHER: bytes(512)})
    path.write_bytes(path.read_bytes()[:1024])
    assert index_images(path, IMAGENET_CLASSES).notes == (
        "a.tar: has no mark at its end: it may be cut short between two members",
    )


def test_case_58_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar_members(path, {NAME: bytes(512), OTHER: bytes(512)})
    content = bytearray(path.read_bytes())
    content[1024 + 150] ^= 0xFF  # in the second header's checksum
    path.write_bytes(content)
    with pytest.raises(BadImagesError, match="no member begins at byte 1,024"):
        index_images(path, IMAGENET_CLASSES)


def test_case_59_a_tar_that_is_gzip_inside(tmp_path: Path) -> None:
    path = tmp_path / "val.tar"
    write_tar_members(path, {OTHER: b"two", NAME: b"one"}, "w:gz")
    index = index_images(path, IMAGENET_CLASSES)
    assert read_images(index) == {OTHER: b"two", NAME: b"one"}
    assert index.form == "tar archive, gzipped"


def test_case_59_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "val.tar.gz"
    write_tar_members(path, {NAME: bytes(range(256)) * 40, OTHER: b"two"}, "w:gz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadImagesError, match="cut short or damaged"):
        index_images(path, IMAGENET_CLASSES)


def test_case_59_gzip_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "val.tar.gz"
    path.write_bytes(gzip.compress(b"no tar" * 1000))
    with pytest.raises(BadImagesError, match="cut short or damaged after 0 whole members"):
        index_images(path, IMAGENET_CLASSES)


@pytest.mark.parametrize(("mode", "command"), [("w:bz2", "bunzip2"), ("w:xz", "unxz")])
def test_case_59_other_packers_are_named_with_the_remedy(tmp_path: Path, mode: str, command: str) -> None:
    path = tmp_path / "val.tar"
    write_tar_members(path, {NAME: b"one"}, mode)
    with pytest.raises(BadImagesError, match=f"cannot be read at random\n  {command} val.tar"):
        index_images(path, IMAGENET_CLASSES)


def test_case_59_names_of_any_length_and_letters(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    name = "folder/" * 20 + "é" * 100 + ".JPEG"
    write_tar_members(path, {name: b"one"})
    assert read_images(index_images(path, IMAGENET_CLASSES)) == {name: b"one"}


def test_case_59_a_sparse_member_is_read_with_its_holes(tmp_path: Path) -> None:
    header = tarfile.TarInfo(NAME)
    header.type, header.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    numbers = [1024, 512, 0, 0, 0, 0, 0, 0]  # one piece of 512 bytes at 1024; then the whole size
    block[386:482] = b"".join(b"%011o\0" % number for number in numbers)
    block[483:495] = b"%011o\0" % 2048
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "a.tar").write_bytes(bytes(block) + b"x" * 512 + bytes(1024))
    expected = bytes(1024) + b"x" * 512 + bytes(512)
    assert read_images(index_images(tmp_path / "a.tar", IMAGENET_CLASSES)) == {NAME: expected}


def test_case_59_a_tar_of_tars_is_the_training_set(tmp_path: Path) -> None:
    path = tmp_path / "ILSVRC2012_img_train.tar"
    write_tar_members(path, {"n01440764.tar": b"x", "n01443537.tar": b"x"})
    with pytest.raises(
        BadImagesError, match=r"the training set; the validation images are in ILSVRC2012_img_val\.tar"
    ):
        index_images(path, IMAGENET_CLASSES)


@pytest.mark.parametrize(
    ("member", "meaning"),
    [("ILSVRC2012_test_00000001.JPEG", "test images"), ("val/ILSVRC2012_val_00000001.xml", "bounding boxes")],
)
def test_case_60_other_archives_of_imagenet_are_recognised(tmp_path: Path, member: str, meaning: str) -> None:
    path = tmp_path / "a.tar"
    write_tar_members(path, {member: b"x"})
    with pytest.raises(BadImagesError, match=meaning):
        index_images(path, IMAGENET_CLASSES)


@pytest.mark.parametrize("form", ["tar", "zip", "flat"])
def test_case_61_a_huge_member_is_a_bad_image_and_is_not_read(
    tmp_path: Path, se_resnext50: ModelRecord, form: str
) -> None:
    path = tmp_path / f"a.{form}"
    if form == "tar":
        write_tar_members(path, {NAME: bytes(2_000_000)})
    elif form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(NAME, bytes(2_000_000))
    else:
        path.mkdir()
        (path / NAME).write_bytes(bytes(2_000_000))
    (image,) = index_images(path, IMAGENET_CLASSES).images
    done = preprocess_image(image, se_resnext50, ReadOptions(max_file_bytes=1_000_000))
    assert done.status == "not decodable: too large: 2,000,000 bytes, over 1,000,000"


def test_case_62_zip_with_litter_folders_and_old_names(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("val")
        archive.writestr(f"val/{NAME}", b"one")
        archive.writestr(f"__MACOSX/val/._{NAME}", b"x")
        archive.writestr(f"__MACOSX/val/{OTHER}", b"x")
    index = index_images(path, IMAGENET_CLASSES)
    assert read_images(index) == {f"val/{NAME}": b"one"}
    assert len(index.ignored) == 2


def test_case_62_an_encrypted_member_is_a_bad_image(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(NAME, b"one")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    (image,) = index_images(path, IMAGENET_CLASSES).images
    assert preprocess_image(image, se_resnext50).status == "encrypted in the zip archive"


def test_case_62_a_damaged_member_is_a_bad_image(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(NAME, b"one")
    path.write_bytes(path.read_bytes().replace(b"one", b"two"))
    (image,) = index_images(path, IMAGENET_CLASSES).images
    assert preprocess_image(image, se_resnext50).status.startswith(
        "not decodable: damaged in the zip archive"
    )


def test_case_62_a_zip_bomb_gives_no_more_than_its_directory_says(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, bytes(50_000_000))
    content = bytearray(path.read_bytes())
    size = struct.pack("<I", 50_000_000)
    path.write_bytes(content.replace(size, struct.pack("<I", 1000)))
    (image,) = index_images(path, IMAGENET_CLASSES).images
    with pytest.raises(UndecodableImageError, match="damaged in the zip archive"):
        image.read_bytes()


def test_case_62_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(NAME, b"one")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadImagesError, match="cut short or damaged"):
        index_images(path, IMAGENET_CLASSES)


def write_table(path: Path, **columns: Any) -> None:
    pq.write_table(pyarrow.table(columns), path)


STRUCTS = [{"bytes": b"one", "path": NAME}, {"bytes": b"two", "path": OTHER}]


def test_case_63_a_row_without_bytes_is_a_bad_image(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    write_table(tmp_path / "a.parquet", image=[STRUCTS[0], {"bytes": None, "path": OTHER}], label=[1, 2])
    first, second = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert first.read_bytes() == b"one"
    assert (
        preprocess_image(second, se_resnext50).status
        == "not decodable: no bytes in its row, only a path perhaps"
    )


def test_case_63_rows_without_path_are_named_by_their_place(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=[{"bytes": b"one", "path": None}] * 2, label=[1, 2])
    index = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)
    assert [(image.relative_path, image.label) for image in index.images] == [
        ("a.parquet/00000000", 1),
        ("a.parquet/00000001", 2),
    ]


def test_case_63_label_minus_1_is_no_label(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=[{"bytes": b"x", "path": "a.jpg"}, STRUCTS[1]], label=[-1, 5])
    images = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert [image.label for image in images] == [
        None,
        5,
    ]


def test_case_63_labels_of_all_minus_1_are_none_and_names_count(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=STRUCTS, label=[-1, -1])
    images = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert [image.label for image in images] == [
        65,
        970,
    ]


@pytest.mark.parametrize("kind", [pyarrow.int32(), pyarrow.int16()])
def test_case_63_other_integers_are_labels(tmp_path: Path, kind: Any) -> None:
    write_table(tmp_path / "a.parquet", image=STRUCTS, label=pyarrow.array([65, 970], kind))
    images = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert [image.label for image in images] == [
        65,
        970,
    ]


def test_case_63_labels_in_words_that_two_classes_share_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=STRUCTS, label=["crane", "crane"])
    with pytest.raises(BadImagesError, match="the label column: 'crane' names 2 classes of the model"):
        require_labels(index_images(tmp_path / "a.parquet", IMAGENET_CLASSES))


def test_case_63_labels_of_another_type_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=STRUCTS, label=[1.0, 2.0])
    with pytest.raises(
        BadImagesError, match="the column label holds double, no indices or names\n  give --labels"
    ):
        index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)


def test_a_row_that_is_null_is_a_failed_image_of_a_run(
    tmp_path: Path, colour_compiled: Path, run_assay: RunAssay
) -> None:
    write_table(tmp_path / "a.parquet", image=[STRUCTS[0], None], label=[1, 2])
    done = run_assay("evaluate", colour_compiled, "--images", tmp_path / "a.parquet", "-o", tmp_path / "run")
    assert done.returncode == 3  # images failed
    assert "2 of 2" in done.stdout + done.stderr


def test_a_name_with_nul_in_a_tar_archive_is_an_image_or_bad_input(
    tmp_path: Path, colour_compiled: Path, run_assay: RunAssay
) -> None:
    with tarfile.open(tmp_path / "val.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("n01440764/a.JPEG")
        member.pax_headers = {"path": "n01440764/a\0b.JPEG"}
        archive.addfile(member)
    done = run_assay("evaluate", colour_compiled, "--images", tmp_path / "val.tar", "-o", tmp_path / "run")
    assert done.returncode in (3, 5), done.stderr


def test_a_list_of_bytes_with_one_missing_is_a_bad_image(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    lists = pyarrow.array([[1, None, 3]], pyarrow.list_(pyarrow.uint8()))
    write_table(tmp_path / "a.parquet", image=lists, label=[1])
    (image,) = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert preprocess_image(image, se_resnext50).status == "not decodable: a byte is missing from its row"


@pytest.mark.parametrize("content", ["text", 5, 1.5, [1, 2]])
def test_structs_whose_bytes_are_of_another_type_are_no_images(tmp_path: Path, content: Any) -> None:
    write_table(tmp_path / "a.parquet", image=[{"bytes": content, "path": NAME}], label=[1])
    with pytest.raises(BadImagesError, match="no column of images: image"):
        index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)


def test_paths_that_are_numbers_name_no_images(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=[{"bytes": b"x", "path": 5}], label=[1])
    (image,) = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert image.relative_path == "a.parquet/00000000"


def test_a_footer_whose_row_groups_hold_other_rows_than_it_says_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=STRUCTS, label=[1, 2])
    path = tmp_path / "a.parquet"
    rows = b"\x16\x04\x19\x1c"  # in Thrift: FileMetaData.num_rows of 2, then the list of one row group
    content = path.read_bytes()
    assert content.count(rows) == 1
    path.write_bytes(content.replace(rows, b"\x16\x06\x19\x1c"))
    with pytest.raises(BadImagesError, match="promises 3 rows, its groups 2"):
        index_images(path, IMAGENET_CLASSES)


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.list_(pyarrow.uint8())])
def test_case_63_other_columns_and_types(tmp_path: Path, kind: Any) -> None:
    values = (
        [b"one", b"two"]
        if kind in (pyarrow.binary(), pyarrow.large_binary())
        else [list(b"one"), list(b"two")]
    )
    write_table(tmp_path / "a.parquet", jpg=pyarrow.array(values, kind), cls=[3, 4])
    images = index_images(tmp_path / "a.parquet", IMAGENET_CLASSES).images
    assert [(image.label, image.read_bytes()) for image in images] == [(3, b"one"), (4, b"two")]


def test_case_63_no_column_of_images_is_refused_with_what_is_there(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", text=["a"], label=[1])
    with pytest.raises(BadImagesError, match=r"no column of images: text \(string\), label \(int64\)"):
        index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)


def test_case_63_a_corrupt_footer_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", image=STRUCTS, label=[1, 2])
    path = tmp_path / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadImagesError, match="cannot be read as Parquet"):
        index_images(path, IMAGENET_CLASSES)


def test_case_63_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "validation-00000-of-00014.parquet"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 480000000\n")
    with pytest.raises(BadImagesError, match="a Git LFS pointer, not the data\n  git lfs pull"):
        index_images(path, IMAGENET_CLASSES)
    with pytest.raises(BadImagesError, match="Git LFS pointer"):
        index_images(tmp_path, IMAGENET_CLASSES)


def test_case_63_of_several_splits_the_validation_is_taken(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_table(tmp_path / "data" / "validation-00000-of-00001.parquet", image=STRUCTS[:1], label=[65])
    write_table(tmp_path / "data" / "train-00000-of-00001.parquet", image=STRUCTS[1:], label=[970])
    index = index_images(tmp_path, IMAGENET_CLASSES)
    assert read_images(index) == {NAME: b"one"}
    assert index.ignored == ("train-00000-of-00001.parquet",)


def test_case_63_splits_without_a_validation_are_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_table(tmp_path / f"{split}-00000-of-00001.parquet", image=STRUCTS[:1], label=[65])
    with pytest.raises(BadImagesError, match="holds the splits test, train; none is the validation's"):
        index_images(tmp_path, IMAGENET_CLASSES)


@pytest.mark.parametrize(
    "name", ["validation-00000-of-00128", "imagenet2012-validation.tfrecord-00000-of-00064"]
)
def test_case_64_tfrecords_are_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(struct.pack("<Q", 12) + bytes(30))
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(BadImagesError, match="TFRecord files, which are not read"):
            index_images(path, IMAGENET_CLASSES)


def test_case_65_keys_with_dots_end_at_the_first(tmp_path: Path) -> None:
    write_tar_members(tmp_path / "0.tar", {"cat.v1.jpg": b"one", "cat.cls": b"7"})
    (image,) = index_images(tmp_path / "0.tar", IMAGENET_CLASSES).images
    assert (image.label, image.fault) == (7, "")


def test_case_65_a_sample_without_class_is_a_bad_image(tmp_path: Path, se_resnext50: ModelRecord) -> None:
    write_tar_members(tmp_path / "0.tar", {"a.jpg": b"x", "a.cls": b"7", "b.jpg": b"x"})
    write_tar_members(tmp_path / "1.tar", {"b.cls": b"7"})  # a sample does not reach over the end of a shard
    index = index_images(tmp_path, IMAGENET_CLASSES)
    bad = {image.relative_path: preprocess_image(image, se_resnext50).status for image in index.images}
    assert bad["0.tar/b.jpg"] == "no .cls file beside it in its archive"


@pytest.mark.parametrize(
    ("content", "label"), [(b" 7\n", 7), (b"7", 7), (b"cat", None), (b"", None), (b"-1", None)]
)
def test_case_65_classes_in_any_writing(tmp_path: Path, content: bytes, label: int | None) -> None:
    write_tar_members(tmp_path / "0.tar", {"a.jpg": b"x", "a.cls": b"1", "b.jpg": b"x", "b.cls": content})
    image = index_images(tmp_path, IMAGENET_CLASSES).images[1]
    assert image.label == label
    assert (image.fault == "") == (label is not None)


def test_case_65_a_damaged_shard_is_named(tmp_path: Path) -> None:
    write_tar_members(tmp_path / "0.tar", {"a.jpg": bytes(1000), "a.cls": b"1"})
    write_tar_members(tmp_path / "1.tar", {"a.jpg": bytes(1000), "a.cls": b"1"})
    (tmp_path / "1.tar").write_bytes((tmp_path / "1.tar").read_bytes()[:900])
    with pytest.raises(BadImagesError, match=r"1\.tar: cut short or damaged"):
        index_images(tmp_path, IMAGENET_CLASSES)
