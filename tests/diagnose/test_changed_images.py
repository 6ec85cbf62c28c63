from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from assay.diagnose.changed_images import ImagesFinding, compute_stratified_p, examine_changes


@pytest.mark.parametrize("table", [(8, 2, 1, 5), (0, 10, 3, 20), (5, 5, 50, 50), (1, 0, 0, 1)])
def test_one_stratum_is_fishers_exact_test(table: tuple[int, int, int, int]) -> None:
    expected = stats.fisher_exact(np.array(table).reshape(2, 2)).pvalue
    assert compute_stratified_p([table]) == pytest.approx(expected)


def test_strata_add_up_and_an_empty_one_changes_nothing() -> None:
    tables = [(3, 7, 2, 8), (4, 6, 1, 9)]
    assert compute_stratified_p([*tables, (0, 0, 0, 0)]) == pytest.approx(compute_stratified_p(tables))
    assert compute_stratified_p(tables) < min(compute_stratified_p([one]) for one in tables)


def examine(is_grey: np.ndarray, is_changed: np.ndarray, margins: np.ndarray) -> ImagesFinding:
    """Two classes: the reference says class 0 by these margins, the other says class 1 where it changed."""
    count = len(margins)
    scores = np.stack([margins, np.zeros(count)], axis=1)
    other = np.where(is_changed[:, None], scores[:, ::-1], scores)
    traits = [{"greyscale": bool(one)} for one in is_grey]
    return examine_changes([f"{k}" for k in range(count)], traits, scores, other, np.zeros(count, np.int64))


def test_a_small_margin_that_explains_all_changes_leaves_nothing_to_a_trait_that_goes_with_it() -> None:
    rng = np.random.default_rng(0)
    margins = rng.uniform(0.01, 10, 400)
    is_grey = rng.random(400) < np.where(margins < 1, 0.8, 0.2)  # grey images have small margins
    found = examine(is_grey, margins < 0.6, margins)
    (grey,) = found.traits
    assert grey.p_value < 1e-4
    assert grey.p_given_margin > 0.05
    assert found.attributes == ()
    assert found.margin_auc == 1


def test_a_trait_that_adds_to_the_margin_is_named() -> None:
    rng = np.random.default_rng(1)
    margins, is_grey = rng.uniform(0.01, 10, 400), rng.random(400) < 0.2
    found = examine(is_grey, is_grey & (rng.random(400) < 0.5), margins)
    assert found.attributes == ("greyscale",)
    assert (found.lost_count, found.won_count) == (len(found.changed), 0)


def test_changed_images_come_smallest_margin_first() -> None:
    margins = np.array([3.0, 1.0, 2.0, 9.0])
    found = examine(np.zeros(4, bool), np.array([True, True, True, False]), margins)
    assert found.changed == ("1", "2", "0")
    assert found.traits == ()


def test_scores_that_are_not_finite_are_another_answer() -> None:
    scores = np.array([[2.0, 1.0], [2.0, 1.0]])
    other = np.array([[np.nan, 1.0], [2.0, 1.0]])
    found = examine_changes(["a", "b"], [{}, {}], scores, other, np.zeros(2, np.int64))
    assert (found.changed, found.lost_count) == (("a",), 1)


def test_nothing_changed_has_no_auc() -> None:
    assert examine(np.zeros(4, bool), np.zeros(4, bool), np.arange(1.0, 5)).margin_auc is None
