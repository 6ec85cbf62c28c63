"""The process that speaks with Ray: its environment, its end, and a control store that is gone."""

from __future__ import annotations

import socket
import subprocess
import sys
from multiprocessing.connection import Connection
from tempfile import TemporaryFile

import pytest

from assay.errors import EngineError, MissingRuntimeError
from assay.workflows.cluster import driver_process
from assay.workflows.cluster.driver_process import (
    LOCAL,
    Connected,
    DriverProcess,
    choose_address,
    make_environment,
)
from assay.workflows.cluster.sessions import end_session, list_session


def test_a_ray_of_this_machine_has_a_token_of_its_own_and_not_the_users() -> None:
    outside = {"RAY_AUTH_TOKEN": "mine", "RAY_AUTH_TOKEN_PATH": "/token", "RAY_ADDRESS": "far:1", "A": "b"}
    one, two = make_environment(LOCAL, outside), make_environment(LOCAL, outside)
    assert one["RAY_AUTH_MODE"] == "token"
    assert len({one["RAY_AUTH_TOKEN"], two["RAY_AUTH_TOKEN"], "mine"}) == 3
    assert not {"RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"} & {*one}
    assert one["A"] == "b"


def test_a_cluster_with_an_address_is_given_the_users_token() -> None:
    environment = make_environment("far:1", {"RAY_AUTH_TOKEN": "mine", "RAY_AUTH_TOKEN_PATH": "/token"})
    assert environment["RAY_AUTH_TOKEN"] == "mine"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/token"


def test_an_address_where_nobody_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(MissingRuntimeError, match=r"no cluster at 127\.0\.0\.1:9"):
        choose_address("")


def test_a_driver_that_ends_is_told_with_what_it_said_last() -> None:
    ours, theirs = socket.socketpair()
    with TemporaryFile() as said:
        code = "import sys; print('raylet is dead', file=sys.stderr); sys.exit(7)"
        process = subprocess.Popen([sys.executable, "-c", code], stderr=said)
        theirs.close()
        driver = DriverProcess(Connection(ours.detach()), process, said)
        with pytest.raises(EngineError, match=r"driver \(status 7\): raylet is dead"):
            list(driver.receive())


def test_a_control_store_that_is_gone_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_process, "_REFUSED_FOR_S", 0.0)
    monkeypatch.setattr(driver_process, "_LISTENS_S", 0.01)
    with socket.socket() as store:
        store.bind(("127.0.0.1", 0))  # nothing listens
        address = f"127.0.0.1:{store.getsockname()[1]}"
        ours, theirs = socket.socketpair()
        there = Connection(theirs.detach())
        there.send(Connected(control_store=address, actor_count=1, needs="1 CPUs"))
        with TemporaryFile() as said, subprocess.Popen(["true"]) as process:
            driver = DriverProcess(Connection(ours.detach()), process, said)
            with pytest.raises(EngineError, match=f"gone: its control store at {address} refuses"):
                list(driver.receive())
        there.close()


def test_the_processes_of_a_session_are_found_and_ended() -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60"], start_new_session=True)
    while len(list_session(process.pid)) < 3:
        assert process.poll() is None
    end_session(process.pid)
    assert list_session(process.pid) == []
    process.wait()
