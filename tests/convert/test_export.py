"""ONNX files made of networks, and their checks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from assay.checkpoint.network import SEResNeXt50
from assay.convert.check_onnx import check_onnx_file
from assay.convert.export_onnx import export_onnx
from assay.convert.parity import LogitParity, measure_logit_parity, require_logit_parity
from assay.defaults import DEFAULT_OPSET
from assay.errors import BadModelError, GateFailedError, UsageError
from assay.models.record import ModelRecord
from narrow_network import build_narrow
from network_forms import change_record


class MeanColour(nn.Module):
    """A network small enough for ONNX's own slow reference evaluator."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(images.mean(dim=(2, 3)))
        return logits


@pytest.mark.parametrize("opset", [11, 18])
def test_se_resnext_exports_with_a_dynamic_batch_and_the_records_names(
    se_resnext50: ModelRecord, tmp_path: Path, opset: int
) -> None:
    path = tmp_path / "model.onnx"
    with build_narrow():
        network = SEResNeXt50().eval()
    export_onnx(network, path, se_resnext50, opset)
    check_onnx_file(path, se_resnext50)
    model = onnx.load(str(path))
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    assert [port.name for port in model.graph.input] == ["image"]
    assert [port.name for port in model.graph.output] == ["class"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


@pytest.mark.parametrize("opset", range(11, 19))
def test_every_opset_says_what_torch_says(se_resnext50: ModelRecord, tmp_path: Path, opset: int) -> None:
    torch.manual_seed(0)
    network = MeanColour().eval()
    images = np.random.default_rng(0).normal(size=(3, 3, 224, 224)).astype(np.float32)
    export_onnx(network, tmp_path / "m.onnx", se_resnext50, opset)
    by_onnx = next(iter(ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {"image": images})))
    np.testing.assert_allclose(by_onnx, network(torch.from_numpy(images)).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("opset", [10, 19])
def test_opsets_that_atc_refuses_are_refused(se_resnext50: ModelRecord, tmp_path: Path, opset: int) -> None:
    with pytest.raises(UsageError, match=f"--opset {opset}"):
        export_onnx(MeanColour(), tmp_path / "m.onnx", se_resnext50, opset)
    assert list(tmp_path.iterdir()) == []


def test_the_default_opset_is_the_newest_that_atc_accepts() -> None:
    assert DEFAULT_OPSET == 18


def test_a_file_with_another_output_name_is_refused(colour_onnx: Path, se_resnext50: ModelRecord) -> None:
    output = msgspec.structs.replace(se_resnext50.output, name="scores")
    with pytest.raises(BadModelError, match=r"expected .*scores .*found .*class"):
        check_onnx_file(colour_onnx, msgspec.structs.replace(se_resnext50, output=output))


def test_a_malformed_file_is_refused(colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path) -> None:
    model = onnx.load(str(colour_onnx))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, str(tmp_path / "malformed.onnx"))
    with pytest.raises(BadModelError, match=r"onnx\.checker refuses it"):
        check_onnx_file(tmp_path / "malformed.onnx", se_resnext50)


def test_parity_counts_images_with_the_same_top1() -> None:
    reference = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.25]], dtype=np.float32)
    candidate = np.array([[0.0, 1.0], [0.0, 1.0], [0.5, 0.0]], dtype=np.float32)
    parity = measure_logit_parity(reference, candidate)
    assert parity == LogitParity(image_count=3, max_difference=1.0, top1_agreement_count=2)


@pytest.mark.parametrize("difference", [1.1e-3, float("nan"), float("inf")])
def test_a_difference_over_a_thousandth_fails(difference: float) -> None:
    parity = LogitParity(image_count=4, max_difference=difference, top1_agreement_count=4)
    with pytest.raises(GateFailedError, match="differ from torch"):
        require_logit_parity(parity, Path("m.onnx"))


def test_a_thousandth_passes() -> None:
    parity = LogitParity(image_count=4, max_difference=1e-3, top1_agreement_count=4)
    require_logit_parity(parity, Path("m.onnx"))


@pytest.mark.parametrize("form", [{"layout": "NHWC"}, {"dtype": "float16"}])
def test_a_record_of_another_layout_or_type_than_the_export_has_is_refused(
    se_resnext50: ModelRecord, tmp_path: Path, form: dict[str, str]
) -> None:
    record = change_record(se_resnext50, {"input": form})
    with pytest.raises(BadModelError, match="exports take NCHW, float32"):
        export_onnx(MeanColour().eval(), tmp_path / "model.onnx", record, DEFAULT_OPSET)
    assert list(tmp_path.iterdir()) == []
