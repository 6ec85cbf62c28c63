"""Info files: the original's lines, sorted, with one running index."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from assay.errors import BadImagesError
from assay.modelzoo.info_files import write_bin_info, write_image_info


def read_entries(path: Path) -> set[tuple[str, ...]]:
    """The (file name, width, height) of each line; the golden files' order is their file system's."""
    return {(Path(fields[1]).name, *fields[2:]) for fields in map(str.split, path.read_text().splitlines())}


def test_image_info_holds_what_the_original_wrote(golden: Path, tmp_path: Path) -> None:
    write_image_info(str(golden / "images"), tmp_path / "jpg.info")
    assert read_entries(tmp_path / "jpg.info") == read_entries(golden / "info" / "jpg.info")


def test_bin_info_holds_what_the_original_wrote(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "prep_bin").mkdir()
    for name, _, _ in read_entries(golden / "info" / "bin.info"):
        (tmp_path / "prep_bin" / name).touch()
    write_bin_info(str(tmp_path / "prep_bin"), tmp_path / "bin.info", 224, 224)
    assert read_entries(tmp_path / "bin.info") == read_entries(golden / "info" / "bin.info")


@pytest.mark.parametrize("folder", ["./bins", "bins", "bins/"])
def test_the_folder_stands_in_the_lines_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bins").mkdir()
    (tmp_path / "bins" / "a.bin").touch()
    write_bin_info(folder, tmp_path / "o.info", 224, 200)
    assert (tmp_path / "o.info").read_bytes() == f"0 {folder.rstrip('/')}/a.bin 224 200\n".encode()


def test_quirk_10_lines_are_sorted_and_one_index_runs_through_all_suffixes(tmp_path: Path) -> None:
    for name in ("c.jpg", "a.JPEG", "B.jpeg", "d.PNG"):
        image_format = "PNG" if name.endswith("PNG") else "JPEG"
        Image.new("RGB", (30, 20)).save(tmp_path / name, format=image_format)
    count = write_image_info(str(tmp_path), tmp_path / "o.info")
    lines = [line.split() for line in (tmp_path / "o.info").read_text().splitlines()]
    assert count == 4
    assert [(line[0], Path(line[1]).name) for line in lines] == [
        ("0", "B.jpeg"),
        ("1", "a.JPEG"),
        ("2", "c.jpg"),
        ("3", "d.PNG"),
    ]
    assert {tuple(line[2:]) for line in lines} == {("30", "20")}


def test_quirk_10_a_blank_in_a_name_is_refused_with_the_name(tmp_path: Path) -> None:
    (tmp_path / "my cat.bin").touch()
    with pytest.raises(BadImagesError, match=r"my cat\.bin"):
        write_bin_info(str(tmp_path), tmp_path / "o.info", 224, 224)
    assert not (tmp_path / "o.info").exists()


def test_quirk_10_a_broken_image_is_refused_with_the_name(tmp_path: Path) -> None:
    (tmp_path / "broken.JPEG").write_bytes(b"<html>")
    with pytest.raises(BadImagesError, match=r"broken\.JPEG: its size cannot be read: not an image"):
        write_image_info(str(tmp_path), tmp_path / "o.info")


def test_sizes_come_from_the_header_alone(tmp_path: Path) -> None:
    Image.effect_noise((640, 480), 90).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[:1000])
    write_image_info(str(tmp_path), tmp_path / "o.info")
    assert (tmp_path / "o.info").read_text().endswith("/a.jpg 640 480\n")


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_files_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadImagesError, match=name):
        write_bin_info(str(tmp_path / name), tmp_path / "o.info", 224, 224)


def test_sizes_are_turned_as_exif_says_as_the_original_has_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg", exif=exif)
    write_image_info(str(tmp_path), tmp_path / "o.info")
    assert (tmp_path / "o.info").read_text().endswith("/a.jpg 30 40\n")
