"""Whether a network's answers depend on the batch, or differ from call to call."""

from __future__ import annotations

import numpy as np

from assay.arrays import Images
from assay.diagnose.evidence import find_answers
from assay.diagnose.stage import Predict

IMAGE_COUNT = 8
_NOISE = 1e-2  # of the logits' spread: what sums in another order make, bfloat16 included


def describe_instability(predict: Predict, images: Images) -> list[str]:
    """A sentence for each way in which the logits of an image are not its own; empty where they are.

    Args:
        predict: Runs the network.
        images: As it takes them; the first eight are shown.
    """
    few = np.ascontiguousarray(images[:IMAGE_COUNT])
    first = predict(few).astype(np.float64)
    again = predict(few).astype(np.float64)
    alone = np.concatenate([predict(few[place : place + 1]) for place in range(len(few))]).astype(np.float64)
    turned = predict(np.ascontiguousarray(few[::-1]))[::-1].astype(np.float64)
    ways = {
        "differ from call to call, for the same batch": again,
        "depend on the batch: alone they differ": alone,
        "depend on the place in the batch": turned,
    }
    spread = float(np.nan_to_num(first).std()) or 1.0
    lines = []
    for what, other in ways.items():
        moved = (
            float(np.nan_to_num(np.abs(other - first), nan=np.inf).max()) if np.isfinite(first).all() else 0.0
        )
        changed = int((find_answers(other) != find_answers(first)).sum())
        if moved > _NOISE * spread or changed:
            lines.append(
                f"the logits {what} by up to {moved:.3g}, and {changed} of {len(few)} answers change; settle "
                "that first, since it looks like anything else"
            )
            break  # what differs from call to call differs in every other way too
    return lines
