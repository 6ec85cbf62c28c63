"""What an actor takes of its node: its devices, and the processors beside them."""

from __future__ import annotations

import pytest

from assay.errors import MissingRuntimeError
from assay.workflows.cluster.actor_needs import ActorNeeds, ActorRequest, choose_needs, refuse_no_room

GPU_HOST = {"CPU": 32.0, "GPU": 4.0, "memory": 1e9}
NPU_HOST = {"CPU": 8.0, "NPU": 4.0}


@pytest.mark.parametrize(
    ("request_", "node", "cpu_count", "actor_count"),
    [
        (ActorRequest(), {"CPU": 6.0}, 6, 1),
        (ActorRequest(thread_count=2), {"CPU": 6.0}, 2, 3),
        (ActorRequest(gpu_count=1), GPU_HOST, 8, 4),
        (ActorRequest(gpu_count=0.5), GPU_HOST, 4, 8),
        (ActorRequest(gpu_count=1, cpu_count=2), GPU_HOST, 2, 4),
        (ActorRequest(resources={"NPU": 1}), NPU_HOST, 2, 4),
        (ActorRequest(resources={"NPU": 2}), NPU_HOST, 4, 2),
        (ActorRequest(gpu_count=1), {"CPU": 2.0, "GPU": 4.0}, 0.5, 4),
    ],
)
def test_an_actor_takes_its_share_of_the_processors(
    request_: ActorRequest, node: dict[str, float], cpu_count: float, actor_count: int
) -> None:
    needs = choose_needs(request_, {"a": node})
    assert needs.cpu_count == cpu_count
    assert needs.count_on(node) == actor_count


def test_the_smallest_node_that_has_the_devices_decides() -> None:
    nodes = {"a": GPU_HOST, "b": {"CPU": 8.0, "GPU": 4.0}, "c": {"CPU": 1.0}}
    assert choose_needs(ActorRequest(gpu_count=1), nodes).cpu_count == 2


def test_what_no_node_has_is_refused_with_what_they_have() -> None:
    needs = ActorNeeds(cpu_count=1, devices={"NPU": 1})
    with pytest.raises(MissingRuntimeError, match=r"needs 1 CPUs and 1 NPUs, .* nodes have: 32 CPUs"):
        refuse_no_room(needs, {"a": GPU_HOST})
