"""`assay cascade`: a fast and an exact compiled model of one network to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.command_line.flags import MAX_DIFFERENT_HELP, ModelFlags, ReadFlags, ShowFlags, make_help
from assay.command_line.outcome import Outcome
from assay.defaults import MAX_DIFFERENT_PERCENT
from assay.files import refuse_same_file


@dataclass(frozen=True, kw_only=True)
class CascadeFlags(ShowFlags, ModelFlags, ReadFlags):
    """Flags of `assay cascade`."""

    images: Annotated[Path, make_help("Images in any form; labels are not needed.")]
    max_different: Annotated[float, make_help(MAX_DIFFERENT_HELP)] = MAX_DIFFERENT_PERCENT
    limit: Annotated[int | None, make_help("Use at most this many images, drawn by their names.")] = None
    overwrite: Annotated[bool, make_help("Replace the compiled model in that folder.")] = False


def cascade(fast: Path, exact: Path, folder: Path, /, flags: CascadeFlags) -> Outcome:
    """Two compiled models to one: one's speed, the other's answers.

    Args:
        fast: The compiled model that answers, such as int8.
        exact: The compiled model whose answers are wanted, such as fp32.
        folder: The folder to write; it holds copies of both.
    """
    from assay.command_line.terminal import open_listener
    from assay.engines.cascade.compose import refuse_other_record
    from assay.engines.compiled_model import read_compiled_json
    from assay.images.classes import read_classes
    from assay.images.request import ImageRequest, index_requested_images
    from assay.models.read_record import read_model_record
    from assay.report.cascade import describe_cascade
    from assay.workflows.models.cascade import CascadeModels, make_cascade

    refuse_same_file(folder, fast, exact, flags.images, flags.find_model_file())
    record = read_compiled_json(exact).model
    if flags.model:
        refuse_other_record((f"--model {flags.model}", read_model_record(flags.model)), (str(exact), record))
    images = ImageRequest(path=flags.images, reading=flags.to_read_options(), limit=flags.limit)
    index = index_requested_images(images, read_classes(record))
    models = CascadeModels(fast_dir=fast, exact_dir=exact, max_different_percent=flags.max_different)
    with open_listener(quiet=flags.quiet) as listener:
        made = make_cascade(models, folder, index, overwrite=flags.overwrite, listener=listener)
    return Outcome(lines=[f"{folder}:", *describe_cascade(made)], document={"cascade": made})
