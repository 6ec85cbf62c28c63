"""The process that speaks with Ray, seen from the command: what the two say, and how its end is noticed."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import IO

from assay.errors import AssayError, EngineError, MissingRuntimeError, quote_reason
from assay.workflows.cluster.actor_needs import ActorRequest
from assay.workflows.cluster.sessions import end_session
from assay.workflows.cluster.shard_runner import ShardWork

LOCAL = "local"
DRIVER = "assay.workflows.cluster.ray_driver"  # run as a module: it alone imports Ray
_REACHABLE_WITHIN_S = 10.0
_REFUSED_FOR_S = 5.0  # a control store that is started again refuses for a while too
_SILENT_FOR_S = 30.0
_LISTENS_S = 1.0
_ENDS_WITHIN_S = 0.7  # of the one and a half that a command has after Ctrl-C
_LEAVES_WITHIN_S = 10.0


@dataclass(frozen=True, kw_only=True)
class DriverPlan:
    """What the driver is to do.

    Args:
        work: What all nodes are told.
        numbers: The shards to compute, in order; their content is asked for when it is needed.
        request: What each actor asks of its node.
    """

    work: ShardWork
    numbers: Sequence[int]
    request: ActorRequest


@dataclass(frozen=True, kw_only=True)
class Connected:
    """Ray is there: its control store, as HOST:PORT, and room for so many actors with such needs."""

    control_store: str
    actor_count: int
    needs: str


@dataclass(frozen=True, kw_only=True)
class WantedShard:
    """The driver asks for a shard's content; the answer is its bytes."""

    number: int


@dataclass(frozen=True, kw_only=True)
class LostShard:
    """A shard that nobody may try any more, and why."""

    number: int
    error: AssayError


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line for the user."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """The control store has just answered."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Nothing more is computed: how many shards were not tried, and why; None where all were."""

    untried_count: int
    error: AssayError | None


class DriverProcess:
    """Runs the driver, and passes on what it says; see `open_driver`."""

    def __init__(self, connection: Connection, process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
        self._connection = connection
        self._process = process
        self._said = said
        self._watch: _Watch | None = None

    def send(self, content: object) -> None:
        """Send the plan, or a shard that was asked for.

        Raises:
            EngineError: The driver has ended.
        """
        try:
            self._connection.send(content)
        except OSError as error:
            raise self._describe_end() from error

    def receive(self) -> Iterator[object]:
        """Yield what the driver says until it has finished.

        Raises:
            EngineError: It ended, or the cluster's control store is gone.
            AssayError: It gave up.
        """
        while True:
            if self._watch is not None:
                self._watch.look()
            if not self._connection.poll(_LISTENS_S):
                continue
            try:
                message = self._connection.recv()
            except (EOFError, OSError) as error:
                raise self._describe_end() from error
            if isinstance(message, AssayError):
                raise message
            if isinstance(message, Connected):
                self._watch = _Watch(message.control_store)
            if isinstance(message, Tick) and self._watch is not None:
                self._watch.note_answer()
            yield message

    def _describe_end(self) -> EngineError:
        status = self._process.wait()
        self._said.seek(0)
        lines = [line for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        reason = f": {quote_reason(lines[-1])}" if lines else ""
        return EngineError(
            f"Ray ended this run's driver (status {status}){reason}",
            hint="is the cluster still there? --resume computes what is missing",
        )


class _Watch:
    """Notices that a control store is gone; Ray itself is silent about it for a minute, and then exits."""

    def __init__(self, control_store: str) -> None:
        self._control_store = control_store
        self._looked = self._reached = self._answered = time.monotonic()

    def note_answer(self) -> None:
        self._answered = time.monotonic()

    def look(self) -> None:
        """Try to reach it, once a second at most.

        Raises:
            EngineError: It has refused for five seconds, or not answered for half a minute.
        """
        now = time.monotonic()
        if now - self._looked < _LISTENS_S:
            return
        self._looked, reason, patience_s = now, "does not answer", _SILENT_FOR_S
        try:
            _reach(self._control_store, _LISTENS_S)
            self._reached = time.monotonic()
        except ConnectionRefusedError:
            reason, patience_s = "refuses connections", _REFUSED_FOR_S
        except OSError as error:
            reason = f"cannot be reached ({error.strerror or error})"
        silent_s = time.monotonic() - min(self._reached, self._answered)
        if time.monotonic() - self._reached > patience_s or silent_s > _SILENT_FOR_S:
            raise EngineError(
                f"the Ray cluster is gone: its control store at {self._control_store} {reason}, "
                f"for {silent_s:.0f} s; finished shards are kept",
                hint="--resume computes what is missing, on another cluster if need be",
            )


def _reach(address: str, timeout_s: float) -> None:
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s).close()


def choose_address(address: str) -> str:
    """The address given, else that of RAY_ADDRESS, else `local`; tried first, where it names a port.

    Raises:
        MissingRuntimeError: Nobody answers there; Ray would try for minutes.
    """
    chosen = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if chosen.rpartition(":")[2].isdigit():
        try:
            _reach(chosen, _REACHABLE_WITHIN_S)
        except OSError as error:
            raise MissingRuntimeError(
                f"--ray: no cluster at {chosen}: {error}",
                hint="`ray start --head` starts one and prints its address",
            ) from error
    return chosen


def make_environment(address: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The driver's environment: a Ray of its own listens on loopback alone and knows only its own token.

    The token is in the environment of the user's own processes alone, and ends with them.

    Args:
        address: As `choose_address` gives it.
        environment: This process's.
    """
    quiet = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", **environment}
    quiet["RAY_USAGE_STATS_ENABLED"] = "0"
    if address != LOCAL:
        return quiet | {"RAY_AUTH_MODE": "disabled"}  # until the cluster asks for a token
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH"):
        quiet.pop(name, None)
    # On the systems it is named after, Ray takes the loopback's address for its node; here too, where told.
    own = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    return quiet | own | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def open_driver(address: str) -> Iterator[DriverProcess]:
    """Start the driver, in a session of its own, and end it and all that it has started with the block.

    Args:
        address: As `choose_address` gives it.
    """
    ours, theirs = socket.socketpair()
    folder = tempfile.mkdtemp(prefix="assay-ray-") if address == LOCAL else ""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", DRIVER, str(theirs.fileno()), address, folder],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=[theirs.fileno()],
            env=make_environment(address, os.environ),
            start_new_session=True,
        )
        theirs.close()
        connection = Connection(ours.detach())
        patience_s = _ENDS_WITHIN_S
        try:
            yield DriverProcess(connection, process, said)
            patience_s = _LEAVES_WITHIN_S
        finally:
            connection.close()  # which ends it
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            end_session(process.pid)
            if folder:
                shutil.rmtree(folder, ignore_errors=True)
