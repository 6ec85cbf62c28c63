"""No command writes over what it reads."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from assay.command_line.app import main
from assay.models.choose_record import store_record
from brightness_classifier import RECORD, make_brightness_classifier, make_brightness_record, move_weights_out
from conftest import RunAssay


def hash_all(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(run_assay: RunAssay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images, labels, a run and a result folder of the inference tool."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("made")
    (folder / "m").mkdir()
    store_record(make_brightness_classifier(folder / "m" / "model.onnx"), make_brightness_record())
    move_weights_out(folder / "m" / "model.onnx")
    (folder / "m" / "link.onnx").symlink_to("model.onnx")
    (folder / "m" / "hard.onnx").hardlink_to(folder / "m" / "model.onnx")
    (folder / "brightness.toml").write_text(RECORD)
    (folder / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (300, 260), (80 * number,) * 3).save(folder / "photos" / f"photo_{number}.png")
    (folder / "labels.txt").write_text("photo_0.png 0\nphoto_1.png 0\nphoto_2.png 1\n")
    (folder / "notes.json").write_text('{"not": "a calibration record"}')
    (folder / "weights.pth").write_bytes(b"weights")
    (folder / "results").mkdir()
    for number in range(3):
        (folder / "results" / f"photo_{number}_0.txt").write_text("1.0 2.0\n")
    (folder / "bins").mkdir()
    (folder / "bins" / "photo_0.bin").write_bytes(bytes(4 * 3 * 224 * 224))
    assert (
        run_assay("compile", "m/model.onnx", "compiled", "--engine", "onnxruntime", cwd=folder).returncode
        == 0
    )
    images = ("--images", "photos", "--labels", "labels.txt")
    done = run_assay("evaluate", "compiled", *images, "-o", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    shutil.copytree(folder / "compiled", folder / "run" / "compiled")  # as `assay run` puts it
    return folder


IMAGES = "--images photos --labels labels.txt"
COMMANDS = [
    "export weights.pth weights.pth",
    "export weights.pth ./m/../weights.pth",
    "export weights.pth brightness.toml --model brightness.toml",
    "export weights.pth photos/photo_0.png --images photos",
    "quantize m/model.onnx m/model.onnx --calibration photos",
    "quantize m/model.onnx m/../m/model.onnx --calibration photos",
    "quantize m/model.onnx m/link.onnx --calibration photos",
    "quantize m/model.onnx m/hard.onnx --calibration photos",
    "quantize m/link.onnx m/model.onnx --calibration photos",
    "quantize m/model.onnx photos/photo_0.png --calibration photos",
    "quantize m/model.onnx notes.onnx --calibration photos",
    f"quantize m/model.onnx notes.onnx --calibration photos --max-drop 1 {IMAGES}",
    "quantize m/model.onnx m/model.onnx.data --calibration photos",
    "compile m/model.onnx m --overwrite",
    "compile m/model.onnx m",
    "compile compiled/model.onnx compiled --overwrite --model brightness.toml",
    "compile compiled/model.onnx ./m/../compiled --overwrite --model brightness.toml",
    f"run --weights run/compiled/model.onnx {IMAGES} -o run --overwrite",
    f"evaluate run/compiled {IMAGES} -o run --overwrite",
    f"evaluate run/compiled {IMAGES} -o ./m/../run --overwrite",
    f"evaluate run/compiled/model.onnx --model brightness.toml {IMAGES} -o run --overwrite",
    "benchmark run/compiled -o run --overwrite",
    "benchmark run/compiled/model.onnx --model brightness.toml -o run --overwrite",
    "predict compiled --images photos -o photos --overwrite",
    "predict compiled --images photos --classes classes.csv -o ./m/../classes.csv --overwrite",
    "benchmark --import run/metrics.json -o run --overwrite",
    "bundle run run --overwrite",
    "bundle run run/manifest.json --overwrite",
    "bundle run run/new.zip",
    "report run run -o run",
    "report run -o ./m/../run",
    "infer compiled --input bins --output . --output-dirname bins",
    "infer compiled --input bins --output . --output-dirname compiled",
    "score results labels.txt . labels.txt",
    "score results labels.txt results photo_0_0.txt",
    "preprocess photos photos --overwrite",
    "preprocess photos photos/bins --overwrite",
    "info jpg photos photos/photo_0.png",
    "info bin bins bins/photo_0.bin 224 224",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_would_write_over_its_input_is_refused_and_changes_nothing(
    made: Path, command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    before = hash_all(made)
    assert (main(command.split()), capfd.readouterr().out) == (2, "")
    assert hash_all(made) == before


@pytest.mark.parametrize(
    "command", ["inspect m/model.onnx", "init m/model.onnx", "models torchvision/resnet18"]
)
def test_a_record_that_may_have_been_filled_in_by_hand_is_replaced_only_if_asked_for(
    command: str, made: Path, tmp_path: Path, run_assay: RunAssay
) -> None:
    record = tmp_path / "mine.toml"
    record.write_text("# mine")
    done = run_assay(*command.split(), "-o", record, cwd=made)
    assert (done.returncode, record.read_text()) == (2, "# mine"), done.stderr
    assert "is there already\n  replace it with --overwrite" in done.stderr
    assert run_assay(*command.split(), "-o", record, "--overwrite", cwd=made).returncode == 0
    assert "schema_version = 1" in record.read_text()


@pytest.mark.parametrize("name", ["fixed.toml", "fixed.labels.csv"])
def test_a_diagnosis_replaces_no_record_and_no_labels_unless_asked_to(
    name: str, made: Path, tmp_path: Path, run_assay: RunAssay
) -> None:
    (tmp_path / name).write_text("# mine")
    command = ("diagnose", "m/model.onnx", "--images", "photos", "--labels", "labels.txt")
    done = run_assay(*command, "--write", tmp_path / "fixed.toml", cwd=made)
    assert (done.returncode, (tmp_path / name).read_text()) == (2, "# mine"), done.stderr
    assert f"{name} is there already" in done.stderr
