"""Cases 33 to 54: what file systems hold."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.errors import AssayError, BadImagesError, SourceError
from assay.images import read
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions
from assay.images.listing import LabelledImage, ReadOptions
from assay.images.prepare import preprocess_image
from assay.images.read import NO_PATIENCE
from assay.images.sources import ImageIndex, index_images, require_labels
from assay.models.record import ModelRecord
from assay.modelzoo.bin_files import plan_bin_files
from assay.modelzoo.info_files import write_image_info
from conftest import RunAssay

NAME = "ILSVRC2012_val_00000001.JPEG"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one image."""
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / NAME).write_bytes(b"x")
    return folder


def list_names(index: ImageIndex) -> list[str]:
    return [image.relative_path for image in index.images]


def get_status(image: LabelledImage, record: ModelRecord) -> str:
    return preprocess_image(image, record).status


def test_case_33_a_folder_in_place_of_an_image(folder: Path) -> None:
    (folder / "b.JPEG").mkdir()
    (folder / "b.JPEG" / "c.JPEG").write_bytes(b"x")
    assert list_names(index_images(folder, IMAGENET_CLASSES)) == [NAME]


@pytest.mark.parametrize("place", ["folder", "URL"])
def test_case_33_class_folders_are_looked_into_one_level_deep(tmp_path: Path, place: str) -> None:
    (tmp_path / "n01440764" / "deeper").mkdir(parents=True)
    (tmp_path / "n01440764" / "a.JPEG").write_bytes(b"x")
    (tmp_path / "n01440764" / "deeper" / "b.JPEG").write_bytes(b"x")
    index = index_images(tmp_path if place == "folder" else Path(f"file://{tmp_path}"), IMAGENET_CLASSES)
    assert list_names(index) == ["n01440764/a.JPEG"]
    assert index.notes == ("folders inside class folders are not read: n01440764/deeper",)


@pytest.mark.parametrize("inner", ["val", "train", "validation", "Val"])
@pytest.mark.parametrize("place", ["folder", "URL"])
def test_case_33_the_only_folder_inside_is_taken_and_that_is_said(
    tmp_path: Path, inner: str, place: str
) -> None:
    (tmp_path / inner / "n01440764").mkdir(parents=True)
    (tmp_path / inner / "n01440764" / NAME).write_bytes(b"x")
    (tmp_path / "README.md").write_text("read me")
    index = index_images(tmp_path if place == "folder" else Path(f"file://{tmp_path}"), IMAGENET_CLASSES)
    assert [(image.relative_path, image.label) for image in index.images] == [(f"n01440764/{NAME}", 0)]
    assert f"no images in the folder itself: those in {inner}, its only folder, are used" in index.notes


def test_case_33_the_only_folder_inside_is_not_followed_out_unless_asked_for(
    tmp_path: Path, photographs: Path
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "val").symlink_to(photographs)
    with pytest.raises(BadImagesError, match="give that folder"):
        index_images(tmp_path / "images", IMAGENET_CLASSES)
    index = index_images(tmp_path / "images", IMAGENET_CLASSES, reading=ReadOptions(follow_links=True))
    assert len(index.images) == 12


@pytest.mark.parametrize("layout", ["flat", "synsets"])
def test_case_33_of_several_folders_the_validation_is_pointed_at(tmp_path: Path, layout: str) -> None:
    for name in ("a", "train", "val"):
        folder = tmp_path / name if layout == "flat" else tmp_path / name / "n01440764"
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(b"x")
    with pytest.raises(BadImagesError, match=f"there are images in {tmp_path / 'val'}: give that folder"):
        index_images(tmp_path, IMAGENET_CLASSES)


