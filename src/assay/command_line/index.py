"""`assay index`: images listed and labelled once, into a file that runs read by range."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from assay.command_line.flags import ClassFlags, ReadFlags, ShowFlags, make_help
from assay.command_line.outcome import Outcome

if TYPE_CHECKING:
    from assay.images.classes import Classes


@dataclass(frozen=True, kw_only=True)
class IndexFlags(ShowFlags, ClassFlags, ReadFlags):
    """Flags of `assay index`."""

    output: Annotated[Path, make_help("File for the index.", "-o")] = Path("images.arrow")
    model: Annotated[
        str, make_help("Model record whose classes the labels are of; ImageNet's 1000 if not given.")
    ] = ""
    labels: Annotated[
        Path | None, make_help("File of lines `NAME class`; class folders and ImageNet names need none.")
    ] = None


def index(images: Path, /, flags: IndexFlags = IndexFlags()) -> Outcome:
    """List and label a folder of images once, into a file for --images.

    Args:
        images: A folder of images or class folders, or tar archives that are not compressed.
    """
    from assay.images.request import ImageRequest
    from assay.workflows.write_index import write_image_index

    labels = flags.to_label_options(flags.labels)
    request = ImageRequest(path=images, labels=labels, reading=flags.to_read_options())
    found = write_image_index(request, find_classes(flags.model), flags.output)
    notes = [f"- {note}" for note in found.notes]
    line = f"{flags.output}: {len(found.images):,} images of {images}, labels by {found.label_source}"
    document = {
        "index": str(flags.output),
        "image_count": len(found.images),
        "form": found.form,
        "label_source": found.label_source,
        "notes": list(found.notes),
    }
    return Outcome(lines=[line, *notes], document=document)


def find_classes(model: str) -> Classes:
    """The classes of a model record; ImageNet's where none is named."""
    from assay.images.classes import IMAGENET_CLASSES, read_classes
    from assay.models.read_record import read_model_record

    return read_classes(read_model_record(model)) if model else IMAGENET_CLASSES
