"""The commands about the machine and what lies on it: engines, weights, and what is wrong with either."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from assay.command_line.flags import (
    CLASS_FLAGS,
    READ_FLAGS,
    ClassFlags,
    ReadFlags,
    ShowFlags,
    make_help,
)
from assay.command_line.outcome import EXIT_SOME_IMAGES_FAILED, Outcome
from assay.command_line.parse import refuse_unused

EXIT_MACHINE_FAULTY = 4


@dataclass(frozen=True, kw_only=True)
class DoctorFlags(ShowFlags, ClassFlags, ReadFlags):
    """Flags of `assay doctor`."""

    images: Annotated[Path | None, make_help("Data set to examine; this machine if not given.")] = None
    labels: Annotated[Path | None, make_help("Label file of --images, if there is one.")] = None
    model: Annotated[
        str, make_help("Model record whose classes the labels are of; ImageNet's 1000 if not given.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class FetchFlags(ShowFlags):
    """Flags of `assay fetch`."""

    cache: Annotated[Path | None, make_help("Folder for the weights; the user's cache if not given.")] = None


def engines(flags: ShowFlags = ShowFlags()) -> Outcome:  # noqa: ARG001 - main reads --json
    """Say which engines run here, and how to get the others."""
    from assay.report.tables.engines import make_engine_tables
    from assay.workflows.list_engines import list_engines

    found = list_engines()
    return Outcome(lines=make_engine_tables(found), document={"engines": found})


def fetch(model: str, /, flags: FetchFlags = FetchFlags()) -> Outcome:
    """Download a model's weights, and check their hash.

    Args:
        model: Name of a model record, or a TOML file.
    """
    from assay.command_line.terminal import open_listener
    from assay.workflows.models.fetch import fetch_weights

    with open_listener(quiet=flags.quiet) as listener:
        path = fetch_weights(model, flags.cache, listener)
    return Outcome(lines=[str(path)], document={"weights": str(path)})


def doctor(flags: DoctorFlags = DoctorFlags()) -> Outcome:
    """Say what is wrong with a data set, or with this machine."""
    from assay.command_line.index import find_classes
    from assay.command_line.terminal import open_listener
    from assay.report.diagnosis import summarise_images, summarise_machine
    from assay.workflows.doctor import examine_images, examine_machine

    if flags.images is None:
        refuse_unused(flags, (*CLASS_FLAGS, *READ_FLAGS, "model"), "without --images")
    machine = examine_machine()
    if flags.images is None:
        status = EXIT_MACHINE_FAULTY if machine.findings else 0
        return Outcome(lines=summarise_machine(machine), document={"machine": machine}, exit_status=status)
    with open_listener(quiet=flags.quiet) as listener:
        labels = flags.to_label_options(flags.labels)
        classes = find_classes(flags.model)
        images = examine_images(flags.images, classes, labels, flags.to_read_options(), listener)
    return Outcome(
        lines=summarise_images(images),
        document={"images": images, "machine": machine},
        exit_status=EXIT_SOME_IMAGES_FAILED if images.fault_count else 0,
    )
