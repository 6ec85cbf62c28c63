"""Which node computes which shard: failed ones are given to other nodes, failing nodes are given no more."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from assay.errors import AssayError, EngineError

MAX_TRIES = 3
MAX_FAILURES_IN_A_ROW = 3
REST_S = 10.0  # and twice as long the second time: a link that is cut for a while comes back


@dataclass(kw_only=True)
class _Node:
    """A node: how many actors it has room for, how many it has, and why it is given no more."""

    name: str
    room: int = 0
    actor_count: int = 0
    failures_in_a_row: int = 0
    rests_until: float = -math.inf
    exclusion: AssayError | None = None


@dataclass(kw_only=True)
class _Waiting:
    """A shard that is to be computed: where it failed, how often, and why the last time."""

    tries: int = 0
    nodes: set[str] = field(default_factory=set)
    error: AssayError | None = None


class Dispatch:
    """Hands out shards by number to nodes by id, in order, and takes back what failed.

    A shard that fails on a node is given to another, three times at most. A node on which three shards in a
    row fail or lose their actor is given no more, nor is one that refuses. After a lost actor a node rests.

    Args:
        numbers: The shards.
        clock: Gives the time, seconds.
    """

    def __init__(self, numbers: Iterable[int], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._nodes: dict[str, _Node] = {}
        self._waiting = {number: _Waiting() for number in numbers}
        self._given: dict[int, _Waiting] = {}
        self._failed: set[int] = set()  # of those that wait

    @property
    def untried(self) -> list[int]:
        """The shards that wait."""
        return list(self._waiting)

    @property
    def is_done(self) -> bool:
        """Whether no shard waits or is given."""
        return not self._waiting and not self._given

    def see_nodes(self, rooms: Mapping[str, tuple[str, int]]) -> None:
        """Learn which nodes there are now.

        Args:
            rooms: By id: the node's name, and how many actors it has room for.
        """
        for node_id, node in self._nodes.items():
            node.room = rooms[node_id][1] if node_id in rooms else 0
        for node_id, (name, room) in rooms.items():
            self._nodes.setdefault(node_id, _Node(name=name, room=room))

    def find_room(self) -> str | None:
        """A node that has room for an actor, the one with the fewest first, and could be given a shard."""
        free = [
            (node.actor_count, node_id)
            for node_id, node in self._nodes.items()
            if self._is_usable(node)
            and node.actor_count < node.room
            and node.rests_until <= self._clock()
            and self._find_shard(node_id) is not None
        ]
        actor_count = sum(node.actor_count for node in self._nodes.values())
        if not free or actor_count - len(self._given) >= len(self._waiting):
            return None  # those that are starting are enough
        return min(free)[1]

    def add_actor(self, node_id: str) -> None:
        """Count an actor that was started there."""
        self._nodes[node_id].actor_count += 1

    def remove_actor(self, node_id: str) -> None:
        """Count one that ended there."""
        self._nodes[node_id].actor_count -= 1

    def peek(self) -> int:
        """The shard that waits the longest."""
        return next(iter(self._waiting or self._given))

    def give(self, node_id: str) -> int | None:
        """Give the node its next shard; None where there is none for it."""
        number = self._find_shard(node_id) if self._is_usable(self._nodes[node_id]) else None
        if number is not None:
            self._given[number] = self._waiting.pop(number)
            self._failed.discard(number)
        return number

    def finish(self, number: int, node_id: str) -> None:
        """Take note that a shard is computed."""
        del self._given[number]
        self._nodes[node_id].failures_in_a_row = 0

    def fail(self, number: int, node_id: str, error: AssayError) -> AssayError | None:
        """Take a failed shard back, for another node; where there is none, its error is the last word.

        Returns:
            Why the node is given no more from now on, if that is so.
        """
        shard = self._given.pop(number)
        shard.tries, shard.error = shard.tries + 1, error
        shard.nodes.add(node_id)
        self._waiting[number] = shard
        self._failed.add(number)
        return self._count_failure(node_id, error)

    def lose_actor(self, number: int | None, node_id: str, error: AssayError) -> AssayError | None:
        """Take back the shard of an actor that died, which any node may try; returns as `fail`."""
        self.remove_actor(node_id)
        if number is not None:
            shard = self._given.pop(number)
            shard.tries, shard.error = shard.tries + 1, error
            self._waiting = {number: shard} | self._waiting
            self._failed.add(number)
        excluded = self._count_failure(node_id, error)
        node = self._nodes[node_id]
        node.rests_until = self._clock() + REST_S * node.failures_in_a_row
        return excluded

    def exclude(self, node_id: str, error: AssayError) -> None:
        """Give that node no more."""
        self._nodes[node_id].exclusion = error

    def pop_failed(self) -> dict[int, AssayError]:
        """Take out the shards that nobody may try any more, each with its last error."""
        usable = {node_id for node_id, node in self._nodes.items() if self._is_usable(node) and node.room}
        ended: dict[int, AssayError] = {}
        for number in sorted(self._failed):
            shard = self._waiting[number]
            if shard.error and (shard.tries >= MAX_TRIES or usable <= shard.nodes):
                ended[number] = shard.error
                del self._waiting[number]
        self._failed -= ended.keys()
        return ended

    def find_end(self) -> AssayError | None:
        """Why nothing goes on, where no node is left that is given shards: the first node's reason."""
        nodes = [node for node in self._nodes.values() if node.room]
        if any(self._is_usable(node) for node in nodes):
            return None
        reasons = [node.exclusion for node in self._nodes.values() if node.exclusion]
        return reasons[0] if reasons else EngineError("--ray: no node is left", hint="--resume goes on")

    def _is_usable(self, node: _Node) -> bool:
        return node.exclusion is None

    def _find_shard(self, node_id: str) -> int | None:
        return next((number for number, shard in self._waiting.items() if node_id not in shard.nodes), None)

    def _count_failure(self, node_id: str, error: AssayError) -> AssayError | None:
        node = self._nodes[node_id]
        node.failures_in_a_row += 1
        if node.failures_in_a_row < MAX_FAILURES_IN_A_ROW or node.exclusion is not None:
            return None
        node.exclusion = error
        return error
