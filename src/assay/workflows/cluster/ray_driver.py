"""The process that speaks with Ray and keeps its nodes busy with shards; the only file that imports Ray.

It is a process of its own because Ray ends the process it is in where a part of Ray is lost, and reads its
settings when it is imported. It talks with `DriverProcess`, and ends with it.
"""

from __future__ import annotations

import logging
import math
import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
from ray._raylet import AuthenticationTokenLoader, GcsClient  # type: ignore[attr-defined]  # its native part
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from assay.errors import AssayError, EngineError, MissingRuntimeError, shorten
from assay.inference.shards import name_shard_file
from assay.workflows.cluster.actor_needs import ActorNeeds, choose_needs, refuse_no_room
from assay.workflows.cluster.dispatch import Dispatch
from assay.workflows.cluster.driver_process import (
    DRIVER,
    Connected,
    DriverPlan,
    Finished,
    LostShard,
    Note,
    Tick,
    WantedShard,
)
from assay.workflows.cluster.sessions import end_session
from assay.workflows.cluster.shard_runner import ShardReport, ShardRunner, ShardWork

_OBJECT_STORE_BYTES = 256 * 2**20
_LOOKS_EVERY_S = 2.0
_WAITS_S = 0.5
# Ray waits for ever for what is lost on the way: an actor that starts or an answer, while a link is cut.
_STARTS_WITHIN_S = 120.0
_CHECKS_WITHIN_S = 900.0  # a session is loaded
_COMPUTES_WITHIN_S = 120.0  # or this many times what the slowest shard took:
_TIMES_SLOWER = 20


@dataclass(eq=False, kw_only=True)
class _Actor:
    """An actor on a node, since when and how long it is waited for, and the shard it computes.

    The number is None while it starts and finds out whether it can compute any.
    """

    handle: Any
    node_id: str
    is_there: bool = False
    number: int | None = None
    since: float = 0.0
    patience_s: float = math.inf


def main() -> None:
    """Compute the shards of the plan that comes over the connection.

    The arguments are the connection's number, the cluster's address, and the folder of its own Ray, or "".
    """
    number, address, folder = sys.argv[1:]
    connection = Connection(int(number))
    session_dir = Path(folder) if folder else None
    end = partial(_end, session_dir)
    threading.Thread(target=_end_with_parent, args=(connection.fileno(), end), daemon=True).start()
    try:
        with _connect(address, session_dir, connection):
            _compute(connection.recv(), connection)
    except AssayError as error:
        connection.send(error)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        connection.send(
            EngineError(f"Ray gave up: {_quote(cause)}", hint="--resume computes what is missing")
        )
    finally:
        end()


def _quote(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {shorten(lines[-1] if lines else '')}"


def _end_with_parent(descriptor: int, end: partial[None]) -> None:
    """End this process as soon as the other end of the connection is closed, however that came."""
    poll = select.poll()
    poll.register(descriptor, 0)
    poll.poll()
    end()


def _end(session_dir: Path | None) -> None:
    """End this process, and all that a Ray of its own consists of."""
    if session_dir is not None:
        end_session(os.getsid(0), but=os.getpid())
        shutil.rmtree(session_dir, ignore_errors=True)
    os._exit(0)


@contextmanager
def _connect(address: str, session_dir: Path | None, connection: Connection) -> Iterator[None]:
    """Start a Ray for this machine alone, or join the cluster at an address.

    Raises:
        MissingRuntimeError: There is none, or it wants another token.
    """
    more: dict[str, Any] = {}
    if session_dir is not None:
        more = {
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "_temp_dir": str(session_dir),
        }
    try:
        if session_dir is None:
            _settle_authentication(_find_control_store(address), connection)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **more)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise MissingRuntimeError(
            f"--ray: no cluster at {address}: {_quote(error)}",
            hint="`ray start --head` starts one and prints its address",
        ) from error
    yield
    if session_dir is None:
        ray.shutdown()


def _find_control_store(address: str) -> str:
    from ray._private.services import canonicalize_bootstrap_address_or_die

    return str(canonicalize_bootstrap_address_or_die(address))


