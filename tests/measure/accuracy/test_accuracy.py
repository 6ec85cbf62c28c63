from __future__ import annotations

import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import (
    LISTED_FAILURES,
    compute_wilson_interval,
    count_topk_hits,
    measure_accuracy,
    measure_class_accuracy,
)

COUNTS = st.integers(1, 100_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count)))


def predict(label: int | None, *top_classes: int, status: str = "ok", note: str = "") -> Prediction:
    return Prediction(
        name="a", relative_path="a", label=label, status=status, note=note, top_classes=top_classes
    )


@st.composite
def draw_prediction(draw: st.DrawFn) -> Prediction:
    label = draw(st.none() | st.integers(0, 8))
    status = draw(st.sampled_from(["ok", "ok", "logits are not finite"])) if label is not None else "no label"
    classes = draw(st.permutations(range(9)))[:5] if status != "logits are not finite" else []
    return predict(label, *classes, status=status)


PREDICTIONS = st.lists(draw_prediction(), min_size=1, max_size=40)


@settings(deadline=None)
@given(counts=COUNTS, confidence=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_is_scipys_wilson_interval(counts: tuple[int, int], confidence: float) -> None:
    hits, count = counts
    expected = scipy.stats.binomtest(hits, count).proportion_ci(confidence, method="wilson")
    found = compute_wilson_interval(hits, count, confidence)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)


@given(counts=COUNTS)
def test_the_interval_holds_the_share_and_lies_between_0_and_1(counts: tuple[int, int]) -> None:
    low, high = compute_wilson_interval(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@pytest.mark.parametrize(("hits", "count"), [(0, 0), (-1, 5), (6, 5)])
def test_no_interval_without_trials_or_beyond_them(hits: int, count: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= hits <= count"):
        compute_wilson_interval(hits, count)


@settings(deadline=None)
@given(predictions=PREDICTIONS)
def test_hits_are_those_of_a_plain_loop(predictions: list[Prediction]) -> None:
    for k in range(1, 6):
        hits = 0
        for prediction in predictions:
            if prediction.status == "ok" and prediction.label in prediction.top_classes[:k]:
                hits += 1
        assert count_topk_hits(predictions, 0)[k - 1] == hits
        topk = getattr(measure_accuracy(predictions), f"top{k}")
        assert topk.hits == hits
        assert topk.percent == pytest.approx(100 * hits / len(predictions))


@settings(deadline=None)
@given(predictions=PREDICTIONS)
def test_sums_over_the_classes_are_the_totals(predictions: list[Prediction]) -> None:
    accuracy = measure_accuracy(predictions)
    classes = measure_class_accuracy(predictions)
    assert [row.label for row in classes] == sorted(
        {row.label for row in predictions if row.label is not None}
    )
    unlabelled_count = accuracy.failures.get("no label", 0)
    assert sum(row.image_count for row in classes) == accuracy.image_count - unlabelled_count
    assert sum(row.failed_count for row in classes) == accuracy.failed_count - unlabelled_count
    assert sum(row.top1_hits for row in classes) == accuracy.top1.hits
    assert sum(row.top5_hits for row in classes) == accuracy.top5.hits


def test_the_published_accuracy_has_the_published_counts() -> None:
    # 79.06 % of 50,000 are 39,530; the interval is computed by hand from Wilson's formula
    predictions = [predict(1, 1)] * 39_530 + [predict(1, 0)] * 10_470
    top1 = measure_accuracy(predictions).top1
    assert top1.hits == 39_530
    assert (top1.percent, *top1.interval_percent) == pytest.approx((79.06, 78.701, 79.414), abs=1e-3)


def test_failed_images_are_wrong_in_one_figure_and_left_out_of_the_other() -> None:
    accuracy = measure_accuracy(
        [
            predict(1, 1, 2),
            predict(1, 2, 1),
            predict(1, status="not decodable: empty file"),
            predict(None, 1, 2, status="no label"),
        ]
    )
    assert (accuracy.image_count, accuracy.scored_count, accuracy.failed_count) == (4, 2, 2)
    assert (accuracy.top1.hits, accuracy.top1.percent, accuracy.top1.percent_of_scored) == (1, 25, 50)
    assert (accuracy.top2.hits, accuracy.top2.percent, accuracy.top2.percent_of_scored) == (2, 50, 100)
    low, high = scipy.stats.binomtest(1, 4).proportion_ci(method="wilson")
    assert accuracy.top1.interval_percent == pytest.approx((100 * low, 100 * high))


def test_there_is_no_second_figure_where_nothing_failed_or_all_did() -> None:
    assert measure_accuracy([predict(1, 1)]).top1.percent_of_scored is None
    all_failed = measure_accuracy([predict(1, status="no label")])
    assert (all_failed.top1.percent, all_failed.top1.percent_of_scored) == (0, None)


def test_a_failed_image_is_no_hit_whatever_its_classes_say() -> None:
    assert count_topk_hits([predict(1, 1, status="no label")], 0) == [0] * 5


def test_a_network_with_a_background_class_has_its_labels_one_up() -> None:
    predictions = [predict(0, 1, 0), predict(4, 4, 5), predict(5, 5, 4)]
    assert count_topk_hits(predictions, label_offset=1) == [1, 2, 2, 2, 2]
    accuracy = measure_accuracy(predictions, label_offset=1)
    assert (accuracy.top1.hits, accuracy.top5.hits) == (1, 2)
    assert [row.top5_hits for row in measure_class_accuracy(predictions, label_offset=1)] == [1, 1, 0]


def test_reasons_and_notes_are_counted() -> None:
    failed = [predict(1, status="b")] * 2 + [predict(1, status="a")]
    accuracy = measure_accuracy([predict(1, 1, note="odd"), *failed])
    assert accuracy.failures == {"b": 2, "a": 1}
    assert [image.status for image in accuracy.failed_images] == ["b", "b", "a"]
    assert accuracy.noted_count == 1


def test_the_list_of_failed_images_is_bounded_but_their_count_is_not() -> None:
    accuracy = measure_accuracy([predict(1, status="no label")] * (LISTED_FAILURES + 7))
    assert len(accuracy.failed_images) == LISTED_FAILURES
    assert accuracy.failed_count == LISTED_FAILURES + 7


def test_no_images_have_no_accuracy() -> None:
    with pytest.raises(ValueError, match="count >= 1"):
        measure_accuracy([])


@pytest.mark.parametrize(
    ("class_count", "shown"), [(5, ["Top-1"]), (6, ["Top-1", "Top-5"]), (None, ["Top-1", "Top-5"])]
)
def test_top5_is_not_shown_among_five_classes(class_count: int | None, shown: list[str]) -> None:
    accuracy = measure_accuracy([predict(1, 1)], class_count=class_count)
    assert [name for name, _ in accuracy.shown] == shown
    assert str(accuracy).count("\n") == len(shown) - 1


def test_classes_have_their_names_where_they_have_any() -> None:
    (found,) = measure_class_accuracy([predict(1, 1)], names=("cat", "dog"))
    assert (found.label, found.name) == (1, "dog")
