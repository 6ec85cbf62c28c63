"""The `pipeline` clock of compiled models: images from their bytes to predictions, in repeats."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import read_compiled_json
from assay.engines.engine import Session
from assay.images.sources import ImageIndex
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.shards import Shard
from assay.measure.speed.machine_use import measure_machine_use, read_machine
from assay.measure.speed.repeats import RepeatPlan
from assay.measure.speed.throughput import PipelineRow, Spread
from assay.measure.speed.validity import judge_validity
from assay.models.record import ModelRecord
from assay.runs.listener import Listener


def measure_pipelines(
    compiled_dir: Path, index: ImageIndex, plan: RepeatPlan, listener: Listener
) -> Iterator[PipelineRow]:
    """Yield a row for each batch size: repeats of about `seconds`, each over whole batches of the images.

    Decoded images are not kept: each is read and decoded as often as it is predicted; files come from the
    system's cache after the warm-up. Predictions are ranked, not written.

    Args:
        compiled_dir: The compiled model.
        index: The images, gone through again where a repeat needs more.
        plan: Batch sizes, at least one; repeats, seconds.
        listener: Hears which batch size is measured.
    """
    compiled = read_compiled_json(compiled_dir)
    with closing(load_for_evaluation(compiled_dir)) as session:
        for size in plan.batch_sizes:
            listener.announce(f"Measuring {compiled.engine} from encoded images at batch size {size}")
            warm_up_s = _time_images(session, compiled.model, index, size, size)  # makes threads and arrays
            trial_s = _time_images(session, compiled.model, index, size, 4 * size)
            count = size * max(1, math.ceil(4 * plan.seconds / max(trial_s, 1e-6)))
            warm_up_s += trial_s + _time_images(session, compiled.model, index, size, count)
            rates, readings = [], []
            for _ in range(plan.repeats):
                before = read_machine()
                rates.append(count / _time_images(session, compiled.model, index, size, count))
                readings.append((before, read_machine()))
            measured_s = sum(count / rate for rate in rates)
            yield PipelineRow(
                engine=compiled.engine,
                device=compiled.device,
                precision=compiled.precision,
                batch_size=size,
                image_count=count,
                images_per_second=Spread(median=statistics.median(rates), values=tuple(rates)),
                validity=judge_validity(rates, warm_up_s, measured_s, measure_machine_use(readings)),
            )


def _time_images(session: Session, record: ModelRecord, index: ImageIndex, size: int, count: int) -> float:
    """Seconds that so many images take from their bytes to their predictions."""
    shard = Shard(number=0, images=tuple(islice(cycle(index.images), count)))
    options = PipelineOptions(batch_size=size, reading=index.reading)
    begin = time.perf_counter()
    for _ in predict_shards(session, [shard], record, options, lambda _: None):
        pass
    return time.perf_counter() - begin