def test_case_33_folders_named_by_a_name_that_two_classes_have_need_a_label_file(tmp_path: Path) -> None:
    for name in ("crane", "kit fox"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.JPEG").write_bytes(b"x")
    with pytest.raises(BadImagesError, match="name the folders by synset or number, or give --labels"):
        require_labels(index_images(tmp_path / "images", IMAGENET_CLASSES))
    labels = tmp_path / "labels.txt"
    labels.write_text("crane/1.JPEG 134\nkit fox/1.JPEG 278\n")
    index = index_images(tmp_path / "images", IMAGENET_CLASSES, LabelOptions(path=labels))
    assert {image.relative_path: image.label for image in index.images} == {
        "crane/1.JPEG": 134,
        "kit fox/1.JPEG": 278,
    }


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.ENOENT, errno.EIO])
def test_case_34_a_file_system_that_fails_says_nothing_about_the_image(
    se_resnext50: ModelRecord, number: int
) -> None:
    def read_bytes() -> bytes:
        raise OSError(number, os.strerror(number))

    image = LabelledImage(relative_path="a", size_bytes=1, read_bytes=read_bytes)
    with pytest.raises(SourceError, match=os.strerror(number)):
        preprocess_image(image, se_resnext50, patience=NO_PATIENCE)


def test_case_34_a_file_that_must_not_be_read_from_the_beginning_is_a_bad_image() -> None:
    program = (
        "import os, sys; from pathlib import Path; from assay.images.sources import index_images;"
        "from assay.images.classes import IMAGENET_CLASSES;"
        "images = index_images(Path(sys.argv[1]), IMAGENET_CLASSES).images;"  # what must be loaded is
        "os.getuid() or os.setuid(65534);"  # root may read everything
        "print([image.fault for image in index_images(Path(sys.argv[1]), IMAGENET_CLASSES).images])"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        for name, mode in (("a.JPEG", 0o644), ("b.JPEG", 0o000)):
            (Path(folder) / name).write_bytes(b"x")
            (Path(folder) / name).chmod(mode)
        command = [sys.executable, "-c", program, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "['', 'unreadable: Permission denied']\n", done.stderr


def test_case_34_an_image_that_vanished_is_no_bad_image(folder: Path, se_resnext50: ModelRecord) -> None:
    (image,) = index_images(folder, IMAGENET_CLASSES).images
    (folder / NAME).unlink()
    with pytest.raises(SourceError, match="No such file or directory"):
        preprocess_image(image, se_resnext50, patience=NO_PATIENCE)


def test_case_34_a_folder_that_fails_while_it_is_listed_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "PAUSES_S", (0.0,))
    (folder / "n01440764").mkdir()
    look = Path.stat

    def stat_double(path: Path, **options: bool) -> os.stat_result:
        """A double of a network drive that has lost one folder."""
        if path.name == "n01440764":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return look(path, **options)

    monkeypatch.setattr(Path, "stat", stat_double)
    with pytest.raises(SourceError, match=r"n01440764: its source failed: Stale file handle \(2 tries"):
        index_images(folder, IMAGENET_CLASSES)


def test_case_35_a_broken_link_is_a_bad_image(folder: Path, se_resnext50: ModelRecord) -> None:
    (folder / "z.JPEG").symlink_to("gone")
    image = index_images(folder, IMAGENET_CLASSES).images[1]
    assert get_status(image, se_resnext50) == "broken link"


def test_case_35_a_loop_of_links_ends(folder: Path, se_resnext50: ModelRecord) -> None:
    (folder / "a.JPEG").symlink_to("b.JPEG")
    (folder / "b.JPEG").symlink_to("a.JPEG")
    (folder / "n01440764").symlink_to(".")
    index = index_images(folder, IMAGENET_CLASSES)
    assert {get_status(image, se_resnext50)[:11] for image in index.images if image.name != NAME} <= {
        "unreadable:",
        "broken link",
    }


def test_case_35_a_link_out_of_the_folder_is_followed_only_where_asked_for(
    folder: Path, se_resnext50: ModelRecord, photographs: Path
) -> None:
    (folder / "z.JPEG").symlink_to(photographs / "ILSVRC2012_val_00000002.JPEG")
    (folder / "zz.JPEG").symlink_to(folder / NAME)
    outside, inside = index_images(folder, IMAGENET_CLASSES).images[1:]
    assert get_status(outside, se_resnext50) == "a link out of the folder: --follow-links reads it"
    assert inside.fault == ""
    followed = index_images(folder, IMAGENET_CLASSES, reading=ReadOptions(follow_links=True)).images[1]
    assert get_status(followed, se_resnext50) == "ok"


def test_case_35_a_class_folder_that_is_a_link_out_is_refused_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.JPEG").write_bytes(b"x")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "n01440764").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadImagesError, match="n01440764 is a link to somewhere else\n  --follow-links"):
        index_images(tmp_path / "images", IMAGENET_CLASSES)
    index = index_images(tmp_path / "images", IMAGENET_CLASSES, reading=ReadOptions(follow_links=True))
    assert list_names(index) == ["n01440764/a.JPEG"]


def test_case_36_a_pipe_is_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "z.JPEG")
    assert list_names(index_images(folder, IMAGENET_CLASSES)) == [NAME]


