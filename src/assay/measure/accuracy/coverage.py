"""Which images two runs are compared on: what failed, what lacks a label, what only one of them has."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator

import msgspec

from assay.images.preprocessed_image import OK
from assay.inference.predictions import NO_LABEL, Prediction

LISTED_IMAGES = 20
NAMED_IMAGES = 3


class ImageList(msgspec.Struct, frozen=True, kw_only=True):
    """So many images, and the paths of the first 20."""

    count: int = 0
    first: tuple[str, ...] = ()


class Coverage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The images of two runs that are not simply answered by both.

    Those that `failed` are compared, as wrong answers; `failed_in_reference` and `failed_in_candidate` are
    answered by the other run. Those that are `unlabelled`, and those that are `only` in one run, are not
    compared.
    """

    failed_in_reference: ImageList = ImageList()
    failed_in_candidate: ImageList = ImageList()
    failed_in_both: ImageList = ImageList()
    unlabelled_in_reference: ImageList = ImageList()
    unlabelled_in_candidate: ImageList = ImageList()
    unlabelled_in_both: ImageList = ImageList()
    only_in_reference: ImageList = ImageList()
    only_in_candidate: ImageList = ImageList()

    @property
    def failed_count(self) -> int:
        """How many of the compared images one of the runs, or both, could not answer."""
        return self.failed_in_reference.count + self.failed_in_candidate.count + self.failed_in_both.count


class Pairing:
    """Pairs the rows of two runs by path; `coverage` says afterwards what could not simply be paired."""

    def __init__(self, reference: Iterable[Prediction]) -> None:
        self._unpaired = dict(_number_rows(reference))
        self._gaps: dict[str, list[str]] = collections.defaultdict(list)

    def pair(self, candidate: Iterable[Prediction]) -> Iterator[tuple[Prediction, Prediction]]:
        """Yield the rows of each image that both runs have with a label, the reference's first.

        Raises:
            ValueError: An image has another label in the other run.
        """
        for key, row in _number_rows(candidate):
            reference_row = self._unpaired.pop(key, None)
            gap = "only_in_candidate" if reference_row is None else _find_gap(reference_row, row)
            if gap:
                self._gaps[gap].append(row.relative_path)
            if reference_row is not None and not gap.startswith("unlabelled"):
                yield reference_row, row

    @property
    def coverage(self) -> Coverage:
        """What was found, when all pairs were gone through."""
        gaps = {**self._gaps, "only_in_reference": [path for path, _ in self._unpaired]}
        return Coverage(
            **{
                name: ImageList(count=len(paths), first=tuple(paths[:LISTED_IMAGES]))
                for name, paths in gaps.items()
            }
        )


def _number_rows(rows: Iterable[Prediction]) -> Iterator[tuple[tuple[str, int], Prediction]]:
    """Yield each row by its path and by how often that came before: a Parquet data set may repeat one."""
    counts: collections.Counter[str] = collections.Counter()
    for row in rows:
        yield (row.relative_path, counts[row.relative_path]), row
        counts[row.relative_path] += 1


def _find_gap(reference: Prediction, candidate: Prediction) -> str:
    """Return the field of `Coverage` that the image belongs to; empty where both runs answered it."""
    lacking = [row.label is None or row.status == NO_LABEL for row in (reference, candidate)]
    if any(lacking):
        return f"unlabelled_in_{_name_side(*lacking)}"
    if reference.label != candidate.label:
        raise ValueError(
            f"{candidate.relative_path} has label {reference.label} in the one run and {candidate.label} in "
            "the other"
        )
    failed = [row.status != OK for row in (reference, candidate)]
    return f"failed_in_{_name_side(*failed)}" if any(failed) else ""


def _name_side(in_reference: bool, in_candidate: bool) -> str:
    if in_reference and in_candidate:
        return "both"
    return "reference" if in_reference else "candidate"


def describe_failures(coverage: Coverage, reference: str, candidate: str) -> list[str]:
    """Return a line for each kind of failed image: how many, in which run, and the first of them."""
    return _describe_lists(
        (coverage.failed_in_candidate, f"of {reference} failed in {candidate}, counted as wrong there"),
        (coverage.failed_in_reference, f"of {candidate} failed in {reference}, counted as wrong there"),
        (coverage.failed_in_both, "failed in both, counted as wrong in both"),
    )


def describe_other_images(coverage: Coverage, reference: str, candidate: str) -> list[str]:
    """Return a line for each kind of image that is in one run only, or has a label in one run only."""
    return _describe_lists(
        (coverage.only_in_reference, f"of {reference} not in {candidate}, not compared"),
        (coverage.only_in_candidate, f"of {candidate} not in {reference}, not compared"),
        (coverage.unlabelled_in_candidate, f"without a label in {candidate}, not compared"),
        (coverage.unlabelled_in_reference, f"without a label in {reference}, not compared"),
    )


def describe_scope(coverage: Coverage, image_count: int) -> str:
    """Which images a verdict holds for, to stand behind it; empty where they are all of both runs."""
    if not describe_other_images(coverage, "A", "B"):
        return ""
    return f", on the {image_count:,} labelled images that both have"


def describe_coverage(coverage: Coverage, reference: str, candidate: str) -> list[str]:
    """Return all that must be known of the images before a figure of the comparison is read."""
    return [
        *describe_failures(coverage, reference, candidate),
        *describe_other_images(coverage, reference, candidate),
        *_describe_lists((coverage.unlabelled_in_both, "without a label, not compared")),
    ]


def _describe_lists(*described: tuple[ImageList, str]) -> list[str]:
    """Return `40 images of A failed in B: a.jpg, b.jpg, c.jpg, …` for each list that is not empty."""
    return [
        f"{images.count:,} {'image' if images.count == 1 else 'images'} {what}: "
        f"{', '.join(images.first[:NAMED_IMAGES])}{', …' if images.count > NAMED_IMAGES else ''}"
        for images, what in described
        if images.count
    ]
