"""At which batch sizes one run predicts its images, and which compiled model runs each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.errors import UsageError
from assay.measure.accuracy.answers import BatchChoice
from assay.measure.speed.throughput import ThroughputRow, find_best_row
from assay.runs.listener import Listener

BEST = "best"
AskedBatch = int | Literal["best"]


@dataclass(frozen=True, kw_only=True)
class BatchEvaluation:
    """A batch size, and the compiled model that runs it."""

    choice: BatchChoice
    compiled_dir: Path


def plan_batches(
    asked: Sequence[AskedBatch],
    compiled_dirs: Sequence[Path],
    rows: Sequence[ThroughputRow],
    listener: Listener,
) -> tuple[BatchEvaluation, ...]:
    """The batch sizes in the order that was asked, each once, with the compiled model for it.

    Args:
        asked: Batch sizes, and `best` for the fastest VALID one; where none is VALID, for the fastest of all.
        compiled_dirs: One model that runs any batch size, or one for each.
        rows: What was measured of them; needed for `best` alone.
        listener: Hears which one is the best.

    Raises:
        UsageError: A size that none of the models was compiled for.
    """
    models = {path: read_compiled_json(path) for path in compiled_dirs}
    choices: dict[int, BatchChoice] = {}
    for size in asked:
        choice = (
            BatchChoice(batch_size=size) if isinstance(size, int) else _choose_best(models, rows, listener)
        )
        if choice.is_best or choice.batch_size not in choices:
            choices[choice.batch_size] = choice
    return tuple(
        BatchEvaluation(choice=choice, compiled_dir=_find_model(models, choice.batch_size))
        for choice in choices.values()
    )


def _choose_best(
    models: dict[Path, CompiledModel], rows: Sequence[ThroughputRow], listener: Listener
) -> BatchChoice:
    main = next(iter(models.values()))
    name = (main.engine, main.precision)
    own = [row for row in rows if (row.engine, row.precision) == name]  # on whichever of several devices
    on_device = [row for row in own if row.clock == "device"]  # the original's figures, where it is told
    best = find_best_row(on_device or own)
    rate = f"{best.images_per_second.median:.1f} images/s on the {best.clock} clock"
    why = "" if best.is_valid else f"; none is VALID, this one for: {best.invalid_reasons}"
    listener.announce(f"Best batch: {best.batch_size}, {rate}{why}")
    return BatchChoice(batch_size=best.batch_size, is_best=True, is_proven=best.is_valid)


def _find_model(models: dict[Path, CompiledModel], batch_size: int) -> Path:
    for path, compiled in models.items():
        if compiled.batch_size in (None, batch_size) and compiled.call_size in (0, batch_size):
            return path
    sizes = sorted({compiled.call_size or compiled.batch_size or 0 for compiled in models.values()})
    raise UsageError(
        f"--accuracy-batch {batch_size}: the model was compiled for batches of {', '.join(map(str, sizes))}",
        hint="a smaller batch would be filled up, and prove nothing of a batch of that size",
    )
