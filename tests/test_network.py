"""Nothing but `assay fetch` uses the network: no package that assay imports reports its use to anyone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TORCHVISION_OPERATORS, RunAssay

SPY = """
import os, socket
look_up = socket.getaddrinfo
def note(host, *arguments, **options):
    with open(os.environ["LOOKED_UP"], "a", encoding="utf-8") as file:
        file.write(f"{host}\\n")
    return look_up(host, *arguments, **options)
socket.getaddrinfo = note
import runpy
declared = runpy.run_path(os.environ["OPERATORS"] + "/sitecustomize.py")  # of the folder that this one hides
"""


@pytest.fixture
def spied(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that notes, with all that it starts, every host it looks up."""
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    path = os.pathsep.join([str(tmp_path / "spy"), os.environ.get("PYTHONPATH", "")])
    return {
        "PYTHONPATH": path,
        "LOOKED_UP": str(tmp_path / "looked_up"),
        "OPERATORS": str(TORCHVISION_OPERATORS),
        "CI": "",
    }


def list_looked_up(spied: dict[str, str]) -> list[str]:
    file = Path(spied["LOOKED_UP"])
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_compiling_and_evaluating_look_up_no_host(
    start_assay: RunAssay,
    spied: dict[str, str],
    colour_onnx: Path,
    photographs: Path,
    tmp_path: Path,
    engine: str,
) -> None:
    compiled = tmp_path / "compiled"
    given = ["--images", photographs, "-o", tmp_path / "run"]
    for command in (["compile", colour_onnx, compiled, "--engine", engine], ["evaluate", compiled, *given]):
        done = start_assay(*command, env=spied)
        assert done.returncode == 0, done.stderr
    assert list_looked_up(spied) == []


def test_quantising_looks_up_no_host(
    start_assay: RunAssay, spied: dict[str, str], colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    given = [colour_onnx, tmp_path / "int8.onnx", "--calibration", photographs, "--calibration-count", "8"]
    done = start_assay("quantize", *given, env=spied)
    assert done.returncode == 0, done.stderr
    assert list_looked_up(spied) == []


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_exporting_a_librarys_network_looks_up_no_host(
    start_assay: RunAssay, spied: dict[str, str], tmp_path: Path, library: str
) -> None:
    folder = tmp_path / "folder"
    save_folder(library, folder)
    done = start_assay("export", folder, tmp_path / "m.onnx", env=spied)
    assert done.returncode == 0, done.stderr
    assert list_looked_up(spied) == []


def save_folder(library: str, folder: Path) -> None:
    """A small network with its configuration, as its library writes them."""
    import timm
    import transformers

    if library == "timm":
        timm.models.save_for_hf(timm.create_model("test_resnet"), folder, safe_serialization=True)
        return
    config = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=64)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size=64).save_pretrained(folder)


def test_the_spy_notes_a_host_that_a_child_process_looks_up(spied: dict[str, str]) -> None:
    look_up = "import os, socket; (os.fork() and os.wait()) or socket.getaddrinfo('localhost', 80)"
    subprocess.run([sys.executable, "-c", look_up], env={**os.environ, **spied}, check=True, timeout=60)
    assert list_looked_up(spied) == ["localhost"]
