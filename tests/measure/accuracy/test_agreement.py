from __future__ import annotations

import pytest

from assay.inference.predictions import Prediction
from assay.measure.accuracy.agreement import LISTED_DIFFERENCES, measure_agreement


def predict(path: str, top_class: int = 0, top_logit: float = 0.0, status: str = "ok") -> Prediction:
    is_ok = status == "ok"
    return Prediction(
        name="a",
        relative_path=path,
        label=0,
        status=status,
        top_classes=(top_class,) if is_ok else (),
        top_logits=(top_logit,) if is_ok else (),
    )


def test_images_are_matched_by_path_not_by_place() -> None:
    torch = [predict("a", 1, 5.0), predict("b", 2, 6.0), predict("c", 3, 7.0)]
    candidate = [predict("c", 3, 7.25), predict("a", 1, 4.5), predict("b", 9, 6.0)]
    agreement = measure_agreement("torch", torch, candidate)
    assert (agreement.reference, agreement.image_count, agreement.same_top1_count) == ("torch", 3, 2)
    assert agreement.differing_images == ("b",)
    assert agreement.max_logit_difference == 0.5


def test_images_without_a_label_and_those_of_one_run_only_are_not_compared() -> None:
    torch = [predict("a"), predict("b", status="no label"), predict("c"), predict("d")]
    candidate = [predict("a"), predict("b"), predict("c", status="no label"), predict("e")]
    agreement = measure_agreement("torch", torch, candidate)
    assert agreement.image_count == 1
    coverage = agreement.coverage
    lists = (coverage.unlabelled_in_reference, coverage.unlabelled_in_candidate)
    assert [found.first for found in lists] == [("b",), ("c",)]
    assert (coverage.only_in_reference.first, coverage.only_in_candidate.first) == (("d",), ("e",))


def test_a_failed_image_is_a_wrong_one_in_the_paired_counts() -> None:
    torch = [predict("a"), predict("b"), predict("c", status="not decodable"), predict("d", status="empty")]
    candidate = [predict("a"), predict("b", status="empty"), predict("c"), predict("d", status="empty")]
    agreement = measure_agreement("torch", torch, candidate)
    paired = agreement.paired
    assert (paired.both_count, paired.lost_count, paired.won_count, paired.image_count) == (1, 1, 1, 4)
    assert agreement.same_top1_count == 1


def test_only_the_first_differing_images_are_listed() -> None:
    paths = [f"{n}" for n in range(LISTED_DIFFERENCES + 5)]
    agreement = measure_agreement("torch", [predict(p, 0) for p in paths], [predict(p, 1) for p in paths])
    assert agreement.differing_images == tuple(paths[:LISTED_DIFFERENCES])
    assert agreement.image_count - agreement.same_top1_count == len(paths)


def test_nothing_in_common_is_no_agreement() -> None:
    with pytest.raises(ValueError, match="no labelled image in common"):
        measure_agreement("torch", [predict("a")], [predict("b")])
