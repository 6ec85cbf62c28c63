"""`assay preprocess`: the original's bytes, whole files, and no surprises half-way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from assay.errors import BadImagesError, SourceError, UsageError
from assay.images.forms.local_file import LocalFile
from assay.models.record import ModelRecord
from assay.runs.listener import SILENT
from assay.workflows.modelzoo.preprocess_bins import preprocess_to_bins
from conftest import RunAssay

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts" / "modelzoo"


def hash_folder(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_the_bytes_are_the_originals_for_every_golden_image(
    run_assay: RunAssay, golden: Path, tmp_path: Path
) -> None:
    done = run_assay("preprocess", golden / "images", tmp_path / "prep_bin")
    assert done.returncode == 0, done.stderr
    lines = (golden / "prep_bin.sha256").read_text().splitlines()
    expected = {name.strip("* "): sha256 for sha256, name in (line.split(maxsplit=1) for line in lines)}
    assert hash_folder(tmp_path / "prep_bin") == expected


def test_modes_are_what_the_newest_inference_tool_accepts(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()} == {0o640}


def test_names_that_the_tool_refuses_are_said(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    (photographs / "ILSVRC2012_val_00000001.JPEG").rename(photographs / "cat (1).JPEG")
    done = preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    assert [objection for objection in done.tool_objections if "cat (1).bin" in objection]


def test_an_image_whose_source_fails_is_neither_done_nor_failed_and_resume_writes_it(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess_to_bins(photographs, tmp_path / "whole", se_resnext50, "new", SILENT)
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())
    read_bytes = LocalFile.read_bytes

    def read_double(file: LocalFile) -> bytes:
        """A double of a disk with one bad sector."""
        if file.path.name == "ILSVRC2012_val_00000003.JPEG":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(file)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFile, "read_bytes", read_double)
        with pytest.raises(
            SourceError, match=r"1 image could not be read; the files of the others are written"
        ):
            preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    assert not (tmp_path / "out" / "ILSVRC2012_val_00000003.bin").exists()
    done = preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "resume", SILENT)
    assert (done.written_count, done.kept_count, done.failures) == (1, 11, ())
    assert hash_folder(tmp_path / "out") == hash_folder(tmp_path / "whole")


def test_a_source_that_fails_for_good_ends_the_command(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", ())

    def read_double(_file: LocalFile) -> bytes:
        """A double of a network drive that has gone away."""
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(LocalFile, "read_bytes", read_double)
    with pytest.raises(SourceError, match="3 images could not be read, 9 were not tried"):
        preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)


def test_quirk_1_bad_files_are_listed_and_the_others_are_done(
    run_assay: RunAssay, photographs: Path, tmp_path: Path
) -> None:
    (photographs / "ILSVRC2012_val_00000003.JPEG").write_bytes(b"")
    (photographs / "notes.txt").write_text("Not an image")
    (photographs / "folder").mkdir()
    done = run_assay("preprocess", photographs, tmp_path / "out", "--json")
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)["preprocess"]
    assert found["written_count"] == 11
    assert found["failures"] == [
        {"relative_path": "ILSVRC2012_val_00000003.JPEG", "status": "not decodable: empty file"}
    ]
    assert found["ignored"] == ["notes.txt"]


def test_quirk_1_class_folders_work(photographs: Path, se_resnext50: ModelRecord, tmp_path: Path) -> None:
    for number, synset in enumerate(["n01440764", "n15075141"], start=1):
        (photographs / synset).mkdir()
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        (photographs / name).rename(photographs / synset / name)
    done = preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    assert sorted(hash_folder(tmp_path / "out")) == [
        "ILSVRC2012_val_00000001.bin",
        "ILSVRC2012_val_00000002.bin",
    ]
    assert len(done.ignored) == 10


def test_quirk_2_two_images_for_one_name_are_refused_before_any_work(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    for name in ("a.1.JPEG", "a.2.JPEG"):
        Image.new("RGB", (300, 300)).save(photographs / name)
    with pytest.raises(BadImagesError, match=r"a\.1\.JPEG and a\.2\.JPEG would both become a\.bin"):
        preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", [".", "out", ".."])
def test_quirk_3_folders_in_one_another_are_refused(
    photographs: Path, se_resnext50: ModelRecord, inside: str
) -> None:
    with pytest.raises(UsageError, match="must not lie in"):
        preprocess_to_bins(photographs, photographs / inside, se_resnext50, "new", SILENT)


def test_quirk_5_too_little_space_is_said_before_any_work(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=12 * 602_112 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UsageError, match="7,225,344 bytes are needed, 7,225,343 are free"):
        preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    assert hash_folder(tmp_path / "out") == {}


def test_quirk_5_a_short_file_is_found_and_made_again(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "new", SILENT)
    undisturbed = hash_folder(tmp_path / "out")
    short = tmp_path / "out" / "ILSVRC2012_val_00000004.bin"
    short.write_bytes(short.read_bytes()[:1000])
    done = preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, "resume", SILENT)
    assert (done.written_count, done.kept_count) == (1, 11)
    assert hash_folder(tmp_path / "out") == undisturbed


def test_quirk_5_killed_half_way_and_resumed_it_is_as_if_undisturbed(
    run_assay: RunAssay, photographs: Path, tmp_path: Path
) -> None:
    first = photographs / "ILSVRC2012_val_00000001.JPEG"
    for number in range(13, 400):
        os.link(first, photographs / f"ILSVRC2012_val_{number:08d}.JPEG")
    run_assay("preprocess", photographs, tmp_path / "undisturbed")
    command = [sys.executable, "-m", "assay", "preprocess", str(photographs), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and len(list((tmp_path / "killed").glob("*.bin"))) < 20:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "killed").glob("*.bin"))) < 399
    done = run_assay("preprocess", photographs, tmp_path / "killed", "--resume", "--json")
    assert json.loads(done.stdout)["preprocess"]["kept_count"] >= 20
    assert hash_folder(tmp_path / "killed") == hash_folder(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("mode", "present", "complaint"),
    [
        ("new", "ILSVRC2012_val_00000001.bin", "is not empty"),
        ("resume", "of_other_images.bin", r"not of these images, such as of_other_images\.bin"),
        ("overwrite", "thesis.tex", r"not of these images, such as thesis\.tex"),
    ],
)
def test_what_is_there_already_is_never_mixed_in_or_deleted(
    photographs: Path, se_resnext50: ModelRecord, tmp_path: Path, mode: str, present: str, complaint: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / present).write_bytes(b"x")
    with pytest.raises(UsageError, match=complaint):
        preprocess_to_bins(photographs, tmp_path / "out", se_resnext50, mode, SILENT)  # type: ignore[arg-type]
    assert (tmp_path / "out" / present).read_bytes() == b"x"


def run_script(name: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / name), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("photographs")
def test_the_original_commands_work_from_any_folder(tmp_path: Path) -> None:
    script = "preprocess_se_resnext50_32x4d_pth.py"
    done = run_script(script, "./photographs", "./prep_bin", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_script("get_info.py", "bin", "./prep_bin", "./val.info", 224, 224, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "val.info").read_text().splitlines()[0]
    assert first == "0 ./prep_bin/ILSVRC2012_val_00000001.bin 224 224"
    done = run_script("get_info.py", "jpg", "./photographs", "./ImageNet.info", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "ImageNet.info").read_text().splitlines()[0]
    assert first == "0 ./photographs/ILSVRC2012_val_00000001.JPEG 300 241"


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("preprocess_se_resnext50_32x4d_pth.py", []),
        ("get_info.py", ["bin", "./prep_bin", "./val.info"]),
        ("get_info.py", ["zip", "./prep_bin", "./val.info"]),
        ("seresnext50_pth2onnx.py", []),
    ],
)
def test_quirk_11_wrong_arguments_are_usage_errors(tmp_path: Path, script: str, arguments: list[str]) -> None:
    done = run_script(script, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
