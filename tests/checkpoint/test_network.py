from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from assay.checkpoint.network import SEResNeXt50
from narrow_network import build_narrow

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="module")
def network() -> SEResNeXt50:
    """A network of few channels, whose statistics are not the trivial 0 and 1."""
    generator = torch.Generator().manual_seed(5)
    with build_narrow():
        network = SEResNeXt50().eval().requires_grad_(False)
    for key, tensor in network.state_dict().items():
        if key.endswith("running_mean"):
            tensor.uniform_(-0.1, 0.1, generator=generator)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim < 2:
            tensor.uniform_(0.2, 1.0, generator=generator)
        elif tensor.is_floating_point():
            bound = math.sqrt(3 / tensor[0].numel())  # keeps the signal's variance
            tensor.uniform_(-bound, bound, generator=generator)
    return network


@pytest.fixture(scope="module")
def real_network() -> SEResNeXt50:
    """The network with all its channels, for its names and shapes alone."""
    with torch.device("meta"):
        return SEResNeXt50()


def draw_images(side: int) -> Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(6))


def compute_logits(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """Return the logits as the two papers and Cadene's description of the layers define them."""

    def norm(x: Tensor, name: str) -> Tensor:
        shape = (1, -1, 1, 1)
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale = weights[f"{name}.weight"] / torch.sqrt(variance + 1e-5)
        return (x - mean.view(shape)) * scale.view(shape) + weights[f"{name}.bias"].view(shape)

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        out = norm(functional.conv2d(x, weights[f"{name}.conv1.weight"]), f"{name}.bn1").clamp(min=0)
        out = functional.conv2d(out, weights[f"{name}.conv2.weight"], stride=stride, padding=1, groups=32)
        out = norm(out, f"{name}.bn2").clamp(min=0)
        out = norm(functional.conv2d(out, weights[f"{name}.conv3.weight"]), f"{name}.bn3")
        squeezed = out.mean(dim=(2, 3))
        for fc in ("fc1", "fc2"):
            weight, bias = weights[f"{name}.se_module.{fc}.weight"], weights[f"{name}.se_module.{fc}.bias"]
            squeezed = squeezed @ weight[:, :, 0, 0].T + bias
            squeezed = squeezed.clamp(min=0) if fc == "fc1" else 1 / (1 + torch.exp(-squeezed))
        if f"{name}.downsample.0.weight" in weights:
            x = functional.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=stride)
            x = norm(x, f"{name}.downsample.1")
        return (out * squeezed[:, :, None, None] + x).clamp(min=0)

    x = functional.conv2d(images, weights["layer0.conv1.weight"], stride=2, padding=3)
    x = norm(x, "layer0.bn1").clamp(min=0)
    x = functional.max_pool2d(x, 3, stride=2, ceil_mode=True)
    for stage, block_count in enumerate((3, 4, 6, 3), start=1):
        for index in range(block_count):
            x = block(x, f"layer{stage}.{index}", stride=2 if index == 0 and stage > 1 else 1)
    return x.mean(dim=(2, 3)) @ weights["last_linear.weight"].T + weights["last_linear.bias"]


def test_network_has_the_published_number_of_parameters(real_network: SEResNeXt50) -> None:
    assert sum(parameter.numel() for parameter in real_network.parameters()) == 27_559_896


def test_state_dict_has_384_entries_of_which_53_are_batch_counters(real_network: SEResNeXt50) -> None:
    keys = list(real_network.state_dict())
    assert len(keys) == 384
    assert len([key for key in keys if not key.endswith("num_batches_tracked")]) == 331


def test_state_dict_has_cadenes_names_shapes_and_order(
    real_network: SEResNeXt50, cadene_shapes: Shapes
) -> None:
    found = [(key, tuple(tensor.shape)) for key, tensor in real_network.state_dict().items()]
    assert found == list(cadene_shapes.items())


def test_logits_equal_those_of_the_formulas(network: SEResNeXt50) -> None:
    images = draw_images(96)
    expected = compute_logits(network.state_dict(), images)
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_pool_equals_the_original_7x7_average_pool_at_224(network: SEResNeXt50) -> None:
    images = draw_images(224)[:1]
    features = images
    for layer in (network.layer0, network.layer1, network.layer2, network.layer3, network.layer4):
        features = layer(features)
    expected = functional.avg_pool2d(features, kernel_size=7, stride=1).view(1, -1)
    torch.testing.assert_close(network.pool_features(images), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("side", [64, 97, 256])
def test_other_input_sizes_give_logits(network: SEResNeXt50, side: int) -> None:
    assert network(draw_images(side)).shape == (2, 1000)


def test_class_count_is_the_height_of_the_last_layer() -> None:
    with torch.device("meta"):
        network = SEResNeXt50(class_count=10)
    assert network.last_linear.weight.shape == (10, 2048)
