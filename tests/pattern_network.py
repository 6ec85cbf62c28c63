"""A network of patterns: photographs of coloured squares, and what recognises them, in NumPy."""

from __future__ import annotations

import functools

import msgspec
import numpy as np

from assay.arrays import Images, Logits
from assay.diagnose.view import Photograph, View, make_images
from assay.models.preprocessing import Preprocessing
from assay.models.record import InputTensor, ModelRecord, OutputTensor

CLASS_COUNT, SIDE, GRID = 40, 64, 8

RECORD = ModelRecord(
    schema_version=1,
    name="patterns",
    architecture="onnx only",
    input=InputTensor(name="image", channels=3, height=SIDE, width=SIDE, colour_order="RGB"),
    preprocessing=Preprocessing(
        resize_side=SIDE, resize_filter="bilinear", crop_size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
    output=OutputTensor(name="class", class_count=CLASS_COUNT),
)


def draw_patterns() -> np.ndarray:
    """What each class looks like, uint8 (classes, GRID, GRID, 3): pale, one channel brighter than another."""
    rng = np.random.default_rng(7)
    common = rng.integers(60, 160, (GRID, GRID, 3)) + np.array([40, 20, 0])
    patterns: np.ndarray = common + rng.integers(-30, 31, (CLASS_COUNT, GRID, GRID, 3))
    return patterns.astype(np.uint8)


def take_photographs(count: int, seed: int = 1) -> list[Photograph]:
    """Photographs of the patterns, wider than high, with noise; every class in turn."""
    rng, patterns = np.random.default_rng(seed), draw_patterns()
    photographs = []
    for number in range(count):
        label = number % CLASS_COUNT
        seen = patterns[label] + rng.normal(0, 70, (GRID, GRID, 3))
        square = seen.repeat(12, axis=0).repeat(12, axis=1)  # (96, 96, 3)
        edges = rng.integers(0, 256, (96, 20, 3))
        wide = np.concatenate([edges, square, edges], axis=1) + rng.normal(0, 20, (96, 136, 3))
        pixels = np.clip(wide, 0, 255).astype(np.uint8)
        photographs.append(Photograph(name=f"{number}.png", stored=pixels, label=label))
    return photographs


def recognise(images: Images) -> Logits:
    """The logits: how near images, normalised by 0.5 and 0.5, RGB, are to the mean of each class."""
    means, variance = _train()
    distances = ((_pool(images)[:, None] - means[None]) ** 2).sum(axis=(2, 3, 4))  # (N, classes)
    logits: Logits = (-distances / (2 * variance)).astype(np.float32)
    return logits


def _pool(images: Images) -> np.ndarray:
    """The mean of each cell of the grid, (N, 3, GRID, GRID)."""
    cell = SIDE // GRID
    pooled: np.ndarray = images.reshape(len(images), 3, GRID, cell, GRID, cell).mean(axis=(3, 5))
    return pooled


@functools.cache
def _train() -> tuple[np.ndarray, float]:
    """The mean of 50 photographs of each class, and the variance around it: as sure as it is right."""
    shown = _pool(make_images(take_photographs(50 * CLASS_COUNT, seed=2), View(record=RECORD)))
    by_class = shown.reshape(50, CLASS_COUNT, 3, GRID, GRID)
    means = by_class.mean(axis=0)
    return means, float(((by_class - means) ** 2).mean())


def change_record(**changes: object) -> ModelRecord:
    """The record with something else in its input or preprocessing."""
    keys = set(InputTensor.__struct_fields__)
    tensor = msgspec.structs.replace(RECORD.input, **{k: v for k, v in changes.items() if k in keys})
    made = msgspec.structs.replace(
        RECORD.preprocessing, **{k: v for k, v in changes.items() if k not in keys}
    )
    return msgspec.structs.replace(RECORD, input=tensor, preprocessing=made)
