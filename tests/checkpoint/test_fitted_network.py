from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from assay.arrays import Images
from assay.checkpoint.fitted_network import fit_last_layer, fit_network, seed_network, solve_ridge
from assay.checkpoint.network import SEResNeXt50
from assay.errors import BadImagesError
from narrow_network import build_narrow

pytestmark = pytest.mark.usefixtures("narrow_network")
LABELS = np.array([7, 300, 999] * 8)


def make_tinted_images(seed: int) -> Images:
    """One colour channel is brighter than the others: which one is the class."""
    images = np.random.default_rng(seed).normal(0, 0.7, (len(LABELS), 3, 64, 64)).astype(np.float32)
    images[np.arange(len(LABELS)), np.arange(len(LABELS)) % 3] += 1.0
    return images


@pytest.fixture(scope="module")
def fitted() -> SEResNeXt50:
    with build_narrow():
        return fit_network(make_tinted_images(0), LABELS, seed=1)


@pytest.fixture(scope="module")
def logits(fitted: SEResNeXt50) -> Tensor:
    """What it says of images that it was not fitted to."""
    with torch.inference_mode():
        return fitted(torch.from_numpy(make_tinted_images(9)))  # type: ignore[no-any-return]


def test_it_classifies_images_it_was_not_fitted_to(logits: Tensor) -> None:
    assert (logits.argmax(1).numpy() == LABELS).mean() > 0.8


def test_logits_are_of_a_natural_size(logits: Tensor) -> None:
    assert 3 < logits.max() < 30
    assert -30 < logits.min() < -3


def test_classes_without_images_never_win(fitted: SEResNeXt50) -> None:
    noise = 20 * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        logits = fitted(noise)  # (4, 1000)
    assert set(logits.argmax(1).tolist()) <= {7, 300, 999}


def test_no_two_classes_are_tied(logits: Tensor) -> None:
    assert len(set(logits[0].tolist())) == 1000


def test_result_is_in_evaluation_mode(fitted: SEResNeXt50) -> None:
    assert not any(module.training for module in fitted.modules())


def test_batchnorm_statistics_are_those_of_the_images(fitted: SEResNeXt50) -> None:
    state = fitted.state_dict()
    images, weight = torch.from_numpy(make_tinted_images(0)), state["layer0.conv1.weight"]
    seen = conv2d(images, weight, stride=2, padding=3)  # (24, 64, 32, 32)
    torch.testing.assert_close(state["layer0.bn1.running_mean"], seen.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(state["layer0.bn1.running_var"], seen.var((0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_a_seed_gives_the_same_network(fitted: SEResNeXt50) -> None:
    again = fit_network(make_tinted_images(0), LABELS, seed=1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in fitted.state_dict().items())


def test_another_seed_gives_other_weights() -> None:
    one, other = (seed_network(seed).state_dict()["layer4.0.conv1.weight"] for seed in (1, 2))
    assert not torch.equal(one, other)


def test_torchs_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    seed_network(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_numpys_random_state_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    seed_network(5)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_ridge_has_no_slope_left_in_its_penalised_error() -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.normal(2, 1, (12, 30)), rng.normal(0, 1, (12, 4))
    weight, bias = (torch.tensor(value, requires_grad=True) for value in solve_ridge(features, targets))
    spread = torch.tensor(features - features.mean(0))
    penalty = 0.1 * spread.square().sum() / 12
    wanted = torch.tensor(targets - targets.mean(1, keepdims=True))
    error = (torch.tensor(features) @ weight.T + bias - wanted).square().sum()
    (error + penalty * weight.square().sum()).backward()
    for value in (weight, bias):
        torch.testing.assert_close(value.grad, torch.zeros_like(value), rtol=0, atol=1e-9)


def test_classes_without_images_stay_4_below_the_best() -> None:
    rng = np.random.default_rng(0)
    weight, bias = fit_last_layer(rng.normal(size=(24, 2048)), LABELS, rng)
    logits = 50 * rng.normal(size=(9, 2048)) @ weight.T + bias  # (9, 1000)
    unseen = np.delete(logits, [7, 300, 999], axis=1)  # (9, 997)
    assert np.all(unseen.max(1) <= logits[:, [7, 300, 999]].max(1) - 4 + 1e-9)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 3, 64, 64)), [1, 2, 1, 2], "found float64"),
        (np.zeros((4, 1, 64, 64), np.float32), [1, 2, 1, 2], r"found float32 \(4, 1, 64, 64\)"),
        (np.zeros((4, 3, 64, 64), np.float32), [1, 2, 1], r"found int64 \(3,\)"),
        (np.zeros((4, 3, 64, 64), np.float32), [1.0, 2.0, 1.0, 2.0], "found float64"),
        (np.zeros((4, 3, 64, 64), np.float32), [1, 1, 1, 1], "found 1 different"),
        (np.zeros((4, 3, 64, 64), np.float32), [1, 1000, 1, 1], "1000"),
        (np.zeros((4, 3, 64, 64), np.float32), [-1, 1, 1, 1], "-1"),
        (np.full((4, 3, 64, 64), np.nan, np.float32), [1, 2, 1, 2], "NaN"),
    ],
)
def test_images_that_cannot_be_fitted_to_are_refused(
    images: npt.NDArray[Any], labels: list[int], message: str
) -> None:
    with pytest.raises(BadImagesError, match=message):
        fit_network(images, np.array(labels), seed=0)
