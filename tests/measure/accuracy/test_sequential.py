"""What a sample rules out, against scipy's hypergeometric distributions and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom, multivariate_hypergeom

from assay.measure.accuracy.sequential import rules_out_at_least, rules_out_at_most, rules_out_small_loss


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_count_is_ruled_out_where_every_value_from_it_on_is_unlikely_enough(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    drawn = data.draw(st.integers(1, count))
    hits = data.draw(st.integers(0, drawn))
    least = data.draw(st.integers(0, count))
    error = data.draw(st.sampled_from([0.2, 0.05, 0.001]))
    likelihoods = hypergeom.pmf(hits, count, np.arange(count + 1), drawn)
    largest = likelihoods[least:].max()
    ratio = math.inf if largest == 0 else likelihoods.mean() / largest
    assume(abs(ratio * error - 1) > 1e-9)
    assert rules_out_at_least(hits, drawn, least, count, error) == (ratio >= 1 / error)
    assert rules_out_at_most(drawn - hits, drawn, count - least, count, error) == (ratio >= 1 / error)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_small_loss_is_ruled_out_where_every_pair_with_it_is_unlikely_enough(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 14))
    drawn = data.draw(st.integers(1, count))
    lost = data.draw(st.integers(0, drawn))
    won = data.draw(st.integers(0, drawn - lost))
    most = data.draw(st.integers(0, count))
    error = data.draw(st.sampled_from([0.5, 0.2, 0.05]))
    pairs = [(a, b) for a in range(count + 1) for b in range(count + 1 - a)]
    sample = [lost, won, drawn - lost - won]
    likelihoods = np.array(
        [multivariate_hypergeom.pmf(sample, [a, b, count - a - b], drawn) for a, b in pairs]
    )
    largest = max((p for p, (a, b) in zip(likelihoods, pairs, strict=True) if a - b <= most), default=0)
    ratio = math.inf if largest == 0 else likelihoods.mean() / largest
    assume(abs(ratio * error - 1) > 1e-9)
    assert rules_out_small_loss(lost, won, drawn, most, count, error) == (ratio >= 1 / error)


@pytest.mark.parametrize(("hits", "error"), [(150, 0.05), (150, 0.2), (20, 0.05)])
def test_a_true_count_is_seldom_ruled_out_though_every_image_is_looked_at(hits: int, error: float) -> None:
    rng = np.random.default_rng(1)
    count, runs = 200, 500
    answers = np.arange(count) < hits
    ruled_out = 0
    for _ in range(runs):
        sums = np.cumsum(rng.permutation(answers))
        ruled_out += any(
            rules_out_at_least(int(found), drawn, hits, count, error)
            for drawn, found in enumerate(sums, start=1)
        )
    assert 0 < ruled_out <= runs * error


def test_a_loss_that_is_just_small_enough_is_seldom_ruled_out() -> None:
    rng = np.random.default_rng(2)
    count, lost, won, error, runs = 200, 100, 95, 0.4, 300
    answers = np.repeat([1, -1, 0], [lost, won, count - lost - won])
    ruled_out = 0
    for _ in range(runs):
        order = rng.permutation(answers)
        sums = zip(np.cumsum(order == 1), np.cumsum(order == -1), strict=True)
        ruled_out += any(
            rules_out_small_loss(int(down), int(up), drawn, lost - won, count, error)
            for drawn, (down, up) in enumerate(sums, start=1)
        )
    assert 0 < ruled_out <= runs * error


def test_a_broken_model_is_caught_within_16_images_of_50000_at_one_in_a_million() -> None:
    assert rules_out_at_least(0, 16, 39_143, 50_000, 1e-6)


def test_after_the_last_image_every_false_count_is_ruled_out_and_no_true_one() -> None:
    assert rules_out_at_least(7, 10, 8, 10, 1e-300)
    assert not rules_out_at_least(7, 10, 7, 10, 0.4)
