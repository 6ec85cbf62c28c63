from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from assay.diagnose.evidence import (
    adjust_by_holm,
    compute_log_probabilities,
    compute_paired_p,
    compute_t_p,
    score_outputs,
)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 10, 63, 399])
def test_students_p_value_is_scipys(freedom: int) -> None:
    for t in (0.0, 0.3, 2.0, 5.0):
        assert compute_t_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), abs=1e-12)


def test_the_paired_p_value_is_scipys() -> None:
    differences = np.random.default_rng(1).normal(0.2, 1, 50)
    assert compute_paired_p(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_no_difference_at_all_is_no_evidence() -> None:
    assert compute_paired_p(np.zeros(20)) == 1


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    assert adjust_by_holm([0.01, 0.04, 0.03], 3) == pytest.approx([0.03, 0.06, 0.06])


def test_probabilities_are_not_taken_through_a_softmax_again() -> None:
    rows = np.array([[0.9, 0.1], [0.25, 0.75]], np.float32)
    assert compute_log_probabilities(rows) == pytest.approx(np.log(rows))


def test_log_probabilities_of_logits_are_log_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (6, 7)).astype(np.float32)
    assert np.exp(compute_log_probabilities(logits)).sum(axis=1) == pytest.approx(np.ones(6))


def test_logits_that_are_not_finite_are_wrong_answers() -> None:
    log_p = compute_log_probabilities(np.array([[1.0, 2.0], [np.nan, 0.0]], np.float32))
    scores = score_outputs(log_p, np.array([1, 0]))
    assert scores.is_right is not None and scores.is_right.tolist() == [True, False]
    assert scores.scores[1] == pytest.approx(math.log(1e-30))
