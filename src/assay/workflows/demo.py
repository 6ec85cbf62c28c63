"""The demo: images and weights made on the spot, then exactly the run that a user's files get."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from assay.checkpoint.fitted_network import fit_network, save_checkpoint
from assay.errors import UsageError
from assay.files import write_in_place_of
from assay.images.classes import read_classes
from assay.images.drawn_images import draw_labelled_images
from assay.images.label_files import LabelOptions
from assay.images.prepare import preprocess_image, stack_images
from assay.images.request import ImageRequest
from assay.images.sources import index_images
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.runs.folder import RunResult
from assay.runs.listener import SILENT, Listener
from assay.runs.place import Mode, RunPlace
from assay.workflows.full_run import RunRequest, run_all

MODEL = "se_resnext50_32x4d"
SEED = 2026
TRAINING_COUNT = 240
HELD_OUT_COUNT = 160
REMARK = (
    "Demo: images and weights are made up, drawn and fitted on this machine. The accuracy says "
    "nothing about ImageNet; the network, the conversion and the speed are real."
)
WEIGHTS_FILE = "demo_weights.pth"
_OWN_NAMES = frozenset({"training", "held_out", "training.txt", "held_out.txt", WEIGHTS_FILE, "run"})


def run_demo(
    folder: Path, *, mode: Mode = "new", arguments: tuple[str, ...] = (), listener: Listener = SILENT
) -> RunResult:
    """Draw labelled images, fit a network to some of them, and run the whole chain on the others.

    Args:
        folder: Where images, weights and the run folder `run` are put.
        mode: Whether a demo that is there already is refused, replaced or continued.
        arguments: The command as it was given.
        listener: Hears of the steps.

    Raises:
        UsageError: The folder holds a demo and the mode is "new", or it holds anything else.
        AssayError: As `run_all`.
    """
    _check_folder(folder, mode)
    is_made = mode == "resume" and (folder / WEIGHTS_FILE).is_file()  # the last of the files, written whole
    if not is_made:
        if folder.is_dir() and any(folder.iterdir()):
            shutil.rmtree(folder)
        make_files(folder, listener)
    run = folder / "run"
    request = RunRequest(
        weights=folder / WEIGHTS_FILE,
        images=ImageRequest(path=folder / "held_out", labels=LabelOptions(path=folder / "held_out.txt")),
        model=MODEL,
        compare_with_torch=True,
        remark=REMARK,
    )
    place = RunPlace(path=run, mode="resume" if is_made and run.is_dir() else "new", arguments=arguments)
    return run_all(request, place, listener)


def make_files(
    folder: Path,
    listener: Listener = SILENT,
    *,
    training_count: int = TRAINING_COUNT,
    held_out_count: int = HELD_OUT_COUNT,
) -> None:
    """Draw the demo's images, and fit its network to some of them: what `run_demo` then runs.

    Args:
        folder: Gets the images `training` and `held_out`, their label files, and the weights.
        listener: Hears of the steps.
        training_count: Images that the network is fitted to, at least 60.
        held_out_count: Images that it is then run on.
    """
    listener.announce(f"Drawing {training_count + held_out_count} labelled images")
    _draw(folder, "training", training_count, SEED)
    _draw(folder, "held_out", held_out_count, SEED + 1)
    listener.announce(f"Fitting SE-ResNeXt-50 to {training_count} of them: about a minute on two idle cores")
    _fit(folder, read_model_record(MODEL))


def _check_folder(folder: Path, mode: Mode) -> None:
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in names if name not in _OWN_NAMES]
    if foreign:
        raise UsageError(f"-o {folder}: holds something that is no demo: {foreign[0]}", hint="choose another")
    if names and mode == "new":
        raise UsageError(
            f"-o {folder}: holds a demo already",
            hint="--resume continues it, --overwrite replaces it",
        )


def _draw(folder: Path, part: str, count: int, seed: int) -> None:
    draw_labelled_images(folder / part, folder / f"{part}.txt", image_count=count, seed=seed)


def _fit(folder: Path, record: ModelRecord) -> None:
    index = index_images(
        folder / "training", read_classes(record), LabelOptions(path=folder / "training.txt")
    )
    with ThreadPoolExecutor() as threads:
        images = stack_images(threads.map(partial(preprocess_image, record=record), index.images))
    labels = np.array([image.label for image in index.images], dtype=np.int64)  # (N,)
    network = fit_network(images, labels, seed=SEED)
    with write_in_place_of(folder / WEIGHTS_FILE) as temporary:
        save_checkpoint(network, temporary)
