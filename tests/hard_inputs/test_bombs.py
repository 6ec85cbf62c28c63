"""Small files that unpack to far more than they say: refused, and never in memory whole."""

from __future__ import annotations

import gzip
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq
import pytest

from assay.errors import BadImagesError, SourceError, UndecodableImageError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.forms import parquet_files
from assay.images.forms.parquet_pages import PagedFile
from assay.images.read import read_image
from assay.images.sources import index_images

ROW_COUNT = 1000


def write_rows(path: Path, image: Any, **options: Any) -> Path:
    """A row group of 1,000 rows with one image and paths of their own."""
    paths = pyarrow.array([f"{n:04}.jpg" for n in range(ROW_COUNT)])
    images = pyarrow.StructArray.from_arrays([image, paths], ["bytes", "path"])
    pq.write_table(pyarrow.table({"image": images, "label": [1] * ROW_COUNT}), path, **options)
    return path


def repeat(content: bytes) -> Any:
    return pyarrow.array([content] * ROW_COUNT)


def test_a_dictionary_that_unpacks_to_more_than_a_row_group_may_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "MAX_ROW_GROUP_BYTES", 100_000)
    path = write_rows(tmp_path / "a.parquet", repeat(bytes(4000)))
    assert pq.read_metadata(path).row_group(0).total_byte_size < 30_000
    image = index_images(path, IMAGENET_CLASSES).images[0]
    with pytest.raises(SourceError, match="unpacks to more than 100,000 bytes"):
        image.read_bytes()


def test_pages_that_are_larger_than_the_footer_says_are_refused_before_they_are_unpacked(
    tmp_path: Path,
) -> None:
    path = write_rows(tmp_path / "a.parquet", repeat(bytes(4000)), use_dictionary=False, compression="zstd")
    file = PagedFile(path)
    column = pq.read_metadata(path).row_group(0).column(0)
    assert column.total_compressed_size < 10_000
    pages = column.total_uncompressed_size
    read = file.read_column(0, "image.bytes", pages + ROW_COUNT * 8)
    assert sum(len(rows) for rows in read) == ROW_COUNT
    before = pyarrow.total_allocated_bytes()
    with pytest.raises(SourceError, match="unpacks to more than"):
        next(file.read_column(0, "image.bytes", pages // 2))
    assert pyarrow.total_allocated_bytes() - before < 100_000


def test_paths_that_repeat_one_long_text_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MAX_TEXT_BYTES", 100_000)
    images = [{"bytes": b"x", "path": "a" * 10_000}] * 100
    pq.write_table(pyarrow.table({"image": images, "label": [1] * 100}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"image\.path unpacks to more than"):
        index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)


def test_more_rows_than_bytes_are_refused(tmp_path: Path) -> None:
    column = pyarrow.nulls(2_000_000, pyarrow.binary())
    pq.write_table(pyarrow.table({"image": column}), tmp_path / "a.parquet")
    with pytest.raises(BadImagesError, match="no images take so little"):
        index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)


def test_a_label_that_is_no_text_is_blamed_on_the_file(tmp_path: Path) -> None:
    """Arrow keeps bytes that are no UTF-8 in a column of texts, and fails where they are asked for."""
    text = pyarrow.Array.from_buffers(
        pyarrow.string(), 1, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")]
    )
    images = [{"bytes": b"x", "path": "a.jpg"}]
    pq.write_table(pyarrow.table({"image": images, "label": text}), tmp_path / "a.parquet")
    with pytest.raises(BadImagesError, match="cannot be read as Parquet"):
        index_images(tmp_path / "a.parquet", IMAGENET_CLASSES)


def test_a_long_run_of_blanks_in_a_path_list_takes_no_longer_than_its_length(tmp_path: Path) -> None:
    """A pattern that was tried from every blank took hours for this line."""
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("a.jpg" + " " * 500_000 + "1 x\na.jpg\n")
    first, second = index_images(tmp_path / "list.txt", IMAGENET_CLASSES).images
    assert (first.fault, second.fault) == ("", "unreadable: File name too long")


def test_a_path_list_whose_lines_are_too_long_for_paths_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a" * 5000 + "\n")
    with pytest.raises(BadImagesError, match="no paths of files"):
        index_images(tmp_path / "list.txt", IMAGENET_CLASSES)


def test_a_small_gzipped_tar_of_a_huge_member_is_never_in_memory(tmp_path: Path) -> None:
    size, member = 300 * 2**20, tarfile.TarInfo("ILSVRC2012_val_00000001.JPEG")
    member.size = size
    with (
        (tmp_path / "zeros").open("wb+") as zeros,
        gzip.open(tmp_path / "val.tar.gz", "wb", compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        zeros.truncate(size)  # sparse
        archive.addfile(member, zeros)
    assert (tmp_path / "val.tar.gz").stat().st_size < size // 100
    tracemalloc.start()
    try:
        (image,) = index_images(tmp_path / "val.tar.gz", IMAGENET_CLASSES).images
        with pytest.raises(UndecodableImageError, match="too large: 314,572,800 bytes"):
            read_image(image)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**25
