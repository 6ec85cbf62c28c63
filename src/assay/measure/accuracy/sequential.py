"""What a random sample, drawn one by one without replacement, rules out of the whole set, looked at any time.

The sample may be looked at after every image: the chance that a value which is true is ruled out at any of
the looks is at most the error. Source: the prior-posterior-ratio martingale with a uniform prior,
Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020; and Ville's
inequality. The ratio is that of the average likelihood over all values to the likelihood of the value.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def rules_out_at_least(hits: int, drawn: int, least: int, count: int, error: float) -> bool:
    """Whether it is ruled out that at least `least` of the whole set are hits.

    >>> rules_out_at_least(0, 8, 39_143, 50_000, 0.001), rules_out_at_least(5, 8, 39_143, 50_000, 0.001)
    (True, False)

    Args:
        hits: In the sample.
        drawn: Size of the sample, drawn at random without replacement.
        least: What is ruled out: so many hits, or more.
        count: Size of the whole set.
        error: Chance at most of ruling out what is true, over all looks together; above 0, below 1.
    """
    if least > hits + count - drawn:
        return True
    if drawn == 0 or (least + 1) * drawn < hits * (count + 1):  # the likeliest value is not below it
        return False
    log_likelihood = (
        _log_choose(least, hits) + _log_choose(count - least, drawn - hits) - _log_choose(count, drawn)
    )
    return -math.log(drawn + 1) - log_likelihood >= -math.log(error)


def rules_out_at_most(hits: int, drawn: int, most: int, count: int, error: float) -> bool:
    """Whether it is ruled out that at most `most` are hits; as `rules_out_at_least`."""
    return rules_out_at_least(drawn - hits, drawn, count - most, count, error)


def rules_out_small_loss(lost: int, won: int, drawn: int, most: int, count: int, error: float) -> bool:
    """Whether it is ruled out that the whole set has at most `most` more lost images than won ones.

    Args:
        lost: Images of the sample that only the reference has right.
        won: Images of the sample that only the candidate has right.
        drawn: Size of the sample, drawn at random without replacement.
        most: What is ruled out: lost less won in the whole set, or less; 0 or more.
        count: Size of the whole set.
        error: As in `rules_out_at_least`.
    """
    if drawn == 0 or (lost - won) * count <= most * drawn:
        return False
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])  # of the factorials
    # The likelihood is concave in unit exchanges, so its largest value under the hypothesis is on the
    # border or one step from it: an exchange changes lost less won by two at most.
    largest = max(_find_likeliest(logs, (lost, won, drawn), edge) for edge in (most, most - 1))
    log_average = -math.log((drawn + 2) * (drawn + 1) / 2)
    log_all = float(logs[count] - logs[drawn] - logs[count - drawn])
    return log_average - (largest - log_all) >= -math.log(error)


def _find_likeliest(logs: npt.NDArray[np.float64], sample: tuple[int, int, int], edge: int) -> float:
    """The largest log likelihood, but for a constant, where lost less won is `edge` in all."""
    lost, won, drawn = sample
    count = len(logs) - 1
    rest = drawn - lost - won
    all_won = np.arange(max(won, lost - edge), (count - edge) // 2 + 1)
    all_lost = all_won + edge
    all_rest = count - all_lost - all_won
    possible = all_rest >= rest
    if not possible.any():
        return -math.inf
    parts = [(all_lost[possible], lost), (all_won[possible], won), (all_rest[possible], rest)]
    return float(sum(logs[whole] - logs[part] - logs[whole - part] for whole, part in parts).max())


def _log_choose(total: int, chosen: int) -> float:
    """The logarithm of the binomial coefficient; minus infinity where it is 0."""
    if not 0 <= chosen <= total:
        return -math.inf
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
