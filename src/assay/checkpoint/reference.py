"""Runs the torch network itself, as the reference that compiled models are compared with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from assay.arrays import Images, Logits


class ReferenceSession:
    """A torch network on the CPU in float32, called the way a compiled model's session is."""

    concurrency = 1  # torch keeps all processors busy with one call

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def run(self, images: Images) -> Logits:
        """Return the logits, float32 (N, classes), of images, float32 (N, channels, H, W)."""
        with torch.inference_mode():
            logits: Logits = self._network(torch.from_numpy(images)).numpy()  # (N, classes)
        return logits

    def close(self) -> None:
        """Do nothing: the network is the caller's."""


def save_checkpoint(network: nn.Module, path: Path) -> None:
    """Write the network's parameters and statistics as an ordinary torch checkpoint."""
    torch.save(network.state_dict(), path)
