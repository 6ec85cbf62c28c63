"""The published facts of Cadene's checkpoint, written down apart from the code under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from assay.checkpoint.network import SEResNeXt50
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from narrow_network import build_narrow

Shapes = dict[str, tuple[int, ...]]


def _batch_norm(name: str, channels: int) -> Shapes:
    statistics = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**statistics, f"{name}.num_batches_tracked": ()}


def _block(name: str, inputs: int, width: int, outputs: int) -> Shapes:
    shapes: Shapes = {
        f"{name}.conv1.weight": (width, inputs, 1, 1),
        **_batch_norm(f"{name}.bn1", width),
        f"{name}.conv2.weight": (width, width // 32, 3, 3),
        **_batch_norm(f"{name}.bn2", width),
        f"{name}.conv3.weight": (outputs, width, 1, 1),
        **_batch_norm(f"{name}.bn3", outputs),
        f"{name}.se_module.fc1.weight": (outputs // 16, outputs, 1, 1),
        f"{name}.se_module.fc1.bias": (outputs // 16,),
        f"{name}.se_module.fc2.weight": (outputs, outputs // 16, 1, 1),
        f"{name}.se_module.fc2.bias": (outputs,),
    }
    if inputs != outputs:
        shapes[f"{name}.downsample.0.weight"] = (outputs, inputs, 1, 1)
        shapes.update(_batch_norm(f"{name}.downsample.1", outputs))
    return shapes


@pytest.fixture(scope="session")
def cadene_shapes() -> Shapes:
    """Name and shape of the 384 entries, in their order."""
    shapes: Shapes = {"layer0.conv1.weight": (64, 3, 7, 7), **_batch_norm("layer0.bn1", 64)}
    inputs = 64
    stages = ((1, 3, 128, 256), (2, 4, 256, 512), (3, 6, 512, 1024), (4, 3, 1024, 2048))
    for stage, block_count, width, outputs in stages:
        for block in range(block_count):
            shapes.update(_block(f"layer{stage}.{block}", inputs, width, outputs))
            inputs = outputs
    shapes["last_linear.weight"] = (1000, 2048)
    shapes["last_linear.bias"] = (1000,)
    return shapes


@pytest.fixture(scope="module")
def narrow_network() -> Iterator[None]:
    """SE-ResNeXt-50 has few channels in the tests of a module: see tests/narrow_network.py."""
    with build_narrow():
        yield


@pytest.fixture(scope="session")
def thin_weights() -> dict[str, Tensor]:
    """All 384 entries of the narrow network, each a single number spread over its shape.

    The n-th entry is n / 1024, which float16 and bfloat16 hold to within 0.4 %.
    """
    with build_narrow(), torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in SEResNeXt50().state_dict().items()}
    return {
        key: torch.tensor(7) if key.endswith("num_batches_tracked") else torch.tensor(n / 1024).expand(shape)
        for n, (key, shape) in enumerate(shapes.items())
    }


@pytest.fixture(scope="session")
def record() -> ModelRecord:
    return read_model_record("se_resnext50_32x4d")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that saves anything with torch.save and gives the path."""

    def save_content(content: object, *, legacy: bool = False, pickle_protocol: int = 2) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(content, path, pickle_protocol=pickle_protocol, _use_new_zipfile_serialization=not legacy)
        return path

    return save_content
