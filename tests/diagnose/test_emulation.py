from __future__ import annotations

import numpy as np
import pytest

from assay.diagnose.emulation import find_at_risk


def test_images_nearer_to_another_answer_than_half_a_deviation_are_at_risk_and_changed_ones_are_not() -> None:
    names, margins = ["a", "b", "c", "d"], np.array([0.1, 9.0, 0.15, 0.5])
    moved = margins + np.array([-0.2, 0.4, -0.1, -0.4])  # the first one changes its answer
    scores, emulated = (np.stack([one, np.zeros(4)], axis=1) for one in (margins, moved))
    deviation, at_risk = find_at_risk(names, scores, emulated, "bf16")
    assert deviation == pytest.approx(np.sqrt((0.04 + 0.16 + 0.01 + 0.16) / 4))
    assert at_risk == ("c", "d")


def test_infinite_scores_have_no_deviation() -> None:
    scores = np.array([[2.0, 1.0]])
    assert find_at_risk(["a"], scores, np.array([[np.inf, 1.0]]), "fp16") == (None, ())
