"""Nothing but `assay fetch` uses the network: no package that assay imports reports its use to anyone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from assay.command_line.commands import COMMANDS
from assay.files import hash_file
from assay_command import SHORT_REPEATS
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


@pytest.mark.slow
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


def list_all_commands(colour_onnx: Path, photographs: Path, folder: Path, port: int) -> list[list[object]]:
    """Every command on a small model; `fetch` from the one place that its record names, on this machine."""
    originals = sorted(photographs.iterdir())
    for number in range(13, 41):  # a cascade is made with 40 or more
        os.link(originals[number % 12], photographs / f"ILSVRC2012_val_{number:08d}.JPEG")
    (folder / "fetched.toml").write_text(FETCHED.format(port=port, sha256=hash_file(colour_onnx)))
    (folder / "labels.txt").write_text(
        "".join(f"{path.name} {number}\n" for number, path in enumerate(sorted(photographs.iterdir())))
    )
    images: list[object] = ["--images", photographs]
    speed = ["--batch-size", 1, "--repeats", 5, "--seconds", 0.02]
    network: list[object] = ["--model", "se_resnext50_32x4d"]
    calibrated = ["--calibration", photographs, "--calibration-count", 8]
    commands: list[list[object]] = [
        ["fetch", "fetched.toml", "--cache", "cache"],
        ["compile", colour_onnx, "openvino"],
        ["compile", colour_onnx, "onnxruntime", "--engine", "onnxruntime"],
        ["compile", colour_onnx, "constant", "--engine", "constant", "--set", "devices=2"],
        ["quantize", colour_onnx, "int8.onnx", *calibrated],
        ["cascade", "onnxruntime", "openvino", "cascade", *images],
        ["inspect", colour_onnx],
        ["init", colour_onnx, "--like", "se_resnext50_32x4d", "-o", "drawn.toml"],
        ["evaluate", "openvino", *images, "-o", "run"],
        ["evaluate", "onnxruntime", *images, "--labels", "labels.txt", "--trust-labels", "-o", "other"],
        ["evaluate", "openvino", *images, "-o", "shares", "--shard", "1/2"],
        ["evaluate", "openvino", *images, "-o", "shares", "--shard", "2/2"],
        ["merge", "shares"],
        ["evaluate", "constant", *images, "-o", "devices", "--devices", "all"],
        ["benchmark", "constant", *speed, "--devices", "all", "-o", "device_speed"],
        ["benchmark", "openvino", *speed, "-o", "speed"],
        ["run", "--weights", colour_onnx, *images, *speed, "-o", "whole"],
        ["predict", "openvino", *images, "-o", "predictions.csv"],
        ["agree", "openvino", "onnxruntime", *images],
        ["diagnose", "whole", *images, "-o", "diagnosis"],
        ["diagnose", colour_onnx, *images, "--against", colour_onnx, "--only", "network"],
        ["report", "run"],
        ["report", "run", "whole", "-o", "both"],
        ["compare", "run", "whole"],
        ["runs", "."],
        ["history", "add", "run"],
        ["history", "show"],
        ["bundle", "run", "run.zip"],
        ["verify", "run.zip"],
        ["index", photographs],
        ["doctor"],
        ["doctor", *images],
        ["engines"],
        ["models", "resnet"],
        ["preprocess", photographs, "bins", *network],
        ["info", "bin", "bins", "bins.info", 224, 224],
        [
            "infer",
            "openvino",
            "-i",
            "bins",
            "-o",
            "results",
            "--output-dirname",
            "results",
            "--outfmt",
            "TXT",
        ],
        ["score", "results/results", "labels.txt", "scores", "--trust-labels"],
        ["help", "topics"],
        ["completion", "bash"],
    ]
    for library in ("timm", "transformers"):
        save_folder(library, folder / library)
        commands.append(["export", library, f"{library}.onnx"])
    return commands


FETCHED = """
schema_version = 1
name = "fetched"
architecture = "onnx only"
input = {{ name = "image", channels = 3, height = 64, width = 64, colour_order = "RGB" }}
output = {{ name = "class", class_count = 1000 }}
[preprocessing]
resize_side = 64
resize_filter = "bilinear"
crop_size = 64
mean = [0, 0, 0]
std = [1, 1, 1]
[[weights]]
url = "http://127.0.0.1:{port}/colour.onnx"
file_name = "colour.onnx"
sha256_prefix = "{sha256}"
licence = "none"
"""

RUN_EACH = """
import json, sys, time
from assay.command_line.app import main
from assay.opened_run import open_run
ended = {}
for command in json.loads(sys.argv[1]):
    ended[" ".join(command)] = main(command)
open_run("run")._repr_html_()
open_run("run").worst()._repr_html_()
time.sleep(5)  # ONNX Runtime waits before it reports
sys.exit(f"{ended}" if set(ended.values()) - {0, 1, 3, 6} else 0)  # a gate may fail; doctor finds copies
"""


@pytest.fixture
def file_server(colour_onnx: Path) -> Iterator[int]:
    """Serves the folder of the ONNX file over http on this machine; its port."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(colour_onnx.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_command_opens_a_connection_not_even_from_native_code(
    colour_onnx: Path,
    photographs: Path,
    tmp_path: Path,
    file_server: int,
    spied: dict[str, str],
) -> None:
    """ONNX Runtime looks its maker's host up from C++, where no audit hook of Python sees it."""
    commands = list_all_commands(colour_onnx, photographs, tmp_path, file_server)
    every = {name for names in COMMANDS.values() for name in names}
    assert {command[0] for command in commands} == every - {"demo"}  # it draws images for minutes, then runs
    given = json.dumps([list(map(str, command)) for command in commands])
    traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", "trace"]
    done = subprocess.run(
        [*traced, sys.executable, "-c", RUN_EACH, given],
        cwd=tmp_path,
        env={**os.environ, **SHORT_REPEATS, **spied},
        check=False,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sent = [line for line in (tmp_path / "trace").read_text().splitlines() if "AF_" in line]
    assert [line for line in sent if f"sin_port=htons({file_server})" not in line] == []
    assert {line.split(",")[0] for line in list_looked_up(spied)} <= {"127.0.0.1", "('127.0.0.1'"}
    assert not (tmp_path / "home" / "intel").exists()
