"""Checkpoint to ONNX file, and the proof that the file says what torch says."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from assay.arrays import Images
from assay.checkpoint.load import load_checkpoint
from assay.checkpoint.weights_choice import describe_weights_choice
from assay.convert.check_onnx import check_onnx_file
from assay.convert.export_onnx import export_onnx
from assay.convert.parity import LogitParity, measure_logit_parity, require_logit_parity
from assay.defaults import DEFAULT_OPSET
from assay.engines.catalog import find_engine
from assay.engines.engine import CompileChoice, Session
from assay.engines.torch.engine import TorchEngine
from assay.engines.torch.session import TorchSession
from assay.errors import UsageError
from assay.files import (
    hash_file,
    make_draft_folder,
    make_temporary_folder,
    refuse_same_file,
    write_in_place_of,
)
from assay.models.record import ModelRecord
from assay.runs.listener import Listener

PARITY_BATCH_SIZES = (1, 3)
PARITY_IMAGE_COUNT = sum(PARITY_BATCH_SIZES)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a checkpoint is exported.

    Args:
        opset: The ai.onnx opset, 11 to 18.
        weights_key: Which set of weights of the file; None for the plain ones.
    """

    opset: int = DEFAULT_OPSET
    weights_key: str | None = None


DEFAULT_EXPORT_OPTIONS = ExportOptions()


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """An ONNX file and what is known of it.

    `weights_key` is where in the checkpoint its weights were, "" for the top level; `other_weights_keys`
    are where other sets of the same weights are.
    """

    onnx_path: Path
    opset: int
    weights_sha256: str
    weights_key: str
    other_weights_keys: tuple[str, ...]
    onnx_sha256: str
    parity: LogitParity


def export_checkpoint(
    weights: Path,
    onnx_path: Path,
    record: ModelRecord,
    images: Images,
    listener: Listener,
    options: ExportOptions = DEFAULT_EXPORT_OPTIONS,
) -> ExportedModel:
    """Write the checkpoint as an ONNX file; it appears only when it has passed its checks.

    Args:
        weights: The checkpoint.
        onnx_path: The file to write; a file there is replaced.
        record: The model record.
        images: At least four, float32 (N, 3, H, W): run in torch and from the ONNX file, in a batch of 1
            and one of 3.
        listener: Hears of the steps.
        options: Which weights, and which opset.

    Raises:
        UsageError: The ONNX file would be written over the checkpoint, or over a file that is something else.
        BadCheckpointError: The weights cannot be used.
        BadModelError: The ONNX file is malformed.
        GateFailedError: The logits differ by more than 1e-3.
    """
    refuse_same_file(onnx_path, weights)
    if onnx_path.suffix.lower() != ".onnx" and onnx_path.exists():
        raise UsageError(f"{onnx_path} is there and is no ONNX file", hint="give a name that ends in .onnx")
    listener.announce(f"Loading {weights}")
    checkpoint = load_checkpoint(weights, record, options.weights_key)
    choice = describe_weights_choice(checkpoint.weights_key, checkpoint.other_keys)
    if choice:
        listener.announce(f"{weights}: {choice}")
    listener.announce(f"Exporting to ONNX, opset {options.opset}")
    with write_in_place_of(onnx_path) as temporary, make_draft_folder(onnx_path) as folder:
        draft = folder / "model.onnx"  # runtimes know an ONNX file by its suffix
        export_onnx(checkpoint.network, draft, record, options.opset)
        check_onnx_file(draft, record)
        torch_options = TorchEngine().resolve(CompileChoice(engine="torch"), record)
        with closing(TorchSession(checkpoint.network, torch_options)) as torch_session:
            parity = _compare_with_torch(torch_session, draft, record, images)
        require_logit_parity(parity, onnx_path)
        draft.replace(temporary)
    listener.announce(
        f"ONNX against torch: largest logit difference {parity.max_difference:.2g}, same Top-1 on "
        f"{parity.top1_agreement_count} of {parity.image_count} images"
    )
    return ExportedModel(
        onnx_path=onnx_path,
        opset=options.opset,
        weights_sha256=checkpoint.sha256,
        weights_key=checkpoint.weights_key,
        other_weights_keys=checkpoint.other_keys,
        onnx_sha256=hash_file(onnx_path),
        parity=parity,
    )


def _compare_with_torch(
    reference: Session, onnx_path: Path, record: ModelRecord, images: Images
) -> LogitParity:
    """Run the images in torch and, by the default engine in fp32, from the ONNX file."""
    with make_temporary_folder("parity") as folder:
        # a batch runs whole, so that the check is of batches too
        settings = {"streams": "1", "inner_batch": str(PARITY_IMAGE_COUNT), "normalise": "on_host"}
        choice = CompileChoice(settings=settings)
        engine = find_engine(choice.engine)
        options = replace(engine.resolve(choice, record), compares_batches=False)  # compared here
        engine.compile(onnx_path, folder, options)
        with closing(engine.load(folder)) as session:
            return measure_logit_parity(_run_batches(reference, images), _run_batches(session, images))


def _run_batches(session: Session, images: Images) -> np.ndarray:
    first = images[: PARITY_BATCH_SIZES[0]]
    rest = images[PARITY_BATCH_SIZES[0] : PARITY_IMAGE_COUNT]
    return np.concatenate([session.run(batch) for batch in (first, rest) if len(batch)])  # (4, classes)
