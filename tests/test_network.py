"""Nothing but `assay fetch` uses the network: no package that assay imports reports its use to anyone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TORCHVISION_OPERATORS

SPY = """
import os, socket, sys
def note(event, arguments):  # an audit hook: no module gets round it by a name of its own for a function
    is_look_up = event in ("socket.getaddrinfo", "socket.gethostbyname")
    is_connection = event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6)
    if is_look_up or is_connection:
        with open(os.environ["LOOKED_UP"], "a", encoding="utf-8") as file:
            file.write(f"{arguments[1] if is_connection else arguments[0]}\\n")
sys.addaudithook(note)
import runpy
declared = runpy.run_path(os.environ["OPERATORS"] + "/sitecustomize.py")  # of the folder that this one hides
"""

RUN_ALL = """
import json, sys
from assay.command_line.app import main
sys.exit(max(main(command) for command in json.loads(sys.argv[1])))
"""


@pytest.fixture
def spied(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that notes, with all that it starts, every host it looks up."""
    (tmp_path / "spy").mkdir()
    (tmp_path / "home").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    path = os.pathsep.join([str(tmp_path / "spy"), os.environ.get("PYTHONPATH", "")])
    return {
        "PYTHONPATH": path,
        "LOOKED_UP": str(tmp_path / "looked_up"),
        "OPERATORS": str(TORCHVISION_OPERATORS),
        "CI": "",
        "HOME": str(tmp_path / "home"),
    }


def list_looked_up(spied: dict[str, str]) -> list[str]:
    file = Path(spied["LOOKED_UP"])
    return file.read_text().splitlines() if file.exists() else []


def test_no_command_looks_up_a_host_or_connects(
    spied: dict[str, str], colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    """All in one process, which imports every runtime and library once."""
    commands: list[list[object]] = [
        ["quantize", colour_onnx, "int8.onnx", "--calibration", photographs, "--calibration-count", 8]
    ]
    for engine in ("openvino", "onnxruntime"):
        commands.append(["compile", colour_onnx, engine, "--engine", engine])
        commands.append(["evaluate", engine, "--images", photographs, "-o", f"run_{engine}"])
    for library in ("timm", "transformers"):
        save_folder(library, tmp_path / library)
        commands.append(["export", library, f"{library}.onnx"])
    speed = ["--batch-size", 1, "--repeats", 5, "--seconds", 0.02]
    commands.append(["benchmark", "openvino", *speed, "-o", "speed"])
    commands += [["report", "run_openvino"], ["inspect", colour_onnx], ["engines"]]
    given = json.dumps([list(map(str, command)) for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, given],
        cwd=tmp_path,
        env={**os.environ, **spied},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert list_looked_up(spied) == []
    assert not (tmp_path / "home" / "intel").exists()  # where telemetry leaves an id


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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_runtime_opens_a_connection_from_native_code(
    colour_onnx: Path, photographs: Path, tmp_path: Path
) -> None:
    """ONNX Runtime looks its maker's host up from C++, where no audit hook of Python sees it."""
    commands: list[list[object]] = []
    for engine in ("openvino", "onnxruntime"):
        commands.append(["compile", colour_onnx, engine, "--engine", engine])
        commands.append(["evaluate", engine, "--images", photographs, "-o", f"run_{engine}"])
    given = json.dumps([list(map(str, command)) for command in commands])
    traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", "trace"]
    waits = (
        RUN_ALL.replace("sys.exit(", "import time; ended = (").rstrip() + "; time.sleep(5); sys.exit(ended)\n"
    )
    done = subprocess.run(
        [*traced, sys.executable, "-c", waits, given], cwd=tmp_path, check=False, timeout=600
    )
    assert done.returncode == 0
    assert "AF_INET" not in (tmp_path / "trace").read_text()
