"""What the predictions of a run are compared with: the original network in torch, or the float model."""

from __future__ import annotations

from pathlib import Path

from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import CompileChoice
from assay.models.record import ModelRecord
from assay.runs.place import REFERENCE_FOLDER
from assay.workflows.evaluate.evaluate import make_predictor
from assay.workflows.evaluate.predict import Predictor

TORCH_BATCH_SIZE = 4  # torch's fastest on two processors, by half against 16


def make_float_reference(compiled_dir: Path) -> Predictor:
    """Predicts by the float model that an int8 one was made of."""
    compiled = read_compiled_json(compiled_dir)
    return make_predictor(compiled_dir, compiled, REFERENCE_FOLDER, task="Evaluating the float model")


def make_torch_reference(weights: Path, record: ModelRecord, weights_key: str | None = None) -> Predictor:
    """Predicts by the original network in torch, on the CPU in fp32.

    Args:
        weights: The checkpoint.
        record: The model record.
        weights_key: Which of its sets of weights; None for the plain ones.

    Raises:
        BadCheckpointError: The weights cannot be used.
    """
    from assay.checkpoint.load import load_checkpoint
    from assay.engines.torch.engine import TorchEngine
    from assay.engines.torch.session import TorchSession

    options = TorchEngine().resolve(CompileChoice(engine=TorchEngine.name), record)
    checkpoint = load_checkpoint(weights, record, weights_key)
    return Predictor(
        name="torch",
        task="Torch",
        record=record,
        identity=["torch", checkpoint.sha256, *filter(None, [weights_key])],
        open_session=lambda: TorchSession(checkpoint.network, options),
        folder=REFERENCE_FOLDER,
        batch_size=TORCH_BATCH_SIZE,
    )
