"""What an actor asks of its node, and how many of them a node has room for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assay.errors import MissingRuntimeError


@dataclass(frozen=True, kw_only=True)
class ActorRequest:
    """What a user asks for each actor.

    Args:
        cpu_count: Processors; None means the share that fits the rest.
        gpu_count: GPUs; fractions share one.
        resources: Of other kinds, by the names that the nodes give them, such as NPU.
        thread_count: Threads of the engine that the model was compiled with; None if it chooses.
    """

    cpu_count: float | None = None
    gpu_count: float = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    thread_count: int | None = None

    @property
    def devices(self) -> dict[str, float]:
        """What is asked for besides processors, by Ray's names."""
        gpus = {"GPU": self.gpu_count} if self.gpu_count else {}
        return {**gpus, **{name: count for name, count in self.resources.items() if count}}


@dataclass(frozen=True, kw_only=True)
class ActorNeeds:
    """What one actor takes of its node.

    Args:
        cpu_count: Processors.
        devices: What else, by Ray's names, such as GPU or NPU.
    """

    cpu_count: float
    devices: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return describe({"CPU": self.cpu_count, **self.devices})

    def count_on(self, node: Mapping[str, float]) -> int:
        """How many actors a node with these resources has room for."""
        needs = {"CPU": self.cpu_count, **self.devices}
        return int(min(node.get(name, 0) // count for name, count in needs.items()))


def describe(resources: Mapping[str, float]) -> str:
    """Say how much of what.

    >>> describe({"CPU": 4.0, "GPU": 0.5})
    '4 CPUs and 0.5 GPUs'
    """
    return " and ".join(f"{count:g} {name}s" for name, count in resources.items())


def choose_needs(request: ActorRequest, nodes: Mapping[str, Mapping[str, float]]) -> ActorNeeds:
    """Choose what an actor takes: with devices, its share of the processors beside them, which decode for it.

    Without devices it takes a processor for each thread of the engine, or all of a node's.

    Args:
        request: What the user asks.
        nodes: The resources of each node by its id.

    >>> choose_needs(ActorRequest(gpu_count=1), {"a": {"CPU": 32.0, "GPU": 4.0}})
    ActorNeeds(cpu_count=8.0, devices={'GPU': 1})
    """
    devices = request.devices
    if request.cpu_count is not None:
        return ActorNeeds(cpu_count=request.cpu_count, devices=devices)
    if not devices and request.thread_count is not None:
        return ActorNeeds(cpu_count=float(request.thread_count))
    fitting = [
        node
        for node in nodes.values()
        if node.get("CPU") and all(node.get(name, 0) >= count for name, count in devices.items())
    ]
    shares = [_share_processors(node, devices) for node in fitting]
    return ActorNeeds(cpu_count=min(shares, default=1.0), devices=devices)


def _share_processors(node: Mapping[str, float], devices: Mapping[str, float]) -> float:
    if not devices:
        return node["CPU"]
    actor_count = min(node[name] // count for name, count in devices.items())
    return max(1, node["CPU"] // actor_count) if node["CPU"] >= actor_count else node["CPU"] / actor_count


def refuse_no_room(needs: ActorNeeds, nodes: Mapping[str, Mapping[str, float]]) -> None:
    """Refuse what no node has; Ray would wait for such a node for ever.

    Raises:
        MissingRuntimeError: No node has room for an actor.
    """
    if any(needs.count_on(node) for node in nodes.values()):
        return
    names = ("CPU", *needs.devices)
    found = {describe({name: node[name] for name in names if node.get(name)}) for node in nodes.values()}
    raise MissingRuntimeError(
        f"--ray: an actor needs {needs}, and no node has that; nodes have: "
        f"{'; '.join(sorted(found - {''}, reverse=True)) or 'none of that'}",
        hint="ask for less: --cpus-per-actor, --num-gpus, --resource, or compile with --set threads=N",
    )
