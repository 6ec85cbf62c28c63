"""The mistakes that a run made."""

from __future__ import annotations

from assay.inference.predictions import Prediction
from assay.measure.accuracy.mistakes import ConfusedPair, find_mistakes


def predict(path: str, label: int, classes: tuple[int, ...], margin: float = 1.0) -> Prediction:
    logits = tuple(10 - margin * rank for rank in range(len(classes)))
    return Prediction(
        name=path, relative_path=path, label=label, status="ok", top_classes=classes, top_logits=logits
    )


def test_mistakes_are_listed_by_the_margin_of_the_likeliest_class() -> None:
    rows = [
        predict("right", 1, (1, 2), 9.0),
        predict("unsure", 1, (2, 1), 0.1),
        predict("sure", 1, (3, 1), 5.0),
        Prediction(name="x", relative_path="failed", label=1, status="not decodable"),
        predict("middling", 4, (2, 4), 2.0),
    ]
    found = find_mistakes(rows, count=2)
    assert [row.relative_path for row in found.confident] == ["sure", "middling"]


def test_confusions_are_counted_and_sorted() -> None:
    rows = [
        predict("a", 1, (2, 1)),
        predict("b", 5, (6, 5)),
        predict("c", 1, (2, 3)),
        predict("d", 2, (1, 2)),
    ]
    assert find_mistakes(rows).confused == (
        ConfusedPair(label=1, predicted=2, count=2),
        ConfusedPair(label=2, predicted=1, count=1),
        ConfusedPair(label=5, predicted=6, count=1),
    )


def test_classes_are_numbered_as_labels_where_there_is_a_background_class() -> None:
    (pair,) = find_mistakes([predict("a", 1, (4, 2)), predict("b", 3, (4, 1))], label_offset=1).confused
    assert (pair.label, pair.predicted) == (1, 3)
