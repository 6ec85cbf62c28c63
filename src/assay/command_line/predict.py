"""`assay predict`: what a model says of images without labels, in one file."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.command_line.device_flags import DeviceFlags
from assay.command_line.flags import EngineFlags, ReadFlags, ShowFlags, make_help
from assay.command_line.outcome import EXIT_SOME_IMAGES_FAILED, Outcome
from assay.command_line.parse import choose_mode
from assay.files import refuse_same_file


@dataclass(frozen=True, kw_only=True)
class PredictFlags(ShowFlags, ReadFlags, DeviceFlags, EngineFlags):
    """Flags of `assay predict`."""

    images: Annotated[
        Path, make_help("Folder, s3:// or gs:// URL, tar, zip, WebDataset, Parquet, or list; no labels.")
    ]
    output: Annotated[Path, make_help("File to write: .csv, .jsonl (JSON Lines) or .parquet.", "-o")]
    classes: Annotated[
        Path | None, make_help("File with the names of the model's classes, where its record has none.")
    ] = None
    limit: Annotated[
        int | None, make_help("Use at most this many images, drawn by their names; all if not given.")
    ] = None
    batch_size: Annotated[
        int | None, make_help("Images in one call; as the model was compiled, else 8, if not given.")
    ] = None
    resume: Annotated[bool, make_help("Continue what a process that was ended left of the file.")] = False
    overwrite: Annotated[bool, make_help("Replace the file, or what is left of it.")] = False


def predict(model: Path, /, flags: PredictFlags) -> Outcome:
    """Predict images without labels, to CSV, JSON Lines or Parquet.

    Args:
        model: A compiled model's folder, or an ONNX file or checkpoint, which is compiled first.
    """
    from assay.command_line.given_model import provide_models
    from assay.command_line.terminal import open_listener
    from assay.images.label_files import LabelOptions
    from assay.images.request import ImageRequest
    from assay.workflows.evaluate.predict_images import PredictRequest, check_output, predict_images

    request = PredictRequest(
        images=ImageRequest(
            path=flags.images,
            labels=LabelOptions(classes=flags.classes),
            reading=flags.to_read_options(),
            limit=flags.limit,
        ),
        output=flags.output,
        mode=choose_mode(resume=flags.resume, overwrite=flags.overwrite),
        batch_size=flags.batch_size,
    )
    check_output(request)
    refuse_same_file(flags.output, model, flags.images, flags.classes, flags.find_model_file())
    with open_listener(quiet=flags.quiet) as listener:
        (compiled_dir,) = provide_models([model], flags, listener)
        if several := flags.to_several_devices(compiled_dir):
            request = dataclasses.replace(request, compute_shards=several.compute_shards)
        made = predict_images(compiled_dir, request, listener, sys.argv[1:])
    failed_count = sum(made.failures.values())
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in made.failures.items())
    failed = f", {failed_count:,} of them failed ({reasons})" if failed_count else ""
    lines = [f"{made.path}: {made.image_count:,} images{failed}"]
    if made.outputs == "scores":
        lines.append("Note: the network's outputs are no logits and no probabilities: none are written")
    return Outcome(
        lines=lines,
        document={"predictions": made},
        exit_status=EXIT_SOME_IMAGES_FAILED if failed_count else 0,
    )
