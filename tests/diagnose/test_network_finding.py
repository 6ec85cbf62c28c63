"""Suspects are ranked by what makes the error, not by where it shows."""

from __future__ import annotations

from assay.diagnose.network_finding import Cause, LayerError, rank_errors


def make_error(name: str, ratio: float, operator: str, quantiser: str, cause: Cause | None) -> LayerError:
    return LayerError(
        name=name,
        operator=operator,
        tensor=name,
        other_tensor=name,
        sqnr_db=ratio,
        quantisers=(quantiser,),
        cause=cause,
    )


def test_a_layer_comes_before_the_addition_that_shares_its_quantiser() -> None:
    errors = [
        make_error("add", 5, "Add", "shared", "ranges"),
        make_error("convolution", 9, "Conv", "shared", "ranges"),
        make_error("sound", 40, "Conv", "shared", None),
    ]
    assert [one.name for one in rank_errors(errors)] == ["convolution", "add", "sound"]


def test_a_changed_activation_comes_before_the_layer_whose_range_was_measured_behind_it() -> None:
    errors = [
        make_error("next", 5, "Conv", "activation", "ranges"),
        make_error("activation", 9, "Clip", "convolution", "operator"),
    ]
    assert [one.name for one in rank_errors(errors)] == ["activation", "next"]


def test_layers_that_err_by_themselves_are_ranked_by_their_ratios() -> None:
    errors = [
        make_error("second", 9, "Conv", "b", "ranges"),
        make_error("first", 5, "Conv", "a", "weights"),
    ]
    assert [one.name for one in rank_errors(errors)] == ["first", "second"]
