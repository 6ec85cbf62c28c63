"""What the torch engine promises beyond the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assay.engines.engine import CompileChoice
from assay.engines.torch.engine import TorchEngine
from assay.errors import BadCheckpointError, UsageError
from assay.models.record import ModelRecord
from colour_classifier import draw_weights
from compiling import compile_with

IMAGES = np.random.default_rng(1).normal(size=(4, 3, 224, 224)).astype(np.float32)


def run(checkpoint: Path, record: ModelRecord, folder: Path, **chosen: Any) -> np.ndarray:
    folder.mkdir()
    compile_with(TorchEngine(), checkpoint, folder, record, **chosen)
    session = TorchEngine().load(folder)
    logits = session.run(IMAGES)
    session.close()
    return logits


def test_half_precisions_compute_in_them(
    colour_checkpoint: Path, colour_record: ModelRecord, tmp_path: Path
) -> None:
    """The largest error is that of rounding to as many bits: 8 in bf16, 11 in fp16."""
    exact = IMAGES.astype(np.float64).mean(axis=(2, 3)) @ draw_weights().astype(np.float64)
    errors = {}
    for precision in ("fp32", "fp16", "bf16"):
        logits = run(colour_checkpoint, colour_record, tmp_path / precision, precision=precision)
        errors[precision] = np.abs(logits - exact).max()
    assert errors["fp32"] < errors["fp16"] < errors["bf16"] < 0.01


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside torch
def test_a_compiled_network_gives_the_same_logits(
    colour_checkpoint: Path, colour_record: ModelRecord, tmp_path: Path
) -> None:
    eager = run(colour_checkpoint, colour_record, tmp_path / "eager")
    compiled = run(colour_checkpoint, colour_record, tmp_path / "compiled", settings={"mode": "compiled"})
    np.testing.assert_allclose(compiled, eager, atol=1e-5)


def test_a_mode_that_it_lacks_is_refused(colour_record: ModelRecord) -> None:
    with pytest.raises(UsageError, match="expected one of eager, compiled"):
        TorchEngine().resolve(CompileChoice(settings={"mode": "jit"}), colour_record)


def test_an_onnx_file_is_no_checkpoint(colour_onnx: Path, colour_record: ModelRecord, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpointError, match=r"expected a file that torch\.save"):
        compile_with(TorchEngine(), colour_onnx, tmp_path, colour_record)
