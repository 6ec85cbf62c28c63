"""Which layer an engine computes differently that shows no inner tensors: the ONNX file is cut in two."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images
from assay.convert.cut import cut_head, cut_tail, list_cuts
from assay.convert.quantize import write_onnx
from assay.diagnose.network_finding import Bisection
from assay.engines.catalog import find_engine
from assay.engines.engine import CompileOptions
from assay.engines.openvino.tensors import compute_outputs
from assay.errors import BadModelError
from assay.files import make_temporary_folder
from assay.runs.listener import Listener

IMAGE_COUNT = 4
_EXTRA = (0.25, 0.5, 0.75)  # where the probes are that check the bisection
_SHARE = 0.5  # of the whole error, that one layer must make to be named


def bisect_engine(
    reference: Any, options: CompileOptions, images: Images, as_input: Images, listener: Listener
) -> Bisection:
    """Run ever other heads of the network on the engine, and the rest in float, until a layer is found.

    Args:
        reference: The ONNX model that the engine compiles, a ModelProto with one output.
        options: As the engine compiled the whole.
        images: For the engine, float32 (N, channels, height, width).
        as_input: The same as the network itself takes them.
        listener: Hears of the probes.

    Raises:
        BadModelError: The network cannot be cut anywhere.
        EngineError: The engine does not take a head of the network.
    """
    cuts = list_cuts(reference)
    if not cuts:
        raise BadModelError("the network cannot be cut: no tensor carries all that comes before it")
    whole = compute_outputs(reference.SerializeToString(), as_input)
    expected = whole[reference.graph.output[0].name].reshape(len(images), -1)
    probes: dict[int, float] = {}

    @cache
    def probe(number: int) -> float:
        tensor, node = cuts[number]
        listener.announce(f"Running the network up to {node} on {options.engine}")
        head = _run_head(reference, tensor, options, images)
        logits = _run_tail(reference, tensor, head).reshape(expected.shape)
        probes[number] = float(np.square(logits.astype(np.float64) - expected).mean())
        return probes[number]

    return _bisect(cuts, probe, probes)


def _bisect(
    cuts: list[tuple[str, str]], probe: Callable[[int], float], probes: dict[int, float]
) -> Bisection:
    """Find the first cut behind which half of the error is there, and check it by three more."""
    low, high = -1, len(cuts) - 1
    whole = probe(high)
    while high - low > 1 and whole > 0:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_reached(probe(middle), whole) else (middle, high)
    for part in _EXTRA if whole > 0 else ():
        probe(round(part * (len(cuts) - 1)))
    before = probe(high - 1) if high > 0 and whole > 0 else 0.0
    share = (probe(high) - before) / whole if whole > 0 else 0.0
    agree = all(_is_reached(error, whole) == (number >= high) for number, error in probes.items())
    return Bisection(
        layer=cuts[high][1] if share >= _SHARE or not np.isfinite(whole) else "",
        share=float(np.nan_to_num(share, nan=1.0)),
        probes=tuple(probes.items()),
        cut_count=len(cuts),
        is_monotone=agree,
        error=whole,
    )


def _is_reached(error: float, whole: float) -> bool:
    return not np.isfinite(error) or error >= _SHARE * whole


def _run_head(reference: Any, tensor: str, options: CompileOptions, images: Images) -> NDArray[np.float32]:
    """The tensor as the engine makes it, flat: (N, values)."""
    record = options.record
    head, count = cut_head(reference, tensor, record.output.name)
    output = msgspec.structs.replace(record.output, class_count=count, scores="logits")
    known = replace(options, record=msgspec.structs.replace(record, output=output), compares_batches=False)
    engine = find_engine(options.engine)
    with make_temporary_folder("head") as folder:
        path, compiled_dir = folder / "head.onnx", folder / "compiled"
        write_onnx(head, path)
        compiled_dir.mkdir()
        engine.compile(path, compiled_dir, known)
        with closing(engine.load(compiled_dir)) as session:
            size = options.batch_size or len(images)
            parts = [session.run(images[first : first + size]) for first in range(0, len(images), size)]
    return np.concatenate(parts)  # (N, values)


def _run_tail(reference: Any, tensor: str, head: NDArray[np.float32]) -> NDArray[Any]:
    (port,) = reference.graph.output
    if port.name == tensor:
        return head
    return compute_outputs(cut_tail(reference, tensor).SerializeToString(), head)[port.name]
