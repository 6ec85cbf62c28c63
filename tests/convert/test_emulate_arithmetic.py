"""What rounding does to a small network is what torch's own narrow types do to it, tensor by tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from assay.convert.emulate_arithmetic import FloatArithmetic, add_peaks, emulate_arithmetic, list_stored
from assay.convert.saturate_sums import saturate_sums
from assay.engines.onnxruntime.tensors import compute_outputs
from assay.errors import BadModelError

RNG = np.random.default_rng(11)
IMAGES = RNG.normal(size=(4, 3, 6, 6)).astype(np.float32)
FIRST, SECOND = (RNG.normal(size=(4, n, 1, 1)).astype(np.float32) for n in (3, 4))
BIAS = RNG.normal(size=4).astype(np.float32)


def make_model(nodes: list[Any], weights: dict[str, np.ndarray], opset: int = 17) -> Any:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *IMAGES.shape[1:]])],
        [helper.make_tensor_value_info("class", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def make_block(scale: float = 1.0) -> Any:
    """A convolution with its Relu, a second one added to what the first gave."""
    nodes = [
        helper.make_node("Conv", ["image", "first", "bias"], ["wide"], name="one"),
        helper.make_node("Relu", ["wide"], ["half"], name="act"),
        helper.make_node("Conv", ["half", "second"], ["more"], name="two"),
        helper.make_node("Add", ["more", "half"], ["sum"], name="add"),
        helper.make_node("Conv", ["sum", "second"], ["class"], name="last"),
    ]
    return make_model(nodes, {"first": FIRST * np.float32(scale), "second": SECOND, "bias": BIAS})


def compute(model: Any) -> np.ndarray:
    outputs: np.ndarray = compute_outputs(model.SerializeToString(), IMAGES)["class"]
    return outputs


def compute_in_torch(kind: torch.dtype, scale: float = 1.0) -> np.ndarray:
    """Every stored tensor in the narrow type, every sum in float32."""

    def narrow(values: torch.Tensor | np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values).to(kind).float()

    first, second = narrow(FIRST * np.float32(scale)), narrow(SECOND)
    half = narrow(functional.relu(functional.conv2d(narrow(IMAGES), first, narrow(BIAS))))
    added = narrow(functional.conv2d(half, second) + half)
    return functional.conv2d(added, second).numpy()


@pytest.mark.parametrize(("arithmetic", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_stored_tensors_are_rounded_as_torch_rounds_them(
    arithmetic: FloatArithmetic, kind: torch.dtype
) -> None:
    expected, exact = compute_in_torch(kind), compute_in_torch(torch.float32)
    found = compute(emulate_arithmetic(make_block(), arithmetic))
    assert np.abs(expected - exact).max() > 100 * np.abs(expected - found).max()


def test_what_is_beyond_the_range_of_fp16_is_infinite_there_and_the_peak_says_so() -> None:
    model = make_block(scale=1e5)
    assert np.isfinite(compute(model)).all()
    assert not np.isfinite(compute(emulate_arithmetic(model, "fp16"))).all()
    assert np.isfinite(compute(emulate_arithmetic(model, "bf16"))).all()
    stored = list_stored(model)
    assert stored == ["image", "half", "sum"]
    peaks = compute_outputs(add_peaks(model, stored).SerializeToString(), IMAGES)
    first = torch.as_tensor(FIRST * np.float32(1e5))
    exact = functional.relu(functional.conv2d(torch.as_tensor(IMAGES), first, torch.as_tensor(BIAS)))
    assert peaks["peak.1"] == pytest.approx(exact.flatten(1).max(dim=1).values.numpy(), rel=1e-5)
    assert peaks["peak.1"].max() > 65504


def test_tf32_rounds_what_is_multiplied_to_ten_bits_and_no_sum() -> None:
    nodes = [helper.make_node("Conv", ["image", "first"], ["class"], name="one")]
    found = compute(emulate_arithmetic(make_model(nodes, {"first": FIRST}), "tf32"))
    images, first = (
        torch.as_tensor((value.view(np.int32) + 0x1000 & ~0x1FFF).view(np.float32))
        for value in (IMAGES, FIRST)
    )
    assert found == pytest.approx(functional.conv2d(images, first).numpy(), abs=1e-6)
    assert np.abs(found - compute(make_model(nodes, {"first": FIRST}))).max() > 1e-5


def test_silu_is_one_kernel_with_its_convolution() -> None:
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["wide"], name="one"),
        helper.make_node("Sigmoid", ["wide"], ["gate"], name="gate"),
        helper.make_node("Mul", ["wide", "gate"], ["half"], name="act"),
        helper.make_node("Conv", ["half", "second"], ["class"], name="two"),
    ]
    assert list_stored(make_model(nodes, {"first": FIRST, "second": SECOND})) == ["image", "half"]


def make_quantised(weights: np.ndarray, zero_point: int, **attributes: Any) -> Any:
    """A convolution of int8 on unsigned activations with scale 1/8."""
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["bytes"]),
        helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["fed"]),
        helper.make_node("DequantizeLinear", ["weights", "scales"], ["held"], axis=0),
        helper.make_node("Conv", ["fed", "held"], ["class"], name="layer", **attributes),
    ]
    constants: dict[str, np.ndarray] = {
        "weights": weights,
        "scales": np.linspace(0.01, 0.02, len(weights)).astype(np.float32),
        "scale": np.array(0.125, np.float32),
        "zero": np.array(zero_point, np.uint8),
    }
    return make_model(nodes, constants)


@pytest.mark.parametrize("zero_point", [0, 40])
def test_sums_of_two_saturate_as_vpmaddubsw_does(zero_point: int) -> None:
    """Against the instruction, written out: neighbouring channels, 16 bits."""
    weights = RNG.integers(90, 128, (5, 3, 3, 3)).astype(np.int8) * RNG.choice([-1, 1], (5, 1, 1, 1)).astype(
        np.int8
    )
    model = make_quantised(weights, zero_point, pads=[1] * 4)
    images = np.full_like(IMAGES, 30) + IMAGES
    raw = np.clip(np.rint(images / np.float32(0.125)) + zero_point, 0, 255).astype(np.int64)
    raw = np.pad(raw, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=zero_point)
    sums = np.zeros((4, 5, 6, 6), np.int64)
    for row in range(3):
        for column in range(3):
            seen = raw[:, :, row : row + 6, column : column + 6]
            terms = seen[:, None] * weights.astype(np.int64)[None, :, :, row, column, None, None]
            sums += np.clip(terms[:, :, 0] + terms[:, :, 1], -(2**15), 2**15 - 1) + terms[:, :, 2]
    sums -= zero_point * weights.astype(np.int64).sum(axis=(1, 2, 3))[:, None, None]
    expected = sums * np.linspace(0.01, 0.02, 5)[:, None, None] * 0.125
    saturated, counts = saturate_sums(model)
    found = compute_outputs(saturated.SerializeToString(), images)["class"]
    assert counts == {"layer": 45}
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-2)
    assert np.abs(compute_outputs(model.SerializeToString(), images)["class"] - expected).max() > 1


def test_weights_that_cannot_saturate_change_nothing() -> None:
    model = make_quantised(RNG.integers(-64, 65, (5, 3, 3, 3)).astype(np.int8), 0)
    saturated, counts = saturate_sums(model)
    assert counts == {}
    assert (compute(saturated) == compute(model)).all()


def test_a_file_of_the_other_kind_is_refused() -> None:
    with pytest.raises(BadModelError, match="not quantised"):
        saturate_sums(make_block())
    with pytest.raises(BadModelError, match="is quantised"):
        emulate_arithmetic(make_quantised(np.ones((1, 3, 1, 1), np.int8), 0), "fp16")