def test_case_36_a_pipe_as_data_set_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadImagesError, match="found a pipe, socket or device"):
        index_images(tmp_path / "pipe", IMAGENET_CLASSES)


LITTER = [
    ".DS_Store",
    "Thumbs.db",
    f"._{NAME}",
    ".nfs000000000001",
    "a.JPEG.part",
    "a.JPEG.crdownload",
    "desktop.ini",
]


def test_case_37_litter_is_ignored_and_counted(folder: Path) -> None:
    for name in LITTER:
        (folder / name).write_bytes(b"x")
    index = index_images(folder, IMAGENET_CLASSES)
    assert list_names(index) == [NAME]
    assert set(index.ignored) == set(LITTER)
    assert index.notes[0].startswith("7 other files are ignored: ")


def test_case_38_a_label_file_among_the_images_is_no_image(folder: Path) -> None:
    (folder / "val_label.txt").write_text(f"{NAME} 65\n")
    index = index_images(folder, IMAGENET_CLASSES)
    assert list_names(index) == [NAME]
    assert index.ignored == ("val_label.txt",)


def test_case_38_a_label_file_alone_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "val_map.txt").write_text(f"{NAME} 65\n")
    with pytest.raises(BadImagesError, match=r"found val_map\.txt, which may be a label file: --labels"):
        index_images(tmp_path, IMAGENET_CLASSES)


