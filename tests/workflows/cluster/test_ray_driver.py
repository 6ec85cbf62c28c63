"""The driver's loop over a Ray that is a double: what it waits for, and when it stops waiting."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("ray")
from ray import exceptions

from assay.errors import EngineError
from assay.inference.pipeline import PipelineOptions
from assay.workflows.cluster import dispatch, ray_driver
from assay.workflows.cluster.actor_needs import ActorNeeds
from assay.workflows.cluster.dispatch import Dispatch
from assay.workflows.cluster.driver_process import Finished, LostShard, Note
from assay.workflows.cluster.shard_runner import ShardReport


class Method:
    """A method of an actor: calling it gives an answer's number, which is ready if the actor ever starts."""

    def __init__(self, double: RayDouble, node: str, value: object) -> None:
        self._ray, self._node, self._value = double, node, value

    def remote(self, shard: bytes = b"") -> int:
        answer = next(self._ray.numbers)
        number = int(shard) if shard else 0
        is_report = self._value is not None
        report = ShardReport(number=number, image_count=1, node=self._node) if is_report else None
        self._ray.answers[answer] = (self._node, report)
        return answer


class RayDouble:
    """Nodes by name; the actors of `silent` ones never start; one answer, by its number, is lost."""

    exceptions = exceptions

    def __init__(self, nodes: Sequence[str], silent: Sequence[str] = (), lost_answer: int = 0) -> None:
        self._nodes, self._silent, self._lost_answer = nodes, silent, lost_answer
        self.numbers = itertools.count(1)
        self.answers: dict[int, tuple[str, object]] = {}
        self.killed: list[str] = []

    def nodes(self) -> list[dict[str, object]]:
        named = {"NodeManagerHostname": "host", "Alive": True, "Resources": {"CPU": 1.0}}
        return [{"NodeID": node, "NodeManagerAddress": node, **named} for node in self._nodes]

    def put(self, value: object) -> object:
        return value

    def remote(self, _kind: type) -> Any:
        double = self

        class Remote:
            def options(self, *, scheduling_strategy: Any, **_more: object) -> Remote:
                self.node = scheduling_strategy.node_id
                return self

            def remote(self, _work: object) -> Any:
                actor = type("Actor", (), {"node": self.node})()
                actor.__ray_ready__ = Method(double, self.node, None)
                actor.check = actor.compute = Method(double, self.node, "report")
                return actor

        return Remote()

    def wait(self, answers: list[int], **_how: float) -> tuple[list[int], list[int]]:
        ready = [answer for answer in answers if self._arrives(answer)]
        return ready, []

    def _arrives(self, answer: int) -> bool:
        return answer != self._lost_answer and self.answers[answer][0] not in self._silent

    def get(self, answer: int) -> object:
        return self.answers[answer][1]

    def kill(self, actor: Any) -> None:
        self.killed.append(actor.node)


class Messages(list[object]):
    """The connection to the command, which answers with the number of the shard that is wanted."""

    def send(self, message: object) -> None:
        self.append(message)

    def recv(self) -> bytes:
        return b"%d" % self[-1].number  # type: ignore[attr-defined]


class Strategy:
    def __init__(self, node_id: str, **_how: bool) -> None:
        self.node_id = node_id


def run_pool(double: RayDouble, monkeypatch: pytest.MonkeyPatch) -> tuple[Finished, Messages]:
    monkeypatch.setattr(ray_driver, "ray", double)
    monkeypatch.setattr(ray_driver, "NodeAffinitySchedulingStrategy", Strategy)
    monkeypatch.setattr(ray_driver, "_LOOKS_EVERY_S", 0.0)
    monkeypatch.setattr(ray_driver, "_WAITS_S", 0.001)
    monkeypatch.setattr(dispatch, "REST_S", 0.0)
    messages = Messages()
    work: Any = PipelineOptions(batch_size=1)  # nobody looks into it
    needs = ActorNeeds(cpu_count=1.0)
    return ray_driver._Pool(work, needs, Dispatch([0, 1, 2]), messages).run(), messages  # type: ignore[arg-type]


def test_an_actor_that_never_starts_is_not_waited_for_once_all_shards_are_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finished, messages = run_pool(RayDouble(["a", "b"], silent=["b"]), monkeypatch)
    assert finished == Finished(untried_count=0, error=None)
    reports = [message for message in messages if isinstance(message, ShardReport)]
    assert sorted(report.number for report in reports) == [0, 1, 2]
    assert {report.node for report in reports} == {"a"}


def test_a_node_whose_actors_never_start_is_given_no_more_and_the_run_ends_with_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_driver, "_STARTS_WITHIN_S", 0.0)
    double = RayDouble(["a"], silent=["a"])
    finished, messages = run_pool(double, monkeypatch)
    assert finished.untried_count == 3
    assert isinstance(finished.error, EngineError)
    assert "an actor on host (a) was lost: 0 s without a start" in finished.error.message
    assert double.killed == ["a", "a", "a"]
    said = [message.text for message in messages if isinstance(message, Note)]
    assert said[-1] == "host (a) is given no more: several actors in a row were lost there"
    assert not [message for message in messages if isinstance(message, LostShard)]


def test_a_shard_whose_answer_is_lost_on_the_way_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_driver, "_COMPUTES_WITHIN_S", 0.05)
    monkeypatch.setattr(ray_driver, "_TIMES_SLOWER", 0)
    double = RayDouble(["a"], lost_answer=4)  # after the start, the check and the first shard
    finished, messages = run_pool(double, monkeypatch)
    assert finished == Finished(untried_count=0, error=None)
    assert [message.number for message in messages if isinstance(message, ShardReport)] == [0, 1, 2]
    assert double.killed == ["a"]
    assert "0 s without an answer" in next(message.text for message in messages if isinstance(message, Note))