def _settle_authentication(control_store: str, connection: Connection) -> None:
    """Join without a token where the cluster asks for none, and say so; else begin again with one.

    Ray reads once whether tokens are used, and a driver that uses one is not understood by a cluster without.
    """
    uses_token = os.environ["RAY_AUTH_MODE"] == "token"
    try:
        GcsClient(address=control_store)
    except ray.exceptions.AuthenticationError as error:
        has_token = _has_token()
        if has_token and not uses_token:
            os.environ["RAY_AUTH_MODE"] = "token"
            os.set_inheritable(connection.fileno(), True)
            os.execv(sys.executable, [sys.executable, "-m", DRIVER, *sys.argv[1:]])
        found = "does not take the one that was found" if has_token else "none was found"
        raise MissingRuntimeError(
            f"--ray: the cluster at {control_store} asks for a token, {'and ' * has_token}{found}",
            hint="give its token: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token",
        ) from error
    if not uses_token:
        connection.send(
            Note(
                text=f"Warning: the Ray cluster at {control_store} has no authentication: whoever reaches it "
                "runs what they like on its nodes (RAY_AUTH_MODE=token when it is started)"
            )
        )


def _has_token() -> bool:
    """Whether Ray finds a token; without one it would end this process."""
    try:
        return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    except ray.exceptions.AuthenticationError:  # the file that the environment names is not there, or empty
        return False


def _compute(plan: DriverPlan, connection: Connection) -> None:
    """Compute the shards of the plan, and tell how each ended.

    Raises:
        MissingRuntimeError: No node has what an actor needs.
    """
    nodes = _list_nodes()
    needs = choose_needs(plan.request, {node_id: resources for node_id, (_, resources) in nodes.items()})
    refuse_no_room(needs, {node_id: resources for node_id, (_, resources) in nodes.items()})
    rooms = sum(needs.count_on(resources) for _, resources in nodes.values())
    connection.send(
        Connected(
            control_store=ray.get_runtime_context().gcs_address,
            actor_count=min(rooms, len(plan.numbers)),
            needs=str(needs),
        )
    )
    work = replace(plan.work, fetch_files=partial(_fetch, ray.put(plan.work.fetch_files())))
    work = replace(work, options=replace(work.options, decode_threads=max(1, int(needs.cpu_count))))
    connection.send(_Pool(work, needs, Dispatch(plan.numbers), connection).run())


def _fetch(files: ray.ObjectRef[dict[str, bytes]]) -> dict[str, bytes]:
    return ray.get(files)


