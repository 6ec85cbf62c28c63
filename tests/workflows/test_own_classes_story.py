"""A user's story, through the command line alone: five folders of pictures, a network, int8, a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from assay.images.drawn_images import draw_picture, encode_varied_jpeg
from conftest import RunAssay

# sorted, as torchvision's ImageFolder numbers them; and which of the drawn classes each is
CLASSES = {"blue square": 1, "green triangle": 2, "red disc": 0, "teal, checked": 4, "yellow_star": 3}
RESIZE_SIDE, CROP_SIZE = 72, 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def draw_folders(root: Path, image_count: int, seed: int) -> Path:
    for name, drawn in CLASSES.items():
        (root / name).mkdir(parents=True)
        rng = np.random.default_rng([seed, drawn])
        for number in range(image_count):
            content = encode_varied_jpeg(draw_picture(drawn, rng), rng)
            (root / name / f"{number}.jpg").write_bytes(content)
    return root


def load_images(root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures as torchvision's usual evaluation transform makes them, and their labels."""
    rows, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((root / name).iterdir()):
            picture = Image.open(path).convert("RGB")
            scale = RESIZE_SIDE / min(picture.size)
            sides = tuple(max(RESIZE_SIDE, int(side * scale)) for side in picture.size)
            left, top = ((side - CROP_SIZE) // 2 for side in sides)
            resized = picture.resize((sides[0], sides[1]), Image.Resampling.BILINEAR)
            cropped = resized.crop((left, top, left + CROP_SIZE, top + CROP_SIZE))
            rows.append((np.asarray(cropped, dtype=np.float32) / 255 - MEAN) / STD)
            labels.append(label)
    return torch.tensor(np.stack(rows), dtype=torch.float32).permute(0, 3, 1, 2), torch.tensor(labels)


def train(images: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [torch.nn.Conv2d(before, after, 3, stride=2, padding=1), torch.nn.ReLU()]
    network = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, len(CLASSES))
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(40):
        order = torch.randperm(len(images))
        for start in range(0, len(images), 32):
            rows = order[start : start + 32]
            optimizer.zero_grad()
            torch.autograd.backward(torch.nn.functional.cross_entropy(network(images[rows]), labels[rows]))
            optimizer.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_five_folders_of_pictures_become_an_int8_report_in_three_commands(
    run_assay: RunAssay, tmp_path: Path
) -> None:
    training = draw_folders(tmp_path / "training", 20, seed=1)
    held_out = draw_folders(tmp_path / "held out", 12, seed=2)
    network = train(*load_images(training))
    onnx_path, record = tmp_path / "model.onnx", tmp_path / "record.toml"
    example = torch.zeros(1, 3, CROP_SIZE, CROP_SIZE)
    torch.onnx.export(
        network, (example,), onnx_path, input_names=["image"], dynamic_axes={"image": {0: "n"}}, dynamo=False
    )
    images, labels = load_images(held_out)
    with torch.no_grad():
        expected = int((network(images).argmax(1) == labels).sum())
    assert expected >= 45  # of 60: it has learned them

    settings = {
        "resize": '"short side"',
        "resize_side": RESIZE_SIDE,
        "resize_filter": '"bilinear"',
        "crop_size": CROP_SIZE,
        "mean": list(MEAN),
        "std": list(STD),
    }
    lines = [part for key, value in settings.items() for part in ("--set", f"preprocessing.{key}={value}")]
    done = run_assay("inspect", onnx_path, *lines, "-o", record)
    assert done.returncode == 0, done.stderr

    run = ["run", "--precision", "int8", "--weights", onnx_path, "--model", record, "--images", held_out]
    run += ["--calibration", training, "--batch-size", "1,4", "--seconds", "1", "-o", tmp_path / "run"]
    refused = run_assay(*run)
    assert refused.returncode == 5
    assert "--classes sorted" in refused.stderr
    assert "0 blue square, 1 green triangle" in refused.stderr
    done = run_assay(*run, "--classes", "sorted")
    assert done.returncode == 0, done.stderr
    assert run_assay("report", tmp_path / "run").returncode == 0

    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    both, lost = (metrics["agreement"]["paired"][key] for key in ("both_count", "lost_count"))
    assert both + lost == expected  # the float model, by OpenVINO
    assert [row["name"] for row in metrics["per_class"]] == list(CLASSES)
    for report in ("report.md", "report.html"):
        text = (tmp_path / "run" / report).read_text()
        assert all(name in text for name in CLASSES)
        assert "Top-1" in text
        assert "Top-5" not in text
    assert "Top-5" not in done.stdout
