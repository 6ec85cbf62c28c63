"""Which images get another answer: what the reference's margin explains, and what their traits add to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from assay.diagnose.evidence import (
    SIGNIFICANT,
    adjust_by_holm,
    compute_log_probabilities,
    find_answers,
)

STRATA = 10  # of the margin
_RANKED = 3  # answers of a network that are kept
_ODDS, _POWER = (1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0), 0.8


class Trait(msgspec.Struct, frozen=True, kw_only=True):
    """A trait of images, and how many of those with it and without it changed.

    `p_value` is of Fisher's exact test, `p_given_margin` of the exact test within strata of equal margin,
    which tells whether the trait adds to what the margin explains; both two-sided, after Holm.
    """

    name: str
    with_count: int
    changed_with: int
    without_count: int
    changed_without: int
    p_value: float
    p_given_margin: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A class that a network answers, and its probability, 0 to 1; None where scores are not finite."""

    class_index: int
    probability: float | None


class ChangedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image with another answer: what either network says, likeliest first, and by what margin.

    A margin is a network's largest score less its second; None where scores are not finite. `class_index` is
    that of the label, -1 where it means no class; None without labels.
    """

    name: str
    class_index: int | None
    reference: tuple[Answer, ...]
    candidate: tuple[Answer, ...]
    reference_margin: float | None
    candidate_margin: float | None

    @property
    def kind(self) -> Literal["lost", "won", "changed"]:
        """Whether the reference alone is right, the candidate alone, or neither."""
        if self.class_index is None:
            return "changed"
        if self.reference[0].class_index == self.class_index:
            return "lost"
        return "won" if self.candidate[0].class_index == self.class_index else "changed"


class DecoderTrial(msgspec.Struct, frozen=True, kw_only=True):
    """A way to decode JPEGs: of so many changed images, those that the candidate then answers otherwise."""

    name: str
    image_count: int
    flipped: tuple[str, ...]


class ImagesFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Which images get another answer than from the reference.

    Args:
        image_count: Images that both answered.
        changed: Names of those whose answer differs, smallest margin of the reference first.
        lost_count: Right in the reference only; None without labels.
        won_count: Right in the other only.
        margin_auc: How well a small margin of the reference (its largest score less the second) tells the
            changed from the others: 0.5 not at all, 1 wholly; None where none or all changed.
        attributes: The traits that add to the margin, by name.
        traits: All that were tested.
        seen_odds: The smallest odds ratio that would have been found with a power of 80 %, at so many
            changes, of a trait that half of the images have; None where none would.
        details: The changed images, in the order of `changed`.
        decoders: Other ways to decode them; none where they are no JPEGs.
    """

    image_count: int
    changed: tuple[str, ...]
    lost_count: int | None
    won_count: int | None
    margin_auc: float | None
    attributes: tuple[str, ...]
    traits: tuple[Trait, ...]
    seen_odds: float | None = None
    details: tuple[ChangedImage, ...] = ()
    decoders: tuple[DecoderTrial, ...] = ()


def examine_changes(
    names: Sequence[str],
    traits: Sequence[Mapping[str, bool]],
    scores: NDArray[np.float64],
    other: NDArray[np.float64],
    classes: NDArray[np.int64] | None,
) -> ImagesFinding:
    """Say which images changed, and what they have in common.

    Args:
        names: Of the images.
        traits: Of each image: what it is called, and whether the image has it; the same ones for all.
        scores: Of the reference, (N, classes).
        other: Of the other, (N, classes).
        classes: The class of each image's label, (N,); None without labels.
    """
    answers, others = find_answers(scores), find_answers(other)
    is_changed = answers != others
    top = np.sort(scores, axis=1)[:, -2:]
    margins = top[:, 1] - top[:, 0]
    tested = _test_traits(traits, is_changed, margins)
    labels = np.full(len(names), -1) if classes is None else classes
    was_right, is_right = answers == labels, others == labels
    order = [int(place) for place in np.argsort(margins, kind="stable") if is_changed[place]]
    return ImagesFinding(
        image_count=len(names),
        changed=tuple(names[place] for place in order),
        lost_count=None if classes is None else int((was_right & ~is_right).sum()),
        won_count=None if classes is None else int((~was_right & is_right).sum()),
        margin_auc=_compute_auc(margins, is_changed),
        attributes=tuple(one.name for one in tested if one.p_given_margin < SIGNIFICANT),
        traits=tuple(tested),
        seen_odds=_find_seen_odds(len(order), len(tested)),
        details=tuple(
            ChangedImage(
                name=names[place],
                class_index=None if classes is None else int(classes[place]),
                reference=_rank(scores[place]),
                candidate=_rank(other[place]),
                reference_margin=_take_margin(scores[place]),
                candidate_margin=_take_margin(other[place]),
            )
            for place in order
        ),
    )


