"""Says which of a checkpoint's sets of weights was taken; needs no torch."""

from __future__ import annotations

from collections.abc import Collection


def describe_weights_choice(key: str, other_keys: Collection[str]) -> str:
    """Say which set of weights was taken; "" where the file has one, at its top level.

    >>> describe_weights_choice("state_dict", ["state_dict_ema"])
    'weights: state_dict; the file holds state_dict_ema too (--weights-key)'
    """
    others = f"; the file holds {name_first_three(other_keys)} too (--weights-key)" if other_keys else ""
    return f"weights: {key or 'the top level'}{others}" if key or others else ""


def name_first_three(names: Collection[str]) -> str:
    """The names, of more than three the first three and how many more there are.

    >>> name_first_three(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join([*names][:3]) + more
