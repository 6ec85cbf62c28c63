"""Which node computes which shard: what fails on one goes to another, a node that fails is given no more."""

from __future__ import annotations

from assay.errors import EngineError, MissingRuntimeError, SourceError
from assay.workflows.cluster.dispatch import Dispatch

FAILURE = SourceError("the store refuses")


def make_dispatch(shard_count: int, **rooms: int) -> Dispatch:
    dispatch = Dispatch(range(shard_count))
    dispatch.see_nodes({name: (f"host-{name}", room) for name, room in rooms.items()})
    for name, room in rooms.items():
        for _ in range(room):
            dispatch.add_actor(name)
    return dispatch


def test_a_failed_shard_is_given_to_another_node_and_not_to_the_same() -> None:
    dispatch = make_dispatch(1, a=1, b=1)
    assert dispatch.give("a") == 0
    dispatch.fail(0, "a", FAILURE)
    assert dispatch.pop_failed() == {}
    assert dispatch.give("a") is None
    assert dispatch.give("b") == 0
    dispatch.finish(0, "b")
    assert dispatch.untried == []


def test_a_shard_that_failed_on_every_node_is_given_up_with_its_last_cause() -> None:
    dispatch = make_dispatch(1, a=1, b=1)
    last = EngineError("the device is gone")
    for node, error in (("a", FAILURE), ("b", last)):
        assert dispatch.give(node) == 0
        dispatch.fail(0, node, error)
    assert dispatch.pop_failed() == {0: last}
    assert dispatch.find_room() is None


def test_a_node_on_which_three_shards_in_a_row_fail_is_given_no_more() -> None:
    dispatch = make_dispatch(9, a=1, b=1)
    said = []
    for _ in range(3):
        number = dispatch.give("a")
        assert number is not None
        said.append(dispatch.fail(number, "a", FAILURE))
    assert said == [None, None, FAILURE]
    assert dispatch.give("a") is None
    done = []
    while (number := dispatch.give("b")) is not None:
        dispatch.finish(number, "b")
        done.append(number)
    assert sorted(done) == list(range(9))


def test_a_success_between_two_failures_keeps_the_node() -> None:
    dispatch = make_dispatch(9, a=1, b=1)
    for fails in (True, True, False, True, True):
        number = dispatch.give("a")
        assert number is not None
        if fails:
            assert dispatch.fail(number, "a", FAILURE) is None
        else:
            dispatch.finish(number, "a")
    assert dispatch.give("a") is not None


def test_the_run_ends_where_every_node_fails() -> None:
    dispatch = make_dispatch(9, a=1)
    for _ in range(3):
        number = dispatch.give("a")
        assert number is not None
        dispatch.fail(number, "a", FAILURE)
    assert list(dispatch.pop_failed()) == [0, 1, 2]
    assert dispatch.find_room() is None
    assert dispatch.find_end() is FAILURE
    assert len(dispatch.untried) == 6


def test_a_node_that_refuses_at_the_start_is_given_nothing_and_named_where_there_is_no_other() -> None:
    dispatch = make_dispatch(2, a=1, b=1)
    refusal = MissingRuntimeError("not the versions")
    dispatch.exclude("a", refusal)
    assert dispatch.give("a") is None
    assert dispatch.find_end() is None
    dispatch.see_nodes({"a": ("host-a", 1)})
    assert dispatch.find_end() is refusal


def test_a_node_that_joins_gets_actors() -> None:
    dispatch = make_dispatch(9, a=1)
    dispatch.give("a")
    assert dispatch.find_room() is None
    dispatch.see_nodes({"a": ("host-a", 1), "b": ("host-b", 2)})
    assert dispatch.find_room() == "b"
    dispatch.add_actor("b")
    assert dispatch.find_room() == "b"
    dispatch.add_actor("b")
    assert dispatch.find_room() is None


def test_a_node_rests_after_an_actor_is_lost_there() -> None:
    now = [100.0]
    dispatch = Dispatch(range(9), clock=lambda: now[0])
    dispatch.see_nodes({"a": ("host-a", 1)})
    dispatch.add_actor("a")
    dispatch.lose_actor(dispatch.give("a"), "a", EngineError("the link is cut"))
    assert dispatch.find_room() is None
    assert dispatch.find_end() is None
    now[0] += 10
    assert dispatch.find_room() == "a"


def test_no_more_actors_are_started_than_shards_wait() -> None:
    dispatch = Dispatch(range(2))
    dispatch.see_nodes({"a": ("host-a", 8)})
    for _ in range(2):
        assert dispatch.find_room() == "a"
        dispatch.add_actor("a")
    assert dispatch.find_room() is None


def test_a_lost_actors_shard_is_next_and_given_up_after_three_times() -> None:
    dispatch = make_dispatch(3, a=2, b=2)
    lost = EngineError("the actor died")
    for node in ("a", "b", "a"):
        assert dispatch.give(node) == 0
        dispatch.lose_actor(0, node, lost)
    assert dispatch.pop_failed() == {0: lost}
    assert dispatch.give("b") == 1
