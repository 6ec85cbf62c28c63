"""Two compiled models of one network and images without labels to a cascade, whose threshold they decide."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from assay.defaults import MAX_DIFFERENT_PERCENT
from assay.engines.cascade.compose import describe_cascade, name_compiled, write_cascade
from assay.engines.cascade.record import CascadeRecord, read_cascade_json
from assay.engines.catalog import load_for_evaluation
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.errors import BadImagesError, BadModelError, EngineError, UsageError
from assay.files import escape_name, write_folder_in_place_of
from assay.images.calibration import find_calibrated
from assay.images.sources import ImageIndex
from assay.images.subset import draw_order
from assay.inference.pipeline import PipelineOptions, predict_shards
from assay.inference.predictions import Prediction
from assay.inference.shards import cut_shards
from assay.measure.accuracy.binomial_bound import count_needed_trials
from assay.measure.accuracy.cascade import (
    PairedAnswer,
    choose_by_count,
    choose_by_noise,
    count_cascade,
    pair_answers,
)
from assay.measure.accuracy.outputs import recognise_outputs
from assay.models.record import ModelRecord, ScoreKind
from assay.runs.listener import Listener, Progress, announce_wait
from assay.workflows.evaluate.evaluate import DEFAULT_BATCH_SIZE
from assay.workflows.models.compile import find_compiled

LEAST_IMAGES = 20  # of each half, for a threshold and a bound that say anything
ENOUGH_IMAGES = 200  # from which those calibrated on are in neither half
LEAST_SAME = 0.5  # of two models of one network; fewer answers in common are a broken model
_SHARD_SIZE = 1024


@dataclass(frozen=True, kw_only=True)
class CascadeModels:
    """The two models of a cascade, and where they are.

    Args:
        fast_dir: The compiled model that answers.
        exact_dir: The compiled model that answers where the other is unsure.
        max_different_percent: Different answers to be left at most, in percent of all images.
    """

    fast_dir: Path
    exact_dir: Path
    max_different_percent: float = MAX_DIFFERENT_PERCENT


def check_max_different(percent: float) -> None:
    """Refuse a share of different answers that cannot be.

    Raises:
        UsageError: Not above 0 and below 100.
    """
    if not 0 < percent < 100:
        raise UsageError(f"--max-different is {percent:g} %; expected above 0 and below 100, such as 0.1")


def check_image_count(count: int) -> None:
    """Refuse, before any work, too few images to choose a threshold and to say what it leaves.

    Raises:
        BadImagesError: So they are.
    """
    if count < 2 * LEAST_IMAGES:
        raise BadImagesError(
            f"{count:,} images are too few: the threshold is chosen on one half of them, and what it "
            "leaves is counted on the other",
            hint=f"give {2 * LEAST_IMAGES} or more; labels are not needed",
        )


def make_cascade(
    models: CascadeModels, out_dir: Path, index: ImageIndex, *, overwrite: bool, listener: Listener
) -> CascadeRecord:
    """Run both models over the images, choose the threshold, and write the cascade, whole or not at all.

    Args:
        models: The two models.
        out_dir: The folder to write; it holds copies of both.
        index: The images; labels are not needed.
        overwrite: Whether another compiled model in the folder is replaced.
        listener: Hears of the steps.

    Raises:
        UsageError: The folder holds another compiled model and `overwrite` is not set, or anything else; or
            as `check_one_network`.
        BadModelError: As `check_one_network`, or the models answer too many images differently.
        BadImagesError: Too few images.
        EngineError: A runtime failed.
        SourceError: The place that holds the images failed.
    """
    check_max_different(models.max_different_percent)
    check_image_count(len(index.images))
    fast, exact = (read_compiled_json(path) for path in (models.fast_dir, models.exact_dir))
    describe_cascade(fast, exact)  # refuses before any work
    if find_compiled(out_dir) is not None and not overwrite:
        raise UsageError(f"{out_dir}: holds a compiled model already", hint="replace it with --overwrite")
    predictions = [
        _predict(compiled, path, index, listener)
        for compiled, path in ((fast, models.fast_dir), (exact, models.exact_dir))
    ]
    record = choose_cascade(models, index, *predictions)
    compose_cascade(models, out_dir, record)
    return record


def compose_cascade(models: CascadeModels, out_dir: Path, record: CascadeRecord) -> None:
    """Write the cascade's folder; one that is there and says the same stays."""
    made = describe_cascade(*(read_compiled_json(path) for path in (models.fast_dir, models.exact_dir)))
    there = find_compiled(out_dir)
    if there is not None and there.recipe == made.recipe and _read_record(out_dir) == record:
        return
    with write_folder_in_place_of(out_dir) as temporary:
        write_cascade(models.fast_dir, models.exact_dir, temporary, made, record)


