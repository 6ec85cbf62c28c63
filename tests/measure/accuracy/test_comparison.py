"""Comparisons of runs image by image, against the anchors of the facts."""

from __future__ import annotations

import pytest

from assay.inference.predictions import Prediction
from assay.measure.accuracy.comparison import compare_predictions


def predict(path: str, label: int, classes: tuple[int, ...], logit: float = 5.0) -> Prediction:
    logits = tuple(logit - rank for rank in range(len(classes)))
    return Prediction(
        name=path, relative_path=path, label=label, status="ok", top_classes=classes, top_logits=logits
    )


def test_flips_are_told_apart_and_listed() -> None:
    reference = [
        predict("a", 1, (1, 2)),
        predict("b", 1, (2, 1)),
        predict("c", 1, (2, 3)),
        predict("d", 4, (4,)),
    ]
    candidate = [
        predict("d", 4, (4,)),
        predict("c", 1, (3, 2)),
        predict("b", 1, (1, 2)),
        predict("a", 1, (2, 1)),
    ]
    found = compare_predictions(reference, candidate)
    assert (found.image_count, found.same_top1_count) == (4, 1)
    kinds = [found.lost, found.won, found.changed]
    assert [[flip.relative_path for flip in kind] for kind in kinds] == [["a"], ["b"], ["c"]]
    assert (found.paired.both_count, found.paired.lost_count, found.paired.won_count) == (1, 1, 1)
    assert (found.lost[0].label, found.lost[0].reference_class, found.lost[0].candidate_class) == (1, 1, 2)


def test_logits_are_compared_over_the_classes_that_both_list() -> None:
    found = compare_predictions([predict("a", 1, (1, 2), 5.0)], [predict("a", 1, (1, 3), 7.0)])
    assert (found.max_logit_difference, found.mean_logit_difference) == (2.0, 2.0)


def test_an_image_that_failed_in_one_run_is_lost_or_won_with_the_reason() -> None:
    failed = Prediction(name="b", relative_path="b", label=1, status="not decodable")
    right = predict("b", 1, (1,))
    found = compare_predictions([predict("a", 1, (1,)), right], [predict("a", 1, (1,)), failed])
    assert (found.image_count, found.paired.lost_count, found.paired.won_count) == (2, 1, 0)
    flip = found.lost[0]
    assert (flip.reference_class, flip.candidate_class, flip.logits) == (1, None, (5.0, None))
    assert flip.failure == "not decodable"
    found = compare_predictions([predict("a", 1, (1,)), failed], [predict("a", 1, (1,)), right])
    assert (found.paired.lost_count, found.paired.won_count) == (0, 1)


def test_an_image_that_failed_in_both_is_wrong_in_both_and_no_change() -> None:
    failed = Prediction(name="b", relative_path="b", label=1, status="not decodable")
    found = compare_predictions([predict("a", 1, (1,)), failed], [predict("a", 1, (1,)), failed])
    assert (found.image_count, found.same_top1_count, found.changed) == (2, 1, ())
    assert found.coverage.failed_in_both.first == ("b",)


def test_a_path_that_a_data_set_repeats_is_compared_as_often() -> None:
    rows = [predict("a", 1, (1,)), predict("a", 2, (1,)), predict("a", 3, (3,))]
    found = compare_predictions(rows, rows)
    assert (found.image_count, found.same_top1_count, found.paired.both_count) == (3, 3, 2)


def test_another_label_for_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a has label 1 in the one run and 2 in the other"):
        compare_predictions([predict("a", 1, (1,))], [predict("a", 2, (1,))])
