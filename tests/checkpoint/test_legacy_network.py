"""Our SE-ResNeXt-50 and timm's legacy_seresnext50_32x4d are the same network."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from assay.checkpoint.load import load_checkpoint
from assay.models.record import ModelRecord
from seeded_network import draw_seeded_weights


@pytest.mark.slow
def test_the_same_weights_give_the_same_logits_in_timms_network(record: ModelRecord, tmp_path: Path) -> None:
    import timm

    coarse = torch.randn(4, 3, 7, 7, generator=torch.Generator().manual_seed(3))
    images = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic")
    network = timm.create_model("legacy_seresnext50_32x4d")
    draw_seeded_weights(network, images)
    save_file(network.state_dict(), tmp_path / "w.safetensors")  # by the names that both have
    timms = msgspec.structs.replace(record, architecture="timm/legacy_seresnext50_32x4d")
    with torch.inference_mode():
        ours, theirs = (
            load_checkpoint(tmp_path / "w.safetensors", each).network(images) for each in (record, timms)
        )
    assert ours.std(dim=0).min() > 0.01
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
