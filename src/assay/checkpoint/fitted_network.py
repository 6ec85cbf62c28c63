"""An SE-ResNeXt-50 that classifies given images without training: random weights, fitted last layer.

What a random network sees is projected on the classes by ridge regression, in closed form. N is the
number of images, K the number of classes among them and C = 2048 the number of pooled features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from assay.arrays import Images
from assay.checkpoint.network import Bottleneck, SEResNeXt50
from assay.errors import BadImagesError

CLASS_COUNT = 1000
BRANCH_SCALE = 0.2  # small last scales in the blocks carry what the input says past 16 random blocks
STATISTICS_IMAGES = 60  # BatchNorm is measured on as many: the pass in training mode is the slow one
STATISTICS_BATCH = 20
FEATURE_BATCH = 4  # on two cores batches of 4 ran 1.5 times as fast as batches of 16
RIDGE = 0.1  # of the mean squared length of the centred features
LOGIT_SCALE = 16.0  # a fitted image's own class is near 15, as in trained networks
UNSEEN_MARGIN = 4.0  # by how much a class without images stays below the best of the others

FloatArray = npt.NDArray[np.float64]


def fit_network(images: Images, label_indices: npt.NDArray[np.integer], *, seed: int) -> SEResNeXt50:
    """A network of 1000 classes, in evaluation mode, that is fitted to these images.

    Labels without images never win: their logits are averages of the others', less a margin. One seed
    gives one network on one machine and thread count; torch's own random state is left as it was. The
    BatchNorm statistics come from the first 60 images, so those should hold all classes.

    Args:
        images: float32 (N, 3, H, W), normalised; 240 images of 224x224 take 40 s on two cores.
        label_indices: Integers (N,), 0 to 999, at least two different ones.
        seed: Of the random weights, 0 or more.

    Raises:
        BadImagesError: Images and labels do not fit together or cannot be told apart.
    """
    check_labelled_images(images, label_indices)
    network = seed_network(seed)
    measure_batchnorm(network, images[:STATISTICS_IMAGES])
    features = compute_features(network, images)  # (N, C)
    weight, bias = fit_last_layer(features, label_indices, np.random.default_rng(seed))
    with torch.no_grad():
        network.last_linear.weight.copy_(torch.from_numpy(weight))
        network.last_linear.bias.copy_(torch.from_numpy(bias))
    return network


def check_labelled_images(images: Images, label_indices: npt.NDArray[np.integer]) -> None:
    """Raise unless there is one label, 0 to 999, for each image, and more than one class.

    Args:
        images: float32 (N, 3, H, W), finite.
        label_indices: Integers (N,).

    Raises:
        BadImagesError: They are not so.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.float32:
        found = f"{images.dtype} {images.shape}"
        raise BadImagesError(f"images to fit a network to: expected float32 (N, 3, H, W), found {found}")
    if label_indices.shape != (len(images),) or not np.issubdtype(label_indices.dtype, np.integer):
        found = f"{label_indices.dtype} {label_indices.shape}"
        raise BadImagesError(f"labels to fit to: expected integers ({len(images)},), found {found}")
    labels = np.unique(label_indices)
    if len(labels) < 2 or labels[0] < 0 or labels[-1] >= CLASS_COUNT:
        found = f"{len(labels)} different ones: {labels[:5].tolist()} and so on"
        raise BadImagesError(f"labels to fit to: expected two or more of 0 to 999, found {found}")
    if not np.isfinite(images).all():
        raise BadImagesError("images to fit a network to: expected finite values, found NaN or infinity")


def seed_network(seed: int) -> SEResNeXt50:
    """A network with He's normal weights (arXiv 1502.01852) and small residual branches.

    The layers with a bias, which are the gates and the classifier, keep torch's uniform weights.

    Args:
        seed: Of the weights, 0 or more.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
        network = SEResNeXt50(CLASS_COUNT)
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, Bottleneck):
                nn.init.constant_(module.bn3.weight, BRANCH_SCALE)
    return network


def measure_batchnorm(network: SEResNeXt50, images: Images) -> None:
    """Set the running statistics of every BatchNorm to those of the images; then evaluation mode.

    Each is the plain average over batches of about 20 images.

    Args:
        network: Its running statistics are replaced.
        images: float32 (N, 3, H, W), normalised.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # an average of all batches instead of a decaying one
    network.train()
    with torch.inference_mode():
        for batch in np.array_split(images, max(1, len(images) // STATISTICS_BATCH)):
            network.pool_features(torch.tensor(batch))  # a copy, since the images may be read-only
    for layer in layers:
        layer.momentum = 0.1  # torch's default again
    network.eval()


def compute_features(network: SEResNeXt50, images: Images) -> FloatArray:
    """What the last layer is given, float64 (N, C), for float32 images (N, 3, H, W)."""
    starts = range(0, len(images), FEATURE_BATCH)
    with torch.inference_mode():
        parts = [network.pool_features(torch.tensor(images[i : i + FEATURE_BATCH])) for i in starts]
    return np.asarray(torch.cat(parts), dtype=np.float64)  # (N, C)


def fit_last_layer(
    features: FloatArray, label_indices: npt.NDArray[np.integer], rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """The weight, (1000, C), and bias, (1000,), of a last layer fitted to these features.

    The K classes that occur get the ridge regression on their centred indicators; these K logits add up
    to 0 for any image, so the largest is never negative. Every other class gets a random average of
    them less `UNSEEN_MARGIN`: it is below the largest by as much, and no two classes are tied.

    Args:
        features: float64 (N, C).
        label_indices: Integers (N,), 0 to 999.
        rng: Chooses the averages.
    """
    labels, columns = np.unique(label_indices, return_inverse=True)
    seen_weight, seen_bias = solve_ridge(features, LOGIT_SCALE * np.eye(len(labels))[columns])
    mixing = rng.dirichlet(np.ones(len(labels)), CLASS_COUNT)  # (1000, K), rows add up to 1
    mixing[labels] = np.eye(len(labels))
    margins = np.full(CLASS_COUNT, UNSEEN_MARGIN)
    margins[labels] = 0
    return mixing @ seen_weight, mixing @ seen_bias - margins  # (1000, C), (1000,)


def solve_ridge(features: FloatArray, targets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weight, (K, C), and bias, (K,), that minimise the squared error plus a ridge penalty.

    The targets' rows are taken less their mean, so every row of outputs adds up to 0. Solved in its dual
    form, N x N, since N < C (Hastie et al., The Elements of Statistical Learning, 2nd edition, 18.3.5).

    Args:
        features: float64 (N, C).
        targets: float64 (N, K).
    """
    centre = features.mean(axis=0)  # (C,)
    centred = features - centre  # (N, C)
    targets = targets - targets.mean(axis=1, keepdims=True)  # (N, K)
    offset = targets.mean(axis=0)  # (K,)
    gram = centred @ centred.T  # (N, N)
    penalty = RIDGE * np.trace(gram) / len(gram)
    dual = np.linalg.solve(gram + penalty * np.eye(len(gram)), targets - offset)  # (N, K)
    weight = dual.T @ centred  # (K, C)
    return weight, offset - weight @ centre


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write the network's parameters and statistics as an ordinary torch checkpoint."""
    torch.save(network.state_dict(), path)