def _read_record(folder: Path) -> CascadeRecord | None:
    try:
        return read_cascade_json(folder)
    except EngineError:
        return None


def choose_cascade(
    models: CascadeModels,
    index: ImageIndex,
    fast_rows: Sequence[Prediction],
    exact_rows: Sequence[Prediction],
) -> CascadeRecord:
    """The threshold, chosen on one half of the images, and what it leaves of the other half.

    The answers of images that the fast model was calibrated on change less than those of others;
    `halve_images` says where they go.

    Args:
        models: The two models.
        index: The images.
        fast_rows: What the fast model says of them, in order.
        exact_rows: What the exact one says.

    Raises:
        BadImagesError: Not one image has an answer of the exact model.
        BadModelError: The models answer too many images differently.
    """
    fast, exact = (read_compiled_json(path) for path in (models.fast_dir, models.exact_dir))
    scores = _choose_scores(fast.model, fast_rows)
    answers = {answer.relative_path: answer for answer in pair_answers(fast_rows, exact_rows, scores)}
    _check_same(list(answers.values()), fast, exact)
    calibrated = find_calibrated(index.images, fast.calibration, index.reading) if fast.calibration else set()
    paths = [escape_name(image.relative_path) for image in draw_order(index.images)]
    to_choose, to_state = ([answers[path] for path in half] for half in halve_images(paths, calibrated))
    max_share = models.max_different_percent / 100
    by_noise = choose_by_noise(to_choose, max_share, calibrated)
    by_count = choose_by_count(to_choose, max_share)
    threshold = max(by_noise, by_count)
    return CascadeRecord(
        fast=name_compiled(fast),
        exact=name_compiled(exact),
        scores=scores,
        threshold=threshold,
        max_different_percent=models.max_different_percent,
        noise_threshold=by_noise,
        counted_threshold=by_count,
        chosen_on=count_cascade(to_choose, threshold),
        stated=count_cascade(to_state, threshold),
        needed_count=count_needed_trials(max_share),
        calibration_count=len(calibrated),
        stated_calibrated_count=sum(answer.relative_path in calibrated for answer in to_state),
        images_sha256=_hash_images(index),
    )


def halve_images(paths: Sequence[str], calibrated: Collection[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The images to choose a threshold on, and those to say what it leaves of.

    Those that the fast model was calibrated on are in neither half where there are enough others, else in the
    first, and in the second only where there are too few others to say anything.

    Args:
        paths: All images, in a random order, so many that `check_image_count` passes them.
        calibrated: Those calibrated on.
    """
    unseen = [path for path in paths if path not in calibrated]
    pool = unseen if len(unseen) >= ENOUGH_IMAGES else paths
    others = unseen if len(unseen) >= LEAST_IMAGES else paths
    to_state = others[: len(pool) - len(pool) // 2]
    stated = set(to_state)
    to_choose = [path for path in pool if path not in stated]
    return to_choose, to_state


def _choose_scores(record: ModelRecord, rows: Sequence[Prediction]) -> ScoreKind:
    """What the fast model's scores are: as the record says, unless it says logits by default."""
    stated = record.output.scores
    if stated == "logits" and recognise_outputs(rows) == "probabilities":
        return "probabilities"
    return stated


def _check_same(answers: Sequence[PairedAnswer], fast: CompiledModel, exact: CompiledModel) -> None:
    answered = [answer for answer in answers if not answer.is_failed]
    if not answered:
        raise BadImagesError("not one image has an answer of the exact model", hint="give other images")
    same = sum(answer.is_same for answer in answered)
    if same < LEAST_SAME * len(answered):
        raise BadModelError(
            f"{name_compiled(fast)} and {name_compiled(exact)} name the same class for {same:,} of "
            f"{len(answered):,} images only: they are not of one network, or one of them is broken",
            hint="assay diagnose says what is wrong with a compiled model",
        )


def _hash_images(index: ImageIndex) -> str:
    lines = (f"{image.relative_path}\0{image.size_bytes}\n" for image in index.images)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _predict(
    compiled: CompiledModel, compiled_dir: Path, index: ImageIndex, listener: Listener
) -> list[Prediction]:
    """What a model says of all images, in order."""
    name, total = name_compiled(compiled), len(index.images)
    task, done = f"Running {name}", 0

    def report(rows: Sequence[Prediction]) -> None:
        nonlocal done
        done += len(rows)
        listener.advance(Progress(task=task, unit="images", done=done, total=total))

    options = PipelineOptions(
        batch_size=compiled.call_size or compiled.batch_size or DEFAULT_BATCH_SIZE, reading=index.reading
    )
    with announce_wait(listener, f"loading {name}"):
        session = load_for_evaluation(compiled_dir)
    with closing(session):
        shards = predict_shards(
            session, cut_shards(index.images, _SHARD_SIZE), compiled.model, options, report
        )
        return [row for _, rows in shards for row in rows]
