"""Accuracy among some of a model's classes, beside that among all, through the real command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from assay.images.labels import read_synsets
from conftest import RunAssay


def test_accuracy_among_the_classes_of_the_images_is_that_of_their_logits_alone(
    run_assay: RunAssay, golden: Path, lite0_compiled: Path, tmp_path: Path
) -> None:
    labels = dict(line.split() for line in (golden / "labels.txt").read_text().splitlines())
    for name, label in labels.items():
        folder = tmp_path / "images" / f"{read_synsets()[int(label)]}_class"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(golden / "images" / name, folder)
    model = golden / "efficientnet_lite0"
    images = ["--images", tmp_path / "images"]
    done = run_assay("evaluate", lite0_compiled, *images, "--subset", "images", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr

    logits = np.load(model / "logits.npy")  # (100, 1000), of the images in the order of names.txt
    names = (model / "names.txt").read_text().split()
    right = np.array(
        [int({Path(key).stem: key_label for key, key_label in labels.items()}[n]) for n in names]
    )
    chosen = np.unique(right)
    order = np.argsort(-logits[:, chosen], axis=1, kind="stable")[:, :5]  # (100, 5)
    ranked = chosen[order]
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["subset"]["class_count"] == len(chosen) == 100
    assert found["subset"]["top1"]["hits"] == int((ranked[:, 0] == right).sum())
    assert found["subset"]["top5"]["hits"] == int((ranked == right[:, None]).any(axis=1).sum())
    assert found["accuracy"]["top1"]["hits"] == int((logits.argmax(axis=1) == right).sum()) == 89
    for text in (done.stdout, (tmp_path / "run" / "report.md").read_text()):
        assert "Top-1 of all 1,000 classes  89 of 100" in text
        assert "Top-1 of the 100 classes of these images  96 of 100" in text

    changed = ["--subset", "none", "-o", tmp_path / "run", "--resume"]
    refused = run_assay("evaluate", lite0_compiled, *images, *changed)
    assert (refused.returncode, "the class subset" in refused.stderr) == (2, True)
