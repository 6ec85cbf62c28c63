"""What `assay quantize` says: how a model was quantised, and which trials accuracy control made."""

from __future__ import annotations

from collections.abc import Sequence

from assay.measure.accuracy.paired import Trial
from assay.measure.accuracy.verdict import judge_limit
from assay.report.tables.table import Table


def make_trial_table(trials: Sequence[Trial], best: Trial, max_drop: float) -> Table:
    """Return the trials by the number of layers kept in float; `*` marks the one that was written."""
    rows = tuple(
        (
            f"{trial.float_layer_count}{' *' if trial == best else ''}",
            f"{trial.paired.difference_points:+.2f}",
            f"{trial.paired.interval_points[0]:+.2f} to {trial.paired.interval_points[1]:+.2f}",
            f"{trial.paired.lost_count:,}",
            f"{trial.paired.won_count:,}",
            judge_limit(trial.paired, max_drop),
        )
        for trial in trials
    )
    return Table(
        title="Trials",
        header=("Layers in float", "Top-1, points", "95 % interval", "lost", "won", f"loss <= {max_drop:g}"),
        rows=rows,
        notes=(
            f"Against the float model on the same {best.paired.image_count:,} images; * marks what was kept.",
            "The layers were chosen on these images: on others the model may lose more.",
        ),
    )
