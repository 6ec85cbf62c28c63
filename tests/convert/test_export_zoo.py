"""ONNX files made of networks of timm and transformers, at the ends of the opsets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from assay.checkpoint.zoo import LogitsAlone
from assay.convert.export_onnx import export_onnx
from assay.errors import BadModelError
from assay.models.record import ModelRecord

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def make_network(library: str) -> nn.Module:
    import timm
    import transformers

    torch.manual_seed(0)
    if library == "timm":
        network: nn.Module = timm.create_model("eva02_tiny_patch14_224", depth=2)
        return network.eval()
    config = transformers.ViTConfig(**TINY, num_labels=1000)
    return LogitsAlone(transformers.ViTForImageClassification(config)).eval()


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_networks_with_attention_say_in_onnx_what_they_say_in_torch(
    se_resnext50: ModelRecord, tmp_path: Path, library: str, opset: int
) -> None:
    network = make_network(library)
    images = torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = network(images)
    export_onnx(network, tmp_path / "m.onnx", se_resnext50, opset)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), before, atol=1e-4, rtol=0)
    with torch.inference_mode():
        assert torch.equal(network(images), before)  # it is left as it was


class FusedAttention(nn.Module):
    """Attention by torch's own operator, which no switch turns off."""

    def forward(self, images: Tensor) -> Tensor:
        rows = images.flatten(2)[..., :1000]
        attended: Tensor = nn.functional.scaled_dot_product_attention(rows, rows, rows)
        return attended.mean(dim=1)


def test_what_an_opset_has_not_is_refused_with_one_that_has_it(
    se_resnext50: ModelRecord, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    record = msgspec.structs.replace(se_resnext50, architecture="timm/fused")
    with pytest.raises(BadModelError, match=r"timm/fused cannot be exported to ONNX at opset 11") as caught:
        export_onnx(FusedAttention().eval(), tmp_path / "m.onnx", record, 11)
    assert "--opset 18" in caught.value.hint
    export_onnx(FusedAttention().eval(), tmp_path / "m.onnx", record, 18)
    assert capfd.readouterr() == ("", "")
