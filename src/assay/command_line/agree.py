"""`assay agree`: whether all ways of running a model give the same answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from assay.command_line.flags import (
    CLASS_FLAGS,
    READ_FLAGS,
    ClassFlags,
    GateFlags,
    ReadFlags,
    ShowFlags,
    make_help,
)
from assay.command_line.outcome import Outcome, choose_status
from assay.command_line.parse import parse_numbers, refuse_unused
from assay.files import refuse_same_file

if TYPE_CHECKING:
    from assay.images.request import ImageRequest
    from assay.report.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class AgreeFlags(GateFlags, ShowFlags, ClassFlags, ReadFlags):
    """Flags of `assay agree`."""

    images: Annotated[
        Path | None,
        make_help("Images, in any form that `assay run` takes; those of finished runs need none."),
    ] = None
    labels: Annotated[Path | None, make_help("Label file of --images; no labels are needed.")] = None
    limit: Annotated[int | None, make_help("Images at most, drawn by their names; all if not given.")] = None
    batches: Annotated[
        str | None,
        make_help("Batch sizes to run compiled models at, such as 1,4,16; the own one if not given."),
    ] = None
    output: Annotated[Path | None, make_help("Folder for agree.html and agree.json; it is made.", "-o")] = (
        None
    )

    def to_image_request(self) -> ImageRequest | None:
        """The images; None where none are given.

        Raises:
            UsageError: How they are read, without --images.
        """
        from assay.images.request import ImageRequest

        if self.images is None:
            refuse_unused(self, (*CLASS_FLAGS, *READ_FLAGS, "limit"), "without --images")
            return None
        return ImageRequest(
            path=self.images,
            labels=self.to_label_options(self.labels),
            reading=self.to_read_options(),
            limit=self.limit,
        )


def agree(*folders: Path, flags: AgreeFlags = AgreeFlags()) -> Outcome:
    """Compare all ways of running a model: which answer the same.

    Args:
        folders: Folders of compiled models and of finished runs, mixed.
    """
    from assay.command_line.terminal import open_listener
    from assay.report.agreement import describe_agreements, list_matrix_tables
    from assay.report.text import wrap_lines
    from assay.workflows.agree.agree import AgreeRequest, measure_matrix, write_matrix

    if flags.output is not None:
        refuse_same_file(flags.output, *folders, flags.images, flags.labels)
    request = AgreeRequest(
        images=flags.to_image_request(),
        batch_sizes=parse_numbers("--batches", flags.batches),
        gates=flags.to_gates(),
    )
    with open_listener(quiet=flags.quiet) as listener:
        matrix = measure_matrix(folders, request, listener)
    lines: list[str | Table] = [*list_matrix_tables(matrix), "", *wrap_lines(*describe_agreements(matrix))]
    if flags.output is not None:
        lines.append(f"{write_matrix(matrix, flags.output)}")
    return Outcome(
        lines=lines,
        document={"agree": matrix, "gates": matrix.gates},
        exit_status=choose_status((gate.outcome for gate in matrix.gates), flags.cannot_tell),
        gates=matrix.gates,
    )