def test_case_39_suffixes_of_any_case(tmp_path: Path) -> None:
    names = ["a.JPEG", "b.JPG", "c.jpeg", "d.Jpg", "e.PNG"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert list_names(index_images(tmp_path, IMAGENET_CLASSES)) == names


def test_case_40_no_suffix_where_the_name_is_known(folder: Path, tmp_path: Path) -> None:
    (folder / "ILSVRC2012_val_00000002").write_bytes(b"x")
    (folder / "cat").write_bytes(b"x")
    index = index_images(folder, IMAGENET_CLASSES)
    assert list_names(index) == [NAME, "ILSVRC2012_val_00000002"]
    assert index.ignored == ("cat",)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat.jpg 281\n")
    index = index_images(folder, IMAGENET_CLASSES, LabelOptions(path=labels))
    assert {image.name: image.label for image in index.images}["cat"] == 281


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.MPO", "a.pnm"])
def test_case_39_unusual_suffixes_of_formats_that_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert list_names(index_images(tmp_path, IMAGENET_CLASSES)) == [name]


def test_case_40_any_suffix_that_the_label_file_names(folder: Path, tmp_path: Path) -> None:
    for name in ("a.heic", "b.xyz", "c.xyz", "d.txt", "ILSVRC2012_val_00000001.xml"):
        (folder / name).write_bytes(b"x")
    labels = tmp_path / "labels.txt"
    labels.write_text(f"{NAME} 65\nval/a.HEIC 1\nb.xyz 2\nd.jpg 3\n")
    index = index_images(folder, IMAGENET_CLASSES, LabelOptions(path=labels, trusted=True))
    assert {image.name: image.label for image in index.images} == {NAME: 65, "a.heic": 1, "b.xyz": 2}
    assert index.ignored == ("ILSVRC2012_val_00000001.xml", "c.xyz", "d.txt")


def test_case_41_names_with_several_dots(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("cat.v1.JPEG", "cat.v2.JPEG"):
        (tmp_path / "images" / name).write_bytes(b"x")
    labels = tmp_path / "labels.txt"
    labels.write_text("cat.v1 1\ncat.v2 2\n")
    index = index_images(tmp_path / "images", IMAGENET_CLASSES, LabelOptions(path=labels))
    assert [image.label for image in index.images] == [1, 2]


@pytest.mark.parametrize("names", [("x.jpg", "x.png"), ("cat.v1.JPEG", "cat.v2.JPEG")])
def test_case_42_two_images_for_one_bin_file_are_refused(names: tuple[str, str]) -> None:
    images = [LabelledImage(relative_path=name, size_bytes=1, read_bytes=bytes) for name in names]
    with pytest.raises(BadImagesError, match=f"{names[0]} and {names[1]} would both become"):
        plan_bin_files(images)


def test_case_43_the_same_name_in_two_class_folders(tmp_path: Path) -> None:
    for synset in ("n01440764", "n15075141"):
        (tmp_path / synset).mkdir()
        (tmp_path / synset / "a.JPEG").write_bytes(b"x")
    images = index_images(tmp_path, IMAGENET_CLASSES).images
    assert [(image.relative_path, image.label) for image in images] == [
        ("n01440764/a.JPEG", 0),
        ("n15075141/a.JPEG", 999),
    ]
    with pytest.raises(BadImagesError, match="would both become"):
        plan_bin_files(images)


@pytest.mark.parametrize("name", ["a cat.JPEG", "a\tcat.JPEG", '"cat".JPEG', "-cat.JPEG", "#c.JPEG"])
def test_case_44_odd_names_are_images_with_their_label(tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / name).write_bytes(b"x")
    labels = tmp_path / "labels.txt"
    labels.write_text(f"{name} 7\n")
    (image,) = index_images(tmp_path / "images", IMAGENET_CLASSES, LabelOptions(path=labels)).images
    assert (image.name, image.label) == (name, 7)


def test_case_44_an_info_file_with_such_a_name_is_refused(tmp_path: Path, photographs: Path) -> None:
    first = sorted(photographs.iterdir())[0]
    first.rename(photographs / "a cat.JPEG")
    with pytest.raises(AssayError, match="a cat"):
        write_image_info(str(photographs), tmp_path / "jpg.info")


def test_case_45_names_that_are_no_utf_8(run_assay: RunAssay, photographs: Path, colour_onnx: Path) -> None:
    name = os.fsdecode(b"ILSVRC2012_val_00000013\xff.JPEG")
    try:
        (photographs / name).write_bytes(b"not an image")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    compiled, run = photographs.parent / "compiled", photographs.parent / "run"
    run_assay("compile", colour_onnx, compiled, "--engine", "constant")
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run_assay("evaluate", compiled, "--images", photographs, "-o", run, "--json", env=plain)
    assert done.returncode == 3, done.stderr
    assert r"\\udcff" in done.stdout


def test_case_46_names_composed_otherwise(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cafe\u0301.JPEG").write_bytes(b"x")  # as macOS writes it
    labels = tmp_path / "labels.txt"
    labels.write_text("caf\u00e9.JPEG 7\n")
    (image,) = index_images(tmp_path / "images", IMAGENET_CLASSES, LabelOptions(path=labels)).images
    assert image.label == 7


def test_case_47_a_name_too_long_for_its_bin_file_is_an_error(run_assay: RunAssay, photographs: Path) -> None:
    first = sorted(photographs.iterdir())[0]
    first.rename(photographs / ("a" * 250 + ".png"))
    done = run_assay("preprocess", photographs, photographs.parent / "bins")
    assert done.returncode == 5, done.stderr
    assert "Traceback" not in done.stderr


def test_case_48_the_order_is_that_of_the_bytes(tmp_path: Path) -> None:
    names = ["B.JPEG", "a10.JPEG", "a9.JPEG", "b.JPEG", "\u00e9.JPEG"]
    for name in reversed(names):
        (tmp_path / name).write_bytes(b"x")
    assert list_names(index_images(tmp_path, IMAGENET_CLASSES)) == names


@pytest.mark.parametrize("names", [[], [".DS_Store"], ["README.md"]])
def test_case_49_no_images_is_an_error_with_what_was_looked_for(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadImagesError, match=r"no images there\n  looked for \.bmp, "):
        index_images(tmp_path, IMAGENET_CLASSES)


def test_case_50_a_subset_says_so(run_assay: RunAssay, photographs: Path, colour_onnx: Path) -> None:
    compiled, run = photographs.parent / "compiled", photographs.parent / "run"
    run_assay("compile", colour_onnx, compiled, "--engine", "constant")
    done = run_assay("evaluate", compiled, "--images", photographs, "-o", run)
    assert "A subset: 12 of the 50,000 ImageNet validation images" in done.stdout
    assert "A subset: 12 of the 50,000 ImageNet validation images" in (run / "report.md").read_text()


def test_case_51_folders_in_one_another_are_refused(run_assay: RunAssay, photographs: Path) -> None:
    for target in (photographs, photographs / "bins", photographs.parent):
        done = run_assay("preprocess", photographs, target)
        assert done.returncode == 2
        assert "must not lie in the folder of the images" in done.stderr


def test_case_51_stale_bin_files_are_refused(run_assay: RunAssay, photographs: Path) -> None:
    bins = photographs.parent / "bins"
    bins.mkdir()
    (bins / "stale.bin").write_bytes(b"x")
    for mode in ([], ["--resume"]):
        assert run_assay("preprocess", photographs, bins, *mode).returncode == 2


def test_case_51_a_run_folder_among_the_images_is_refused(
    run_assay: RunAssay, photographs: Path, colour_onnx: Path
) -> None:
    run_assay("compile", colour_onnx, photographs.parent / "compiled", "--engine", "constant")
    done = run_assay("evaluate", photographs.parent / "compiled", "--images", photographs, "-o", photographs)
    assert done.returncode == 2
    assert "holds something that is no run of assay" in done.stderr


def test_case_52_a_write_that_fails_leaves_nothing_half_written(photographs: Path) -> None:
    bins = photographs.parent / "bins"
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from assay.command_line.app import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "preprocess", str(photographs), str(bins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert list(bins.iterdir()) == []


def test_case_53_an_image_of_another_size_is_another_run(
    run_assay: RunAssay, photographs: Path, colour_onnx: Path
) -> None:
    compiled, run = photographs.parent / "compiled", photographs.parent / "run"
    run_assay("compile", colour_onnx, compiled, "--engine", "constant")
    command = ["evaluate", compiled, "--images", photographs, "-o", run]
    assert run_assay(*command).returncode == 0
    changed = sorted(photographs.iterdir())[0]
    changed.write_bytes(changed.read_bytes() + b"\0")
    done = run_assay(*command, "--resume")
    assert done.returncode == 2
    assert "the images changed since it began" in done.stderr


def test_case_54_reading_ahead_is_bounded() -> None:
    from concurrent.futures import ThreadPoolExecutor

    from assay.ahead import map_ahead

    begun: list[int] = []
    read: Callable[[int], None] = begun.append
    with ThreadPoolExecutor(2) as executor:
        results = map_ahead(executor, read, range(1000), 8)
        next(results)
        assert len(begun) <= 9
        results.close()  # type: ignore[attr-defined]
