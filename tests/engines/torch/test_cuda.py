"""What the torch engine promises of NVIDIA's GPUs, as far as that can be told without one.

`scripts/device_check.sh` holds it to the contract of engines where there is one.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from assay.engines.engine import CompileChoice, CompileOptions
from assay.engines.torch.arithmetic import choose_algorithms
from assay.engines.torch.cuda_session import round_up
from assay.engines.torch.engine import TorchEngine
from assay.engines.torch.normalise import Normalise
from assay.errors import MissingRuntimeError, UsageError
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord
from assay.workflows.evaluate.evaluate import make_predictor
from compiling import compile_with
from conftest import give_colour_order

NO_CUDA = "torch finds no device cuda"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch says of a machine with two GPUs of 2018; none of them computes."""
    said = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_name": lambda _number: "Tesla T4",
        "get_device_capability": lambda _number: (7, 5),
    }
    for name, answer in said.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr("assay.engines.torch.devices._try_device", lambda _device: None)


def resolve(record: ModelRecord, **chosen: Any) -> CompileOptions:
    return TorchEngine().resolve(CompileChoice(engine="torch", **chosen), record)


@pytest.mark.parametrize("colour_order", ["RGB", "BGR"])
@pytest.mark.parametrize(
    "changed", [{}, {"arithmetic": "multiply"}, {"arithmetic": "fused"}, {"std_twice": True}]
)
def test_normalisation_on_the_device_is_the_hosts_bit_for_bit(
    se_resnext50: ModelRecord, changed: dict[str, Any], colour_order: str
) -> None:
    record = give_colour_order(se_resnext50, colour_order)
    preprocessing = msgspec.structs.replace(record.preprocessing, **changed)
    record = msgspec.structs.replace(record, preprocessing=preprocessing)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    images = Normalise(record, "cpu", torch.float32)(torch.from_numpy(pixels))
    assert images.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(images.numpy(), normalise_pixels(pixels, record))


def test_half_precisions_get_the_hosts_images_rounded_once(se_resnext50: ModelRecord) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    for dtype in (torch.float16, torch.bfloat16):
        images = Normalise(se_resnext50, "cpu", dtype)(torch.from_numpy(pixels))
        assert torch.equal(images, torch.from_numpy(normalise_pixels(pixels, se_resnext50)).to(dtype))


def test_few_graphs_serve_batches_of_any_size_with_little_padding() -> None:
    sizes = {count: round_up(count) for count in range(1, 257)}
    assert all(count <= size <= count * 9 / 8 for count, size in sizes.items())
    assert all(before <= after for before, after in pairwise(sizes.values()))
    assert len(set(sizes.values())) == 48


def test_fp32_on_a_gpu_is_without_tf32_and_half_precisions_add_up_in_float32() -> None:
    backends = torch.backends
    matmul, cudnn = backends.cuda.matmul, backends.cudnn
    before = (cudnn.benchmark, cudnn.deterministic)
    try:
        choose_algorithms(fastest=False)
        assert not (matmul.allow_tf32 or cudnn.allow_tf32)
        assert not (
            matmul.allow_fp16_reduced_precision_reduction or matmul.allow_bf16_reduced_precision_reduction
        )
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
    finally:
        cudnn.benchmark, cudnn.deterministic = before


@pytest.mark.parametrize("device", ["cuda", "CUDA", "cuda:0", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(se_resnext50: ModelRecord, device: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has an NVIDIA GPU")
    with pytest.raises(MissingRuntimeError, match=NO_CUDA):
        resolve(se_resnext50, device=device)


@pytest.mark.usefixtures("two_gpus")
def test_every_gpu_is_found_and_one_beyond_them_refused(se_resnext50: ModelRecord) -> None:
    assert list(TorchEngine().find_devices()) == ["cpu", "cuda", "cuda:1"]
    assert resolve(se_resnext50, device="cuda:0", precision="fp16").device == "cuda"
    assert resolve(se_resnext50, device="cuda:1", precision="fp16").device == "cuda:1"
    with pytest.raises(MissingRuntimeError, match="finds no device cuda:2; it finds 2: cuda, cuda:1"):
        resolve(se_resnext50, device="cuda:2")


@pytest.mark.usefixtures("two_gpus")
def test_a_precision_that_a_gpu_lacks_is_refused(se_resnext50: ModelRecord) -> None:
    with pytest.raises(MissingRuntimeError, match=r"Tesla T4\) does not compute in bf16.*7\.5"):
        resolve(se_resnext50, device="cuda", precision="bf16")


@pytest.mark.parametrize("device", ["cpu:1", "cuda:", "cuda:x", "cuda:-1", ":1"])
def test_a_number_that_is_none_is_refused(se_resnext50: ModelRecord, device: str) -> None:
    with pytest.raises(UsageError, match="engine torch does not run on"):
        resolve(se_resnext50, device=device)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "name", "value"),
    [("cpu", "streams", "2"), ("cpu", "algorithms", "fastest"), ("cuda", "threads", "2")],
)
def test_a_setting_of_the_other_device_is_refused(
    se_resnext50: ModelRecord, device: str, name: str, value: str
) -> None:
    with pytest.raises(UsageError, match=f"{name} is no setting of engine torch on {device}"):
        resolve(se_resnext50, device=device, precision="fp16", settings={name: value})


@pytest.mark.usefixtures("two_gpus")
def test_what_changes_answers_identifies_a_run_and_which_gpu_does_not(
    colour_checkpoint: Path, colour_record: ModelRecord, tmp_path: Path
) -> None:
    chosen: list[dict[str, Any]] = [
        {"device": "cuda"},
        {"device": "cuda:1", "settings": {"streams": "2"}},
        {"device": "cuda", "settings": {"algorithms": "fastest"}},
        {"device": "cuda", "settings": {"mode": "eager"}},
        {"device": "cuda", "settings": {"normalise": "on_host"}},
        {"device": "cpu"},
    ]
    identities = []
    for number, choice in enumerate(chosen):
        folder = tmp_path / str(number)
        folder.mkdir()
        compiled = compile_with(
            TorchEngine(), colour_checkpoint, folder, colour_record, precision="fp16", **choice
        )
        identities.append(make_predictor(folder, compiled, "predictions").identity)
    first, same, *others = identities
    assert first == same
    assert all(other != first for other in others)
