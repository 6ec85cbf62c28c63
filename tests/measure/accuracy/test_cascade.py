"""The threshold of a cascade, and what it leaves: against scipy, brute force and drawn noise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from assay.inference.predictions import NON_FINITE, AnsweredBy, Prediction
from assay.measure.accuracy.binomial_bound import compute_upper_bound, count_needed_trials
from assay.measure.accuracy.cascade import (
    PairedAnswer,
    choose_by_count,
    choose_by_noise,
    count_answers,
    count_cascade,
    measure_part,
    pair_answers,
)


@pytest.mark.parametrize(("count", "trials"), [(0, 50), (1, 100), (3, 1000), (49, 50), (50, 50), (40, 3000)])
def test_the_bound_is_clopper_and_pearsons(count: int, trials: int) -> None:
    expected = stats.binomtest(count, trials, alternative="less").proportion_ci(0.95, "exact").high
    assert compute_upper_bound(count, trials) == pytest.approx(expected, abs=1e-9)


def test_images_needed_are_the_fewest_whose_bound_is_low_enough() -> None:
    for rate in (0.0005, 0.001, 0.005, 0.02):
        needed = count_needed_trials(rate)
        assert compute_upper_bound(0, needed) <= rate < compute_upper_bound(0, needed - 1)


def answer(
    margin: float, *, is_same: bool = True, is_failed: bool = False, change: float = 0.2
) -> PairedAnswer:
    return PairedAnswer(
        relative_path=f"{margin}", margin=margin, change=change, is_same=is_same, is_failed=is_failed
    )


def test_a_failed_image_is_a_different_one_and_an_image_without_a_margin_is_handed_on() -> None:
    answers = [
        answer(5),
        answer(4, is_same=False),
        answer(1, is_same=False),
        answer(math.nan, is_same=False),
        answer(math.nan, is_same=False, is_failed=True),
        answer(9, is_same=False, is_failed=True),
    ]
    found = count_cascade(answers, 2)
    assert (found.image_count, found.failed_count, found.fast_different_count) == (6, 2, 5)
    assert (found.different_count, found.handed_on_count) == (3, 3)
    assert found.upper_percent == pytest.approx(100 * stats.beta.ppf(0.95, 4, 3))


@pytest.mark.parametrize("max_share", [0.001, 0.02, 0.05])
def test_the_counted_threshold_is_the_lowest_that_passes_all_the_way_down(max_share: float) -> None:
    rng = np.random.default_rng(4)
    answers = [
        answer(float(margin), is_same=bool(margin > rng.exponential(0.3)))
        for margin in rng.uniform(0, 4, 400)
    ]
    answers += [answer(0.5, is_same=False, is_failed=True)]
    threshold = choose_by_count(answers, max_share)

    def passes(at: float) -> bool:
        left = sum((not one.is_same and one.margin > at) or one.is_failed for one in answers)
        provable = stats.beta.ppf(0.95, 2, len(answers) - 1) <= max_share  # what one failed image leaves
        bound = stats.beta.ppf(0.95, left + 1, len(answers) - left)
        return bool(bound <= max_share if provable else left == 1)

    places = sorted({0.0, *(one.margin for one in answers)}, reverse=True)
    expected = next((before for before, at in itertools.pairwise(places) if not passes(at)), 0.0)
    assert threshold == expected


def test_few_images_give_a_threshold_that_leaves_about_what_was_asked_for_of_many() -> None:
    """Margins and changes as EfficientNet-Lite0 has them in int8: a fifth of the margins below 1."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.exponential(4.5, count), rng.laplace(0, 0.27, count)

    left, handed_on = [], []
    margins, changes = draw(400_000)
    for _ in range(50):
        answers = [
            answer(float(margin), change=abs(float(change))) for margin, change in zip(*draw(50), strict=True)
        ]
        threshold = choose_by_noise(answers, 0.001)
        left.append(float(((margins > threshold) & (changes > margins)).mean()))
        handed_on.append(float((margins <= threshold).mean()))
    assert 0.0005 < np.median(left) < 0.002
    assert np.median(handed_on) < 0.2
    assert choose_by_noise([answer(1, change=0)] * 50, 0.001) == 0


def predict(
    name: str,
    classes: tuple[int, ...] = (),
    logits: tuple[float, ...] = (),
    answered_by: AnsweredBy | None = None,
) -> Prediction:
    return Prediction(
        name=name,
        relative_path=name,
        label=1,
        status="ok" if classes else NON_FINITE,
        top_classes=classes,
        top_logits=logits,
        answered_by=answered_by,
    )


def test_answers_of_both_models_are_paired_by_image() -> None:
    fast = [
        predict("a", (1, 2, 3), (9, 6, 1)),
        predict("b", (1, 2, 3), (5, 4, 1)),
        predict("c"),
        predict("d", (1, 2), (2, 1)),
    ]
    exact = [
        predict("a", (1, 2, 3), (8, 6, 1)),
        predict("b", (2, 1, 4), (5, 4, 1)),
        predict("c", (1, 2), (3, 1)),
        predict("d"),
    ]
    found = list(pair_answers(fast, exact, "logits"))
    assert [one.is_same for one in found] == [True, False, False, False]
    assert [one.is_failed for one in found] == [False, False, False, True]
    assert found[0].margin == 3
    # pairs (1,2), (1,3), (2,3) are 3, 8, 5 apart in one and 2, 7, 5 in the other
    assert found[0].change == pytest.approx(2 / 3)
    assert found[1].change == pytest.approx(2)  # of the pair (1, 2) alone
    assert math.isnan(found[2].margin)
    with pytest.raises(ValueError, match="expected the same image, found a and b"):
        list(pair_answers(fast[:1], exact[1:2], "logits"))


def test_answers_are_counted_by_model_and_parts_compared_with_the_exact_one() -> None:
    rows = [
        predict("a", (1,), (1,), answered_by="fast"),
        predict("b", (2,), (1,), answered_by="exact"),
        predict("c"),
    ]
    exact = [predict("a", (1,), (1,)), predict("b", (1,), (1,)), predict("c")]
    assert count_answers(rows) == {"fast": 1, "exact": 1}
    part = measure_part("cascade", "", rows, exact, 0)
    assert (part.top1.hits, part.image_count, part.same_top1_count) == (1, 3, 1)
