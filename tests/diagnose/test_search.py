from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from assay.arrays import Images, Logits
from assay.diagnose.finding import RecordFinding, conclude
from assay.diagnose.label_maps import list_label_maps
from assay.diagnose.settle import search_record
from assay.diagnose.stage import Stage
from assay.diagnose.view import Photograph, View
from pattern_network import CLASS_COUNT, RECORD, SIDE, change_record, recognise, take_photographs

RIGHT = View(record=RECORD)
MAPS = list_label_maps(CLASS_COUNT + 1, RECORD.output)
SQUASHED: dict[str, Any] = {
    "resize": "squash",
    "resize_side": None,
    "resize_size": (SIDE, SIDE),
    "crop_size": None,
}


def diagnose(
    view: View,
    photographs: list[Photograph] | None = None,
    reference: tuple[float, str] | None = None,
    *,
    labelled: bool = True,
) -> RecordFinding:
    stage = Stage(photographs or take_photographs(120), recognise, MAPS if labelled else None)
    return conclude(search_record(stage, stage.show(view, stage.given_map), lambda _: None), reference)


def relabel(photographs: list[Photograph], order: np.ndarray) -> list[Photograph]:
    """The same photographs with other labels."""
    return [replace(one, label=int(order[one.label])) for one in photographs]


def test_nothing_is_blamed_where_the_record_is_right() -> None:
    found = diagnose(RIGHT)
    assert (found.outcome, found.changes) == ("nothing", ())
    assert found.excluded_points is not None and found.excluded_points < 20


def test_no_sample_of_photographs_raises_an_alarm_on_a_right_record() -> None:
    assert [diagnose(RIGHT, take_photographs(64, seed)).outcome for seed in range(10, 14)] == ["nothing"] * 4


@pytest.mark.parametrize(
    ("fault", "factors"),
    [
        (replace(RIGHT, record=change_record(colour_order="BGR")), {"colour_order"}),
        (replace(RIGHT, layout="NHWC"), {"layout"}),
        (replace(RIGHT, orientation="turned by 180"), {"orientation"}),
    ],
    ids=["colour order", "layout", "orientation"],
)
def test_a_fault_is_named_and_undone(fault: View, factors: set[str]) -> None:
    found = diagnose(fault)
    assert found.outcome == "explained"
    assert {change.factor for change in found.changes} == factors
    assert found.after is not None and found.after == diagnose(RIGHT).before


def test_a_wrong_resize_is_found_to_be_one_of_geometry() -> None:
    found = diagnose(replace(RIGHT, record=change_record(**SQUASHED)))
    assert {trial.family for trial in found.trials if trial.is_taken} == {"geometry"}
    assert "resize_size" in {change.factor for change in found.changes}


def test_labels_that_count_from_one_are_found_without_another_run_of_the_network() -> None:
    shifted = relabel(take_photographs(39), np.arange(CLASS_COUNT) + 1)
    found = diagnose(RIGHT, shifted)
    (change,) = found.changes
    assert (change.factor, change.old, change.new) == ("label_offset", 0, -1)


def test_labels_in_the_text_order_of_their_numbers_are_found() -> None:
    as_text = np.argsort(sorted(range(CLASS_COUNT), key=str))
    found = diagnose(RIGHT, relabel(take_photographs(120), as_text))
    assert [(change.factor, change.new) for change in found.changes] == [
        ("label_order", "numbers sorted as text")
    ]


def test_labels_in_no_known_order_fit_no_map_and_are_said_to_be_the_labels() -> None:
    shuffled = np.random.default_rng(0).permutation(CLASS_COUNT)
    found = diagnose(RIGHT, relabel(take_photographs(120), shuffled))
    assert found.outcome == "nothing"
    assert "label" in " ".join(found.remarks)


def test_two_faults_that_each_bring_chance_are_undone_together() -> None:
    found = diagnose(replace(RIGHT, layout="NHWC"), relabel(take_photographs(39), np.arange(CLASS_COUNT) + 1))
    assert {change.factor for change in found.changes} == {"layout", "label_offset"}


def test_hypotheses_of_two_kinds_that_fit_equally_well_are_undecided_and_name_the_best() -> None:
    stage = Stage(take_photographs(120), recognise, MAPS)
    swapped = replace(RIGHT, record=change_record(colour_order="BGR"))
    search = search_record(stage, stage.show(swapped, stage.given_map), lambda _: None)
    other = next(one for one in search.steps[0].attempts if one.hypothesis.family == "geometry")
    found = conclude(replace(search, ties=((other, search.end),)), None)
    assert found.outcome == "undecided"
    assert [change.factor for change in found.changes] == ["colour_order"]
    assert found.alternatives == (other.hypothesis.name,)


def test_a_gain_that_stays_below_what_is_expected_only_helps() -> None:
    found = diagnose(replace(RIGHT, record=change_record(colour_order="BGR")), reference=(99.9, "as given"))
    assert found.outcome == "helps"


def test_two_faults_of_which_neither_hides_the_other_are_both_named() -> None:
    found = diagnose(replace(RIGHT, record=change_record(colour_order="BGR"), orientation="turned by 180"))
    assert found.outcome == "explained"
    assert {change.factor for change in found.changes} == {"colour_order", "orientation"}


def test_photographs_of_which_a_third_is_to_be_turned_as_exif_says_are_found() -> None:
    turned = [
        replace(one, stored=np.ascontiguousarray(one.pixels[::-1, ::-1]), exif_orientation=3)
        if place % 3 == 2
        else one
        for place, one in enumerate(take_photographs(120))
    ]
    found = diagnose(RIGHT, turned)
    assert [(change.factor, change.new) for change in found.changes] == [("orientation", "as EXIF says")]


def test_an_output_that_holds_something_else_is_named_with_the_one_that_is_meant() -> None:
    output = msgspec.structs.replace(RECORD.output, name="auxiliary")
    view = View(record=msgspec.structs.replace(RECORD, output=output))
    mixed = np.random.default_rng(3).permutation(CLASS_COUNT)
    stage = Stage(
        take_photographs(80), lambda images: -recognise(images)[:, mixed], MAPS, {"class": recognise}
    )
    found = conclude(search_record(stage, stage.show(view, stage.given_map), lambda _: None), None)
    assert [(change.factor, change.new) for change in found.changes] == [("output.name", "class")]


def test_probabilities_that_the_record_takes_for_logits_are_said_and_change_no_answer() -> None:
    def softmax(images: Images) -> Logits:
        rows = np.exp(recognise(images) - recognise(images).max(axis=1, keepdims=True))
        shares: Logits = rows / rows.sum(axis=1, keepdims=True)
        return shares

    stage = Stage(take_photographs(40), softmax, MAPS)
    found = conclude(search_record(stage, stage.show(RIGHT, stage.given_map), lambda _: None), None)
    assert [(change.factor, change.new) for change in found.changes] == [("scores", "probabilities")]
    assert found.before == found.after


def test_geometry_is_not_tried_without_labels() -> None:
    found = diagnose(RIGHT, labelled=False)
    assert "geometry" not in {trial.family for trial in found.trials}
    assert found.before is None


def test_one_answer_for_every_photograph_is_said() -> None:
    stage = Stage(
        take_photographs(40), lambda images: np.eye(1, CLASS_COUNT, dtype=np.float32)[[0] * len(images)], MAPS
    )
    search = search_record(stage, stage.show(RIGHT, stage.given_map), lambda _: None)
    assert "one answer, class 0" in conclude(search, None).remarks[0]
