"""The subject's network against what is right: its ONNX file layer by layer, then its engine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images
from assay.diagnose.evidence import find_answers
from assay.diagnose.network_finding import NetworkFinding, Repair
from assay.diagnose.stage import Predict
from assay.engines.sources import recall_options
from assay.errors import UsageError
from assay.models.network_input import make_network_input
from assay.runs.listener import Listener
from assay.workflows.diagnose.bisect_engine import IMAGE_COUNT as CUT_COUNT
from assay.workflows.diagnose.bisect_engine import bisect_engine
from assay.workflows.diagnose.compare_networks import TwoNetworks, compare_networks
from assay.workflows.diagnose.open_subject import Subject
from assay.workflows.diagnose.stability import describe_instability


def compare_subject(
    subject: Subject,
    predict: Predict,
    networks: TwoNetworks,
    images: Images,
    classes: NDArray[np.int64] | None,
    listener: Listener,
) -> NetworkFinding:
    """Find the layer of the file that errs, or that the engine computes differently.

    Args:
        subject: What is diagnosed.
        predict: Its session, for batches of any size.
        networks: As `open_networks`, of the subject's own ONNX file and the reference.
        images: float32 (N, channels, height, width).
        classes: The class of each image's label, (N,); None without labels.
        listener: Hears of the steps.

    Raises:
        UsageError: The subject is int8, and the ONNX file it was compiled of is not at hand.
        AssayError: As `compare_networks` and `bisect_engine`.
    """
    unstable = describe_instability(predict, images)
    as_input = make_network_input(images, subject.record)
    found = compare_networks(networks, as_input, classes, listener)
    remarks = list(unstable)
    if subject.onnx_path is None:
        remarks.append("no ONNX file of the model is at hand: the reference is taken for what it was made of")
    if found.outcome == "same" and not unstable:
        found = _ask_engine(subject, predict, networks, images, found, listener)
    return msgspec.structs.replace(found, remarks=(*remarks, *found.remarks))


def find_own_onnx(subject: Subject, reference: Path) -> Path:
    """The ONNX file that the subject was compiled of, or the reference where only the engine can differ.

    Raises:
        UsageError: It is int8, or of a checkpoint, and no ONNX file of it is at hand.
    """
    if subject.onnx_path is not None:
        return subject.onnx_path
    if subject.compiled.precision == "int8":
        raise UsageError(
            "the compiled model is int8, and does not keep the ONNX file it was compiled of",
            hint="give that int8 ONNX file, or the run folder that holds it, in place of the compiled model",
        )
    return reference


def _ask_engine(
    subject: Subject,
    predict: Predict,
    networks: TwoNetworks,
    images: Images,
    found: NetworkFinding,
    listener: Listener,
) -> NetworkFinding:
    """Where the file is sound: whether the engine answers as it does, and from which layer on it does not."""
    as_input = make_network_input(images, subject.record)
    expected = find_answers(networks.score(networks.other, as_input))
    answers = find_answers(predict(images).astype(np.float64))
    same = int((answers == expected).sum())
    if same == len(images):
        return found
    remark = f"{len(images) - same} of {len(images)} answers of engine {subject.compiled.engine} differ"
    repairs = (Repair(layer_count=0, same_count=same, hits=None),)
    found = msgspec.structs.replace(
        found, outcome="spread", repairs=repairs, remarks=(*found.remarks, remark)
    )
    if subject.compiled.engine in {"torch", "constant"}:
        return found  # they compile no ONNX file that could be cut
    changed = np.argsort(answers == expected, kind="stable")[:CUT_COUNT]
    options = recall_options(subject.compiled)
    cut = bisect_engine(networks.other, options, images[changed], as_input[changed], listener)
    layers = (cut.layer,) if cut.layer else ()
    outcome = "damaged" if layers else "spread"
    return msgspec.structs.replace(found, outcome=outcome, layers=layers, engine=cut)
