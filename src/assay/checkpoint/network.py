"""The SE-ResNeXt-50 32x4d network, with the parameter names and shapes of Cadene's checkpoint.

A ResNeXt-50 (Xie et al., arXiv 1611.05431) whose every block ends in a squeeze-and-excitation gate
(Hu et al., arXiv 1709.01507). N is the batch; H and W are the input's height and width.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

CARDINALITY = 32  # groups of the 3x3 convolution
GROUP_WIDTH = 4  # channels a group has in the first stage
EXPANSION = 4  # a block gives this many times its planes
SE_REDUCTION = 16
BLOCKS_PER_STAGE = (3, 4, 6, 3)
PLANES_PER_STAGE = (64, 128, 256, 512)


class SqueezeExcitation(nn.Module):
    """Scales every channel by a gate in (0, 1) that is computed from all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, channels // SE_REDUCTION, kernel_size=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv2d(channels // SE_REDUCTION, channels, kernel_size=1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, features: Tensor) -> Tensor:
        """The features, (N, C, h, w), times their gates."""
        gate: Tensor = self.avg_pool(features)  # (N, C, 1, 1)
        gate = self.relu(self.fc1(gate))  # (N, C / 16, 1, 1)
        gate = self.sigmoid(self.fc2(gate))  # (N, C, 1, 1)
        return features * gate  # (N, C, h, w)


class Bottleneck(nn.Module):
    """1x1 convolution, grouped 3x3 convolution (with the stride), 1x1 convolution, gate, shortcut."""

    def __init__(self, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        width = planes * GROUP_WIDTH // 64 * CARDINALITY
        out_channels = planes * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width, width, kernel_size=3, stride=stride, padding=1, groups=CARDINALITY, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.se_module = SqueezeExcitation(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """(N, 4 * planes, h / stride, w / stride) for features of (N, C, h, w)."""
        out = self.relu(self.bn1(self.conv1(features)))  # (N, width, h, w)
        out = self.relu(self.bn2(self.conv2(out)))  # (N, width, h / stride, w / stride)
        out = self.bn3(self.conv3(out))  # (N, 4 * planes, h / stride, w / stride)
        shortcut = features if self.downsample is None else self.downsample(features)
        activated: Tensor = self.relu(self.se_module(out) + shortcut)
        return activated


def build_stage(in_channels: int, planes: int, block_count: int, stride: int) -> nn.Sequential:
    """One stage of blocks; the first has the stride and widens to 4 * planes channels."""
    first = Bottleneck(in_channels, planes, stride)
    rest = [Bottleneck(planes * EXPANSION, planes, 1) for _ in range(block_count - 1)]
    return nn.Sequential(first, *rest)


class SEResNeXt50(nn.Module):
    """SE-ResNeXt-50 32x4d: images in, logits out; 27,559,896 parameters with 1000 classes.

    The pool before the classifier is global, which equals the original's fixed 7x7 pool on 224x224
    input and takes other input sizes too.

    Args:
        class_count: Number of classes, the rows of the last layer.
    """

    def __init__(self, class_count: int = 1000) -> None:
        super().__init__()
        self.layer0 = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False),
                bn1=nn.BatchNorm2d(64),
                relu1=nn.ReLU(inplace=True),
                pool=nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
            )
        )
        planes, blocks = PLANES_PER_STAGE, BLOCKS_PER_STAGE
        self.layer1 = build_stage(64, planes[0], blocks[0], stride=1)
        self.layer2 = build_stage(planes[0] * EXPANSION, planes[1], blocks[1], stride=2)
        self.layer3 = build_stage(planes[1] * EXPANSION, planes[2], blocks[2], stride=2)
        self.layer4 = build_stage(planes[2] * EXPANSION, planes[3], blocks[3], stride=2)
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.last_linear = nn.Linear(planes[3] * EXPANSION, class_count)

    def pool_features(self, images: Tensor) -> Tensor:
        """What the classifier sees, (N, 2048), for images of (N, 3, H, W)."""
        features = self.layer0(images)  # (N, 64, H / 4, W / 4)
        features = self.layer1(features)  # (N, 256, H / 4, W / 4)
        features = self.layer2(features)  # (N, 512, H / 8, W / 8)
        features = self.layer3(features)  # (N, 1024, H / 16, W / 16)
        features = self.layer4(features)  # (N, 2048, H / 32, W / 32)
        return torch.flatten(self.avg_pool(features), 1)  # (N, 2048)

    def forward(self, images: Tensor) -> Tensor:
        """The logits, (N, classes), for normalised images of (N, 3, H, W)."""
        logits: Tensor = self.last_linear(self.pool_features(images))  # (N, classes)
        return logits


ARCHITECTURES = {"se_resnext50_32x4d": SEResNeXt50}
"""The networks that checkpoints can be loaded into, by the name a model record gives."""
