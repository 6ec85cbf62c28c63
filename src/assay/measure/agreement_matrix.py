"""The agreement matrix: ways of running a model against one another, over the same images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import TopKAccuracy
from assay.measure.accuracy.answers import SameAnswers, compare_answers
from assay.measure.gates import GateResult


class RepeatedCall(msgspec.Struct, frozen=True, kw_only=True):
    """The same call made twice: of how many images, and the largest logit difference; 0 is bit for bit."""

    image_count: int
    max_logit_difference: float


class RunningWay(msgspec.Struct, frozen=True, kw_only=True):
    """A way of running a model: a compiled model at one batch size, or what a finished run says.

    Args:
        name: One or two letters, by which the matrix calls it.
        source: The folder.
        build: The sha256 of engine, device, precision and source, as 64 hex digits: ways that have it in
            common differ in the batch size alone.
        is_stored: Whether its predictions are a finished run's; else they were made here.
        engine: With `device`, `precision` and `runtime`, what ran.
        computed_in: The layers by the arithmetic that they ran in, where the runtime tells it.
        batch_size: Images in one call; None where an older assay did not keep it.
        image_count: Images that it has an answer to, or failed at.
        failed_count: Those that failed.
        full_call_count: Calls that held so many images; None where it is not known.
        top1: Of the labelled images; None where there are none.
        repeated: The same call twice; None for a finished run.
        refusal: Why it was not run; it is in no cell then.
    """

    name: str
    source: str
    build: str
    is_stored: bool
    engine: str
    device: str
    precision: str
    runtime: str = ""
    computed_in: dict[str, int] = {}
    batch_size: int | None
    image_count: int = 0
    failed_count: int = 0
    full_call_count: int | None = None
    top1: TopKAccuracy | None = None
    repeated: RepeatedCall | None = None
    refusal: str = ""

    @property
    def title(self) -> str:
        """What it is, without its letter."""
        batch = "" if self.batch_size is None else f", batch {self.batch_size}"
        return f"{self.engine} {self.device} {self.precision}{batch}"


class AgreementCell(msgspec.Struct, frozen=True, kw_only=True):
    """Two ways by their names, and how far the second answers as the first does."""

    reference: str
    candidate: str
    is_same_model: bool
    answers: SameAnswers


class AgreementMatrix(msgspec.Struct, frozen=True, kw_only=True):
    """`agree.json`: the ways, and a cell for each two of them; `notes` say what must be known first."""

    schema_version: int = 1
    images: str
    image_count: int
    ways: tuple[RunningWay, ...]
    cells: tuple[AgreementCell, ...]
    notes: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()

    @property
    def run_ways(self) -> tuple[RunningWay, ...]:
        """Those that have answers."""
        return tuple(way for way in self.ways if not way.refusal)

    def find(self, one: str, other: str) -> AgreementCell | None:
        """The cell of two ways, in either order; None for a way and itself."""
        return next((cell for cell in self.cells if {cell.reference, cell.candidate} == {one, other}), None)


def compare_ways(
    answered: Sequence[tuple[RunningWay, Sequence[Prediction]]], label_offset: int
) -> Iterator[AgreementCell]:
    """Yield a cell for each two ways, the earlier one as the reference.

    Args:
        answered: Ways with what they say of each image.
        label_offset: The class of label 0.

    Raises:
        ValueError: Two of them have no image in common.
    """
    for number, (one, reference) in enumerate(answered):
        for other, candidate in answered[number + 1 :]:
            yield AgreementCell(
                reference=one.name,
                candidate=other.name,
                is_same_model=one.build == other.build,
                answers=compare_answers(reference, candidate, label_offset),
            )
