from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.images.listing import LabelledImage
from assay.images.preprocessed_image import OK, PreprocessedImage
from assay.inference.predictions import NO_LABEL, NON_FINITE, make_predictions, rank_top_classes

MakeSource = Callable[..., LabelledImage]
# Few different values, so that ties are the rule; -0.0 and 0.0 are equal too.
LOGITS = st.sampled_from([-3.5, -0.0, 0.0, 1.0, 1.0000001, 8.0, 3e38, -3e38])
PIXELS = np.zeros((3, 8, 8), dtype=np.float32)


@settings(deadline=None)
@given(
    rows=st.integers(1, 30).flatmap(lambda n: st.lists(st.lists(LOGITS, min_size=n, max_size=n), min_size=1))
)
def test_the_top_classes_are_those_of_a_stable_sort(rows: list[list[float]]) -> None:
    logits = np.array(rows, dtype=np.float32).reshape(len(rows), -1)
    ranked = rank_top_classes(logits)
    assert ranked.dtype == np.int32
    for row, classes in zip(logits.tolist(), ranked.tolist(), strict=True):
        by_rank = sorted(range(len(row)), key=lambda index: row[index], reverse=True)  # sorted() is stable
        assert classes == by_rank[:5]


def test_some_classes_alone_are_ranked_by_their_logits_among_themselves(make_source: MakeSource) -> None:
    logits = np.array([[9, 1, 7, 2, 2, 8, 3]], dtype=np.float32)
    image = PreprocessedImage(source=make_source("a.png", 0, label=3), image=PIXELS, status=OK)
    (found,) = make_predictions([image], logits, keep_logits=False, subset=(1, 3, 4, 6))
    assert found.top_classes == (0, 5, 2, 6, 3)
    assert found.subset_classes == (6, 3, 4, 1)


def test_equal_logits_rank_by_class_index() -> None:
    assert rank_top_classes(np.zeros((1, 1000), dtype=np.float32)).tolist() == [[0, 1, 2, 3, 4]]


def test_the_top_logits_are_those_of_the_top_classes(make_source: MakeSource) -> None:
    logits = np.array([[0.5, -1, 7, 2.25, 7, 3, 1]], dtype=np.float32)
    source = make_source("a.png", 0, label=3)
    (prediction,) = make_predictions(
        [PreprocessedImage(source=source, image=PIXELS)], logits, keep_logits=False
    )
    assert prediction.top_classes == (2, 4, 5, 3, 6)
    assert prediction.top_logits == (7, 7, 3, 2.25, 1)
    assert (prediction.name, prediction.label, prediction.status) == ("a.png", 3, OK)
    assert prediction.logits is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 9])
def test_logits_that_are_not_finite_are_a_failed_image(
    value: float, place: int, make_source: MakeSource
) -> None:
    logits = np.arange(30, dtype=np.float32).reshape(3, 10)
    logits[1, place] = value
    batch = [PreprocessedImage(source=make_source(name, 0), image=PIXELS) for name in "abc"]
    before, failed, after = make_predictions(batch, logits, keep_logits=True)
    assert failed.status == NON_FINITE
    assert failed.top_classes == failed.top_logits == ()
    assert failed.logits is None
    assert before.top_classes == after.top_classes == (9, 8, 7, 6, 5)
    assert before.status == after.status == OK


def test_an_image_that_failed_takes_no_row_of_the_logits(make_source: MakeSource) -> None:
    logits = np.array([[1, 0], [0, 1]], dtype=np.float32)
    batch = [
        PreprocessedImage(source=make_source("a", 0), image=PIXELS, note="odd"),
        PreprocessedImage(source=make_source("b", None), image=None, status="not decodable: empty file"),
        PreprocessedImage(source=make_source("c", 0), image=PIXELS),
    ]
    rows = make_predictions(batch, logits, keep_logits=False)
    assert [(row.name, row.status, row.top_classes) for row in rows] == [
        ("a", OK, (0, 1)),
        ("b", "not decodable: empty file", ()),
        ("c", OK, (1, 0)),
    ]
    assert [row.note for row in rows] == ["odd", "", ""]


def test_an_image_without_a_label_is_predicted_but_not_ok(make_source: MakeSource) -> None:
    batch = [PreprocessedImage(source=make_source("a", 0, label=None), image=PIXELS)]
    (prediction,) = make_predictions(batch, np.array([[0, 1]], dtype=np.float32), keep_logits=False)
    assert (prediction.status, prediction.label) == (NO_LABEL, None)
    assert prediction.top_classes == (1, 0)


def test_kept_logits_are_all_of_them(make_source: MakeSource) -> None:
    logits = np.arange(20, dtype=np.float32).reshape(2, 10)
    batch = [PreprocessedImage(source=make_source(name, 0), image=PIXELS) for name in "ab"]
    rows = make_predictions(batch, logits, keep_logits=True)
    for row, expected in zip(rows, logits, strict=True):
        np.testing.assert_array_equal(np.asarray(row.logits), expected)