def _list_nodes() -> dict[str, tuple[str, dict[str, float]]]:
    """The name and the resources of each node by its id."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {
        node["NodeID"]: (f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", node["Resources"])
        for node in nodes
        if node["Alive"]
    }


class _Pool:
    """The actors, and what they are busy with."""

    def __init__(
        self, work: ShardWork, needs: ActorNeeds, dispatch: Dispatch, connection: Connection
    ) -> None:
        self._work = ray.put(work)
        self._needs = needs
        self._dispatch = dispatch
        self._connection = connection
        self._busy: dict[Any, _Actor] = {}
        self._names: dict[str, str] = {}
        self._looked = -math.inf
        self._longest_s = 0.0  # that a shard took

    def run(self) -> Finished:
        """Compute all shards that can be; nodes that join meanwhile are used."""
        while True:
            self._look_at_nodes()
            for number, error in self._dispatch.pop_failed().items():
                self._connection.send(LostShard(number=number, error=error))
            while (node_id := self._dispatch.find_room()) is not None:
                self._start_actor(node_id)
            if self._dispatch.is_done:
                return Finished(untried_count=0, error=None)  # whoever is still starting
            if not self._busy:
                end = self._dispatch.find_end()
                if end is not None:
                    return Finished(untried_count=len(self._dispatch.untried), error=end)
                time.sleep(_WAITS_S)
                continue
            ready, _ = ray.wait(list(self._busy), timeout=_WAITS_S)
            for answer in ready:
                self._take(answer, self._busy.pop(answer))
            self._lose_late()

    def _look_at_nodes(self) -> None:
        if time.monotonic() - self._looked < _LOOKS_EVERY_S:
            return
        nodes = _list_nodes()
        self._looked = time.monotonic()
        self._names |= {node_id: name for node_id, (name, _) in nodes.items()}
        self._dispatch.see_nodes(
            {node_id: (name, self._needs.count_on(resources)) for node_id, (name, resources) in nodes.items()}
        )
        self._connection.send(Tick())

    def _start_actor(self, node_id: str) -> None:
        """Start an actor there."""
        handle: Any = (
            ray.remote(ShardRunner)
            .options(
                num_cpus=self._needs.cpu_count,
                num_gpus=self._needs.devices.get("GPU"),
                resources={name: count for name, count in self._needs.devices.items() if name != "GPU"},
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
            )
            .remote(self._work)
        )
        actor = _Actor(handle=handle, node_id=node_id)
        self._wait_for(actor, handle.__ray_ready__.remote(), _STARTS_WITHIN_S)
        self._dispatch.add_actor(node_id)

    def _wait_for(self, actor: _Actor, answer: Any, patience_s: float) -> None:
        actor.since, actor.patience_s = time.monotonic(), patience_s
        self._busy[answer] = actor

    def _lose_late(self) -> None:
        """Give up actors that do not start, or do not answer."""
        for answer, actor in list(self._busy.items()):
            if time.monotonic() - actor.since > actor.patience_s:
                del self._busy[answer]
                ray.kill(actor.handle)
                missing = "an answer" if actor.is_there else "a start"
                self._lose(actor, f"{actor.patience_s:.0f} s without {missing}")

    def _fetch_shard(self, number: int) -> bytes:
        self._connection.send(WantedShard(number=number))
        content: bytes = self._connection.recv()
        return content

    def _take(self, answer: Any, actor: _Actor) -> None:
        """Take an actor's answer, and give it the next shard."""
        try:
            report: ShardReport = ray.get(answer)
        except ray.exceptions.RayError as lost:
            self._lose(actor, _quote(lost))
            return
        if not actor.is_there:
            self._check(actor)
            return
        error = report.find_error()
        if actor.number is None:
            if error is not None:
                self._exclude(actor, error)
                return
        elif error is None:
            self._longest_s = max(self._longest_s, time.monotonic() - actor.since)
            self._dispatch.finish(actor.number, actor.node_id)
            self._connection.send(report)
        else:
            self._fail(actor, actor.number, error)
        self._give_next(actor)

    def _check(self, actor: _Actor) -> None:
        """Let an actor that is there find out whether it can compute any: it reads an image, say."""
        actor.is_there = True
        if not self._dispatch.is_done:
            shard = self._fetch_shard(self._dispatch.peek())
            self._wait_for(actor, actor.handle.check.remote(shard), _CHECKS_WITHIN_S)

    def _give_next(self, actor: _Actor) -> None:
        actor.number = self._dispatch.give(actor.node_id)
        if actor.number is None:
            self._dispatch.remove_actor(actor.node_id)  # the last handle goes, and the actor with it
            return
        answer = actor.handle.compute.remote(self._fetch_shard(actor.number))
        slow_s = max(_COMPUTES_WITHIN_S, _TIMES_SLOWER * self._longest_s)
        self._wait_for(actor, answer, slow_s if self._longest_s else math.inf)

    def _fail(self, actor: _Actor, number: int, error: AssayError) -> None:
        name = self._names[actor.node_id]
        self._say(f"{name_shard_file(number)} failed on {name}: {error.message}")
        if self._dispatch.fail(number, actor.node_id, error):
            self._say(f"{name} is given no more: several shards in a row failed there")

    def _lose(self, actor: _Actor, reason: str) -> None:
        name = self._names[actor.node_id]
        lost = EngineError(f"an actor on {name} was lost: {reason}")
        self._say(lost.message)
        if self._dispatch.lose_actor(actor.number, actor.node_id, lost):
            self._say(f"{name} is given no more: several actors in a row were lost there")

    def _exclude(self, actor: _Actor, error: AssayError) -> None:
        self._dispatch.exclude(actor.node_id, error)
        self._dispatch.remove_actor(actor.node_id)
        self._say(f"{self._names[actor.node_id]} is given nothing: {error.message}")

    def _say(self, text: str) -> None:
        self._connection.send(Note(text=text))


if __name__ == "__main__":
    main()
