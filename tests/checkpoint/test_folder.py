"""Weights in a folder of the Hugging Face hub: a file, shards, a pickle; and run by the torch engine."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.checkpoint.load import load_checkpoint
from assay.engines.engine import CompileChoice
from assay.engines.torch.engine import TorchEngine
from assay.errors import BadCheckpointError
from assay.models.choose_record import choose_record
from assay.runs.listener import SILENT
from assay.workflows.models.compile import compile_model

CONFIG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "num_labels": 3,
}


@pytest.fixture
def network() -> Any:
    import transformers

    torch.manual_seed(0)
    return transformers.ViTForImageClassification(transformers.ViTConfig(**CONFIG)).eval()


def save(network: Any, folder: Path, **how: object) -> Path:
    """The folder as transformers itself writes it."""
    import transformers

    network.save_pretrained(folder, **how)
    transformers.ViTImageProcessorPil(size=64).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("how", [{}, {"max_shard_size": "30KB"}])
def test_a_folder_that_transformers_saved_gives_its_logits(
    network: Any, tmp_path: Path, how: dict[str, object]
) -> None:
    folder = save(network, tmp_path / "vit", **how)
    assert (folder / "model.safetensors").exists() == (not how)
    record = choose_record("", folder)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = network(images).logits
        assert torch.equal(load_checkpoint(folder, record).network(images), expected)
    options = TorchEngine().resolve(CompileChoice(engine="torch"), record)
    for _ in range(2):  # the second time it is there already
        compile_model(folder, tmp_path / "compiled", options, overwrite=False, listener=SILENT)
    with closing(TorchEngine().load(tmp_path / "compiled")) as session:
        torch.testing.assert_close(torch.from_numpy(session.run(images.numpy())), expected)


def test_a_pickle_in_the_folder_is_read_by_the_safe_reader(network: Any, tmp_path: Path) -> None:
    folder = save(network, tmp_path / "vit")
    (folder / "model.safetensors").unlink()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    record = choose_record("", folder)
    assert load_checkpoint(folder, record).file_format == "torch zip"
    torch.save(network, folder / "pytorch_model.bin")
    with pytest.raises(BadCheckpointError, match="wants to run code"):
        load_checkpoint(folder, record)


def test_a_tensor_in_two_shards_is_refused(network: Any, tmp_path: Path) -> None:
    folder = save(network, tmp_path / "vit", max_shard_size="30KB")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    first, second, *_ = sorted(set(index["weight_map"].values()))
    (folder / second).write_bytes((folder / first).read_bytes())
    with pytest.raises(BadCheckpointError, match="is in another shard, too"):
        load_checkpoint(folder, choose_record("", folder))
