"""Seeded weights for networks of other libraries, such that the logits tell images apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def draw_seeded_weights(network: Any, images: Tensor) -> None:
    """Draw every weight of the network, and take BatchNorm's statistics of the images; then eval mode.

    Libraries begin with weights whose logits are nearly the same for every image.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            drawn = torch.rand(tensor.shape, generator=generator) - 0.5
            if tensor.dim() > 1:
                tensor.copy_(drawn * 2 * (6 / tensor[0].numel()) ** 0.5)
            else:  # scales and variances, or offsets
                tensor.copy_(1 + drawn / 2 if name.endswith(("weight", "var")) else drawn / 10)
        norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        network.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # an average instead of a decaying one
            norm.train()
        if norms:
            network(images)
        network.eval()
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        last.bias.sub_(network(images).mean(dim=0))  # or one class would win whatever the image
