"""Shows photographs to a network: each is decoded once, resized once for each way, and run in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.arrays import Images, Logits, Picture
from assay.diagnose.evidence import Scores, are_probabilities, compute_log_probabilities, score_outputs
from assay.diagnose.label_maps import LabelMap, LabelMaps
from assay.diagnose.view import Photograph, Pictures, View, normalise_pictures, resize_photographs
from assay.models.record import ScoreKind

_BATCH = 32
_HELD_BYTES = 2**29  # of resized pictures; those over that are made again

Predict = Callable[[Images], Logits]
"""Runs the network on float32 (N, channels, height, width)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A view, the label map it is scored by, and what they give on the first photographs.

    `label_map` is None without labels.
    """

    view: View
    label_map: LabelMap | None
    log_p: NDArray[np.float64]
    scores: Scores

    @property
    def count(self) -> int:
        """How many photographs were shown."""
        return len(self.log_p)

    def has_labels_of(self, other: State) -> bool:
        """Whether both are scored by one label map."""
        one, two = self.label_map, other.label_map
        if one is None or two is None:
            return one is two
        return (one.factor, one.value) == (two.factor, two.value)


class Stage:
    """Shows photographs to a network.

    Args:
        photographs: In random order, so that the first of them are a sample of all.
        predict: Runs the network.
        maps: The label maps; None where there are no labels.
        outputs: What gives the network's other outputs, by their names.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        predict: Predict,
        maps: LabelMaps | None,
        outputs: Mapping[str, Predict] | None = None,
    ) -> None:
        self.photographs = photographs
        self.maps = maps
        self.outputs = dict(outputs or {})
        self._are_probabilities: dict[str, bool] = {}  # by output, those that were run
        self._predict = predict
        self._labels = np.array([one.label for one in photographs], dtype=np.int64) if maps else None
        self._pictures: dict[tuple[object, ...], list[Picture]] = {}
        self._held = 0

    @property
    def given_map(self) -> LabelMap | None:
        """The record's own label map."""
        return self.maps.given if self.maps else None

    def show(
        self, view: View, label_map: LabelMap | None, count: int | None = None, known: State | None = None
    ) -> State:
        """Show the first photographs, or all; those that `known` has in the same view are not shown again."""
        last = min(count or len(self.photographs), len(self.photographs))
        parts = [known.log_p] if known else []
        predict = self.outputs.get(view.record.output.name, self._predict)
        for first in range(known.count if known else 0, last, _BATCH):
            pictures = self._resize(view, first, min(first + _BATCH, last))
            found = predict(normalise_pictures(pictures, view))
            so_far = self._are_probabilities.get(view.record.output.name, True)
            self._are_probabilities[view.record.output.name] = so_far and are_probabilities(found)
            parts.append(compute_log_probabilities(found))
        return self._judge(view, label_map, np.concatenate(parts))

    def tell_scores(self, view: View) -> ScoreKind:
        """What the view's output holds: as the record says where it was never run, or is of sigmoids."""
        output = view.record.output
        if output.scores == "sigmoid" or output.name not in self._are_probabilities:
            return output.scores
        return "probabilities" if self._are_probabilities[output.name] else "logits"

    def relabel(self, state: State, given: LabelMap | None) -> State:
        """The same answers under the label map that fits them, mostly the given one."""
        if self.maps is None or self._labels is None or given is None:
            return state
        best = self.maps.find(state.scores.answers, self._labels[: state.count], given)
        return state if best is state.label_map else self._judge(state.view, best, state.log_p)

    def _resize(self, view: View, first: int, stop: int) -> Pictures:
        """Photographs resized as the view says; as many as fit are kept for views that differ elsewhere."""
        kept = self._pictures.setdefault(view.resizing, [])
        if len(kept) >= stop:
            return np.stack(kept[first:stop])
        made = resize_photographs(self.photographs[first:stop], view)
        if first <= len(kept) and self._held + made.nbytes <= _HELD_BYTES:
            new = made[len(kept) - first :]
            kept.extend(new)
            self._held += new.nbytes
        return made

    def _judge(self, view: View, label_map: LabelMap | None, log_p: NDArray[np.float64]) -> State:
        classes = None
        if self._labels is not None and label_map is not None:
            classes = label_map.classes[self._labels[: len(log_p)]]
        return State(view=view, label_map=label_map, log_p=log_p, scores=score_outputs(log_p, classes))