def _rank(scores: NDArray[np.float64]) -> tuple[Answer, ...]:
    """The likeliest answers; the first alone, -1, where scores are not finite."""
    if not np.isfinite(scores).all():
        return (Answer(class_index=-1, probability=None),)
    shares = np.exp(compute_log_probabilities(scores[None].astype(np.float32))[0])
    best = np.argsort(-scores, kind="stable")[:_RANKED]
    return tuple(Answer(class_index=int(k), probability=float(shares[k])) for k in best)


def _take_margin(scores: NDArray[np.float64]) -> float | None:
    if len(scores) < 2 or not np.isfinite(scores).all():
        return None
    second, first = np.sort(scores)[-2:]
    return float(first - second)


def _find_seen_odds(changed_count: int, tried: int) -> float | None:
    """The smallest of these odds ratios whose exact binomial test at Holm's first step has 80 % power.

    Of a trait that half of the images have, as many changed have it as chance gives: one in two. With an odds
    ratio r it is r of r + 1.
    """
    count, level = changed_count, SIGNIFICANT / max(tried, 1)
    below = [math.comb(count, k) / 2**count for k in range(count + 1)]
    least = next((k for k in range(count + 1) if 2 * sum(below[k:]) < level), None)
    if least is None:
        return None
    for odds in _ODDS:
        share = odds / (odds + 1)
        power = sum(
            math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(least, count + 1)
        )
        if power >= _POWER:
            return odds
    return None


def compute_stratified_p(tables: Sequence[tuple[int, int, int, int]]) -> float:
    """The exact two-sided p-value that a trait and a change are independent in every stratum.

    The sum over strata of how many with the trait changed, given all margins of every table: a convolution of
    hypergeometric distributions. One table alone is Fisher's exact test.

    Args:
        tables: Of each stratum: changed with the trait, not changed with it, changed without it, not changed
            without it.

    >>> round(compute_stratified_p([(8, 2, 1, 5)]), 4)
    0.035
    """
    whole, observed, offset = np.ones(1), 0, 0
    for changed_with, same_with, changed_without, same_without in tables:
        with_count, changed = changed_with + same_with, changed_with + changed_without
        count = with_count + changed_without + same_without
        low, high = max(0, changed + with_count - count), min(changed, with_count)
        logs = [
            _log_choose(with_count, k)
            + _log_choose(count - with_count, changed - k)
            - _log_choose(count, changed)
            for k in range(low, high + 1)
        ]
        whole = np.convolve(whole, np.exp(logs))
        observed += changed_with
        offset += low
    chance = whole[observed - offset]
    return float(min(1.0, whole[whole <= chance * (1 + 1e-9)].sum()))


def _log_choose(count: int, k: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)


def _test_traits(
    traits: Sequence[Mapping[str, bool]], is_changed: NDArray[np.bool_], margins: NDArray[np.float64]
) -> list[Trait]:
    """Every trait that some images have and some have not."""
    ranks = np.argsort(np.argsort(margins, kind="stable"), kind="stable")
    strata = ranks * STRATA // len(margins)
    columns = {name: np.array([bool(one[name]) for one in traits]) for name in (traits[0] if traits else ())}
    columns = {name: has for name, has in columns.items() if 0 < has.sum() < len(has)}
    plain = [compute_stratified_p([_count(has, is_changed)]) for has in columns.values()]
    given = [
        compute_stratified_p([_count(has[strata == k], is_changed[strata == k]) for k in range(STRATA)])
        for has in columns.values()
    ]
    return [
        Trait(
            name=name,
            with_count=int(has.sum()),
            changed_with=int((has & is_changed).sum()),
            without_count=int((~has).sum()),
            changed_without=int((~has & is_changed).sum()),
            p_value=p_value,
            p_given_margin=p_given,
        )
        for (name, has), p_value, p_given in zip(
            columns.items(),
            adjust_by_holm(plain, len(plain)),
            adjust_by_holm(given, len(given)),
            strict=True,
        )
    ]


def _count(has: NDArray[np.bool_], is_changed: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    parts = (has & is_changed, has & ~is_changed, ~has & is_changed, ~has & ~is_changed)
    one, two, three, four = (int(part.sum()) for part in parts)
    return one, two, three, four


def _compute_auc(margins: NDArray[np.float64], is_changed: NDArray[np.bool_]) -> float | None:
    """The share of pairs, one changed and one not, in which the changed one has the smaller margin."""
    changed, same = margins[is_changed], margins[~is_changed]
    if not len(changed) or not len(same):
        return None
    smaller = (changed[:, None] < same[None]).mean() + (changed[:, None] == same[None]).mean() / 2
    return float(smaller)
