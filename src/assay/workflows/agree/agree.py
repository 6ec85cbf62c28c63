"""Compiled models and finished runs to the matrix of how far their answers agree."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from assay.errors import BadInputError, UsageError
from assay.files import encode_json, write_file
from assay.images.classes import read_classes
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sources import ImageIndex
from assay.inference.identity import identify_run
from assay.measure.agreement_matrix import AgreementMatrix, compare_ways
from assay.measure.gates import Evidence, Gate
from assay.measure.judge_together import judge_gates
from assay.report.agreement import render_agreement_page
from assay.runs.listener import Listener
from assay.runs.stored import StoredRun
from assay.workflows.agree.ways import AgreeSource, Answered, PredictTask, open_source, read_run, run_compiled
from assay.workflows.results.matching_runs import check_comparable

MAX_LOGIT_BYTES = 2**30
PAGE, DOCUMENT = "agree.html", "agree.json"


@dataclass(frozen=True, kw_only=True)
class AgreeRequest:
    """What is compared, and on what.

    Args:
        images: The images that compiled models are run on, and finished runs are compared on; None where
            there are finished runs alone, which are compared on the images that they have in common.
        batch_sizes: At which compiled models are run; empty for the one of each.
        gates: What each two ways must show.
    """

    images: ImageRequest | None
    batch_sizes: tuple[int, ...] = ()
    gates: tuple[Gate, ...] = ()


def measure_matrix(paths: Sequence[Path], request: AgreeRequest, listener: Listener) -> AgreementMatrix:
    """Compare every way of running a model that the folders hold with every other.

    Args:
        paths: Folders of compiled models and of finished runs, mixed.
        request: The images, the batch sizes, the gates.
        listener: Hears how far it is.

    Raises:
        UsageError: Fewer than two ways, no images for a compiled model, a folder that holds neither kind, or
            a run that was cut.
        BadInputError: Models of other classes, or runs without a common image.
    """
    sources = [open_source(path) for path in paths]
    _check_sources(sources, request)
    output = sources[0].record.output
    index = (
        index_requested_images(request.images, read_classes(sources[0].record)) if request.images else None
    )
    answered = list(_name(_answer(sources, index, request, listener)))
    if len(answered) < 2:
        raise UsageError(
            "assay agree: one way of running a model agrees with itself",
            hint="give several folders, or several --batches",
        )
    given = [(way, rows) for way, rows in answered if not way.refusal]
    try:
        cells = tuple(compare_ways(given, output.label_offset))
    except ValueError as error:
        raise BadInputError(f"the runs cannot be compared: {error}") from error
    matrix = AgreementMatrix(
        images=f"{request.images.path}" if request.images else "those of the runs",
        image_count=len(index.images) if index else max(cell.answers.image_count for cell in cells),
        ways=tuple(way for way, _ in answered),
        cells=cells,
        notes=tuple(_list_notes(sources, index)),
    )
    refused = tuple(way.title for way in matrix.ways if way.refusal)
    evidence = Evidence(answers=tuple(cell.answers for cell in cells), not_run=refused)
    return msgspec.structs.replace(matrix, gates=judge_gates(request.gates, evidence))


def write_matrix(matrix: AgreementMatrix, folder: Path) -> Path:
    """Write `agree.json` and `agree.html` into the folder; returns where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / DOCUMENT, encode_json(matrix))
    write_file(folder / PAGE, render_agreement_page(matrix).encode("utf-8", "backslashreplace"))
    return folder / PAGE


def _check_sources(sources: Sequence[AgreeSource], request: AgreeRequest) -> None:
    if not sources:
        raise UsageError("assay agree: no folder given")
    compiled = [source for source in sources if source.compiled is not None]
    if compiled and request.images is None:
        raise UsageError(
            f"{compiled[0].path} is a compiled model: --images says what it is run on", hint="give --images"
        )
    if request.batch_sizes and not compiled:
        raise UsageError("--batches has no effect: finished runs alone are given", hint="leave it out")
    runs = [source.run for source in sources if source.run is not None]
    for run in runs:
        check_comparable(runs[0], run)
    first = sources[0].record.output
    for source in sources[1:]:
        other = source.record.output
        if (other.class_count, other.label_offset) != (first.class_count, first.label_offset):
            raise BadInputError(
                f"{source.path} has other classes than {sources[0].path}: {other.class_count} with label "
                f"offset {other.label_offset} against {first.class_count} with {first.label_offset}",
                hint="compare models over the same classes",
            )


def _answer(
    sources: Sequence[AgreeSource], index: ImageIndex | None, request: AgreeRequest, listener: Listener
) -> Iterator[Answered]:
    paths = {image.relative_path for image in index.images} if index else None
    way_count = sum(max(1, len(request.batch_sizes)) for source in sources if source.compiled is not None)
    classes = sources[0].record.output.class_count
    keep_logits = 4 * way_count * classes * (len(index.images) if index else 0) <= MAX_LOGIT_BYTES
    task = PredictTask(index=index, listener=listener, keep_logits=keep_logits) if index else None
    for source in sources:
        if source.run is not None:
            yield from read_run(source.run, paths)
        elif task is not None:
            yield from run_compiled(source, request.batch_sizes, task)


def _name(answered: Iterator[Answered]) -> Iterator[Answered]:
    """Give each way a letter, from the 27th on two."""
    letters = string.ascii_uppercase
    for number, (way, rows) in enumerate(answered):
        tens, ones = divmod(number, len(letters))
        name = (letters[tens - 1] if tens else "") + letters[ones]
        yield msgspec.structs.replace(way, name=name), rows


def _list_notes(sources: Sequence[AgreeSource], index: ImageIndex | None) -> Iterator[str]:
    """Yield where runs were over other images than those that are compared."""
    runs = [source.run for source in sources if source.run is not None]
    if index is None:
        others = [run for run in runs if run.identity.images != runs[0].identity.images]
        yield from (
            f"{run.path} is over other images than {runs[0].path}, or a part of them" for run in others
        )
        return
    identity = identify_run(None, None, index.images, index.identity, shard_size=1, keep_logits=False)
    for run in runs:
        if run.identity.images != identity.images:
            yield _describe_other_images(run, index)


def _describe_other_images(run: StoredRun, index: ImageIndex) -> str:
    return (
        f"{run.path} is over {run.image_count:,} images that are not the {len(index.images):,} of "
        f"{index.path}: compared on those with the same path"
    )
