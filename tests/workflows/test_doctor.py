"""assay doctor: ten planted faults are ten found ones, and a sound copy has none."""

from __future__ import annotations

import errno
import importlib.metadata
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assay.errors import SourceError
from assay.images.classes import IMAGENET_CLASSES, Classes
from assay.images.forms.local_file import LocalFile
from assay.images.label_files import NO_LABEL_FILE, LabelOptions
from assay.images.labels import find_canonical_label
from assay.images.listing import DEFAULT_READ_OPTIONS
from assay.report.diagnosis import ImageDiagnosis
from assay.runs.listener import SILENT
from assay.workflows import doctor
from assay.workflows.doctor import examine_images, examine_machine
from brightness_classifier import RECORD
from conftest import RunAssay
from data_set_forms import write_tar_members


def name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def examine(path: Path, labels: Path | None = None) -> ImageDiagnosis:
    options = LabelOptions(path=labels) if labels else NO_LABEL_FILE
    return examine_images(path, IMAGENET_CLASSES, options, DEFAULT_READ_OPTIONS, SILENT)


def get_findings(diagnosis: ImageDiagnosis) -> dict[str, tuple[int, bool]]:
    return {finding.what: (finding.count, finding.is_fault) for finding in diagnosis.findings}


def encode(picture: Image.Image, image_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.fixture
def faulty(photographs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Twelve photographs and ten planted faults, with a label file."""
    originals = sorted(photographs.iterdir())
    sound = originals[0].read_bytes()
    picture = Image.open(io.BytesIO(sound)).copy()
    turned = Image.Exif()
    turned[0x0112] = 6
    planted = {
        name(13): b"",
        name(14): sound[: len(sound) // 2],
        name(15): b"<!DOCTYPE html>",
        name(16): originals[1].read_bytes(),
        name(17): encode(picture.convert("L")),
        name(18): encode(picture, exif=turned, quality=70),
        name(19): encode(picture, "PNG"),
        name(19877): encode(picture.convert("CMYK")),
        "holiday.JPEG": encode(picture, quality=60),
        "README.txt": b"read me",
    }
    for file_name, content in planted.items():
        (photographs / file_name).write_bytes(content)
    published = [find_canonical_label(name(n)) for n in [*range(1, 20), 19877]]
    rows = {**dict(zip([name(n) for n in [*range(1, 20), 19877]], published, strict=True)), name(5): 7}
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{n} {label}\n" for n, label in rows.items()) + f"{name(40)} 9\n")
    return photographs, path


def test_ten_planted_faults_are_found(faulty: tuple[Path, Path], run_assay: RunAssay) -> None:
    images, labels = faulty
    diagnosis = examine(images, labels)
    found = get_findings(diagnosis)
    assert found == {
        "missing of the 50,000": (50_000 - 20, True),
        "surplus: none of the 50,000 by name": (1, True),
        "cannot be scored": (3, True),
        "the same bytes under several names": (1, True),
        "not the published file: this copy was encoded again": (1, True),
        "no label": (1, True),
        "labels without an image": (1, True),
        "labels that are not the published ones": (1, True),
        "greyscale": (1, False),
        "4-component": (1, False),
        "turned by EXIF, which is ignored": (1, False),
        "of another kind than the name says": (1, False),
        "other files, ignored": (1, False),
    }
    assert diagnosis.verdict.startswith("A full run cannot be trusted: missing of the 50,000; surplus")
    done = run_assay("doctor", "--images", images, "--labels", labels)
    assert done.returncode == 3, done.stderr
    assert "FAULT      3  cannot be scored\n" in done.stdout
    assert f"{name(13)}: not decodable: empty file\n" in done.stdout
    assert "note       1  greyscale\n" in done.stdout
    assert max(map(len, done.stdout.splitlines()[3:])) <= 80


def test_a_source_that_fails_is_a_finding_of_its_own(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())
    failing = {name(4), name(9)}
    read_bytes = LocalFile.read_bytes

    def read_double(file: LocalFile) -> bytes:
        """A double of a disk with bad sectors."""
        if file.path.name in failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(file)

    monkeypatch.setattr(LocalFile, "read_bytes", read_double)
    found = get_findings(examine(photographs))
    assert found["could not be read now: their source failed"] == (2, True)
    assert "cannot be scored" not in found
    failing |= {name(10), name(11)}
    with pytest.raises(SourceError, match="Input/output error"):
        examine(photographs)


def test_a_subset_without_faults_has_its_gaps_as_the_only_finding(photographs: Path) -> None:
    diagnosis = examine(photographs)
    assert get_findings(diagnosis) == {"missing of the 50,000": (49_988, True)}
    assert (diagnosis.image_count, diagnosis.labelled_count, diagnosis.is_whole) == (12, 12, False)


def test_images_of_another_set_have_no_gaps(photographs: Path, tmp_path: Path) -> None:
    labels = []
    for number, image in enumerate(sorted(photographs.iterdir())):
        image.rename(photographs / f"cat{number}.JPEG")
        labels.append(f"cat{number}.JPEG {number}\n")
    (tmp_path / "labels.txt").write_text("".join(labels))
    diagnosis = examine(photographs, tmp_path / "labels.txt")
    assert diagnosis.findings == ()
    assert diagnosis.verdict.startswith("Nothing is wrong with these images; they are not all of the 50,000")


def test_a_complete_copy_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tables of twelve images in the place of 50,000, since that many take minutes."""
    rng = np.random.default_rng(2)
    (tmp_path / "val").mkdir()
    for number in range(1, 13):
        picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        (tmp_path / "val" / name(number)).write_bytes(encode(picture))
    monkeypatch.setattr(doctor, "IMAGENET_VAL_COUNT", 12)
    diagnosis = examine(tmp_path / "val")
    assert diagnosis.verdict.startswith("A full run can be trusted")
    assert diagnosis.findings == ()


@pytest.mark.parametrize("archive_name", ["ILSVRC2012_img_val.tar", "mine.tar"])
def test_an_archive_is_compared_with_the_published_one(
    photographs: Path, tmp_path: Path, archive_name: str
) -> None:
    path = tmp_path / archive_name
    write_tar_members(path, {image.name: image.read_bytes() for image in photographs.iterdir()})
    diagnosis = examine(path)
    assert diagnosis.archive_bytes == path.stat().st_size
    is_claimed = archive_name == "ILSVRC2012_img_val.tar"
    assert (diagnosis.archive_sha256 is not None) == is_claimed
    what = "not the published ILSVRC2012_img_val.tar, by its sha256"
    assert (what in get_findings(diagnosis)) == is_claimed


def test_an_archive_cut_between_members_is_a_fault(photographs: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    write_tar_members(path, {name(1): (photographs / name(1)).read_bytes()})
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content + bytes(-len(content) % 512))
    assert any("no mark at its end" in what for what in get_findings(examine(path)))


def test_the_machine_is_examined_without_images(run_assay: RunAssay) -> None:
    done = run_assay("doctor", "--json")
    assert done.returncode == 0, done.stdout
    machine = json.loads(done.stdout)["machine"]
    assert machine["findings"] == []
    assert machine["pixel_check"]["differing"] == []


def test_two_onnx_runtimes_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    version: Callable[[str], str] = importlib.metadata.version

    def claim(distribution: str) -> str:
        return "1.23" if distribution in ("onnxruntime", "onnxruntime-gpu") else version(distribution)

    monkeypatch.setattr(importlib.metadata, "version", claim)
    (finding,) = examine_machine().findings
    assert finding.examples == ("onnxruntime", "onnxruntime-gpu")


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    for number, flower in enumerate(("rose", "rose", "tulip")):
        (tmp_path / "flowers" / flower).mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (64, 64), (number * 90, 0, 0))
        picture.save(tmp_path / "flowers" / flower / f"{number}.jpg")
    return tmp_path / "flowers"


def test_images_of_ones_own_classes_are_judged_by_these(flowers: Path) -> None:
    classes = Classes(count=3, names=("aster", "rose", "tulip"))
    found = examine_images(flowers, classes, NO_LABEL_FILE, DEFAULT_READ_OPTIONS, SILENT)
    assert get_findings(found) == {"classes without an image": (1, False)}
    assert found.verdict == "Nothing is wrong with these images of 3 classes: all decode."
    assert found.labelled_count == 3


def test_images_of_other_classes_than_imagenets_name_the_way_out(
    flowers: Path, run_assay: RunAssay, tmp_path: Path
) -> None:
    done = run_assay("doctor", "--images", flowers)
    assert done.returncode == 3
    assert "--model RECORD, with --classes FILE or sorted" in " ".join(done.stdout.split())
    (tmp_path / "two.toml").write_text(RECORD)
    done = run_assay("doctor", "--images", flowers, "--model", tmp_path / "two.toml", "--classes", "sorted")
    assert done.returncode == 0, done.stderr
    assert "numbered in their sorted order" in done.stdout
