"""What faults cost on a Ray cluster: three nodes in namespaces of their own, a bucket in a fourth.

Each trial is a run with one fault in its middle: the store throttles, refuses, is slow, resets connections or
cuts bodies short, while it is read, written to or both; credentials expire; a node is refused alone, killed,
or joins; the control store or the head's link goes, the command is killed. Images, model and results are in
the bucket. A run that does not end well is resumed. What counts is in the bucket: rows lost, rows doubled,
parts that are not, byte for byte, those of one process. The last trials are of two commands at once, and of
clusters with another token or none.
Needs root (for `ip netns`) and moto; the engine is `constant`, so that time is spent waiting.

    python benchmarks/cluster_faults.py ["denied for 10 s" ...]
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_bench import ADDRESSES, NO_TOKEN, NODES, QUERY, TOKEN, Bench, open_bench, set_link
from ray_ports import find_driver

from assay.workflows.cluster.sessions import end_session, list_session
from failing_store import CUT_SHORT, ERROR_IN_200, RESET, SLOW

Command = subprocess.Popen[str]
Lines = list[tuple[float, str]]
FAULT_AFTER_PARTS = 6
LEFT = (
    "import sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level='ERROR')\n"
    "from ray._private.state import actors\n"
    "from ray.util import placement_group_table\n"
    "alive = [actor for actor in actors().values() if actor['State'] != 'DEAD']\n"
    "print(len(alive), 'actors,', len(placement_group_table()), 'placement groups on the cluster')\n"
)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A fault in the middle of a run; where the command runs, and which nodes there are at its beginning."""

    act: Callable[[Bench, Command], None]
    node: str = "a"
    without: str = ""


def lose_credentials(bench: Bench, _: Command) -> None:
    """The key in use expires for good; five seconds later the file holds a new one."""
    bench.fail("expired", 1e6)
    time.sleep(5)
    bench.write_key("new")


def kill_process(bench: Bench, node: str, what: bytes) -> None:
    """Kill one process of a node."""
    for process in bench.find_processes(node, what):
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)


def kill_raylet_while_writing(bench: Bench, _: Command) -> None:
    """Results are written slowly, and meanwhile a raylet is killed."""
    bench.fail(SLOW, 15, writing=True)
    time.sleep(1)
    kill_process(bench, "c", b"raylet")


def cut_head_for(seconds: float) -> Callable[[Bench, Command], None]:
    """Take the head's link away for so long; the command runs on another node."""

    def cut(_bench: Bench, _: Command) -> None:
        set_link("a", "down")
        threading.Timer(seconds, set_link, ("a", "up")).start()

    return cut


def kill_command(bench: Bench, command: Command) -> None:
    """SIGKILL for the command itself; print what of it is left, and how long."""
    driver = find_driver(command.pid)
    command.kill()
    killed = time.monotonic()
    while left := count_left(bench, driver):
        print(f"      after {time.monotonic() - killed:.1f} s: {left}", flush=True)
        time.sleep(0.5)
    print(f"      after {time.monotonic() - killed:.1f} s: no process", flush=True)
    print(f"      {bench.ask_cluster(LEFT)}", flush=True)


def count_left(bench: Bench, driver: int | None) -> str:
    """The processes of a run: actors on all nodes, its driver and what that has started."""
    actors = sum(len(bench.find_processes(node, b"ray::ShardRunner")) for node in bench.nodes)
    drivers = len(list_session(driver)) if driver else 0
    return f"{actors} actors, {drivers} processes of the driver" if actors or drivers else ""


def fail(kind: int | str, seconds: float, *, who: str = "", writing: bool | None = None) -> Trial:
    """A trial with a fault of the store."""
    who = ADDRESSES.get(who, "")
    return Trial(act=lambda bench, _: bench.fail(kind, seconds, who=who, writing=writing))


TRIALS = {
    "undisturbed": Trial(act=lambda *_: None),
    "throttled (503) for 10 s": fail(503, 10),
    "throttled (429) for 10 s": fail(429, 10),
    "denied for 10 s": fail(403, 10),
    "denied for 90 s": fail(403, 90),
    "slow for 15 s": fail(SLOW, 15),
    "cut short for 10 s": fail(CUT_SHORT, 10),
    "connections reset for 10 s": fail(RESET, 10),
    "credentials expire": Trial(act=lose_credentials),
    "writing denied for 10 s": fail(403, 10, writing=True),
    "writing denied for 90 s": fail(403, 90, writing=True),
    "writing throttled for 10 s": fail(429, 10, writing=True),
    "writing reset for 10 s": fail(RESET, 10, writing=True),
    "writing slow for 15 s": fail(SLOW, 15, writing=True),
    "uploads fail in a 200": fail(ERROR_IN_200, 10, writing=True),
    "one node is denied": fail(403, 1e6, who="c"),
    "a node is killed": Trial(act=lambda bench, _: bench.kill_node("b")),
    "a raylet, while writing": Trial(act=kill_raylet_while_writing),
    "a node joins": Trial(act=lambda bench, _: bench.start_node("b"), without="b"),
    "the command is killed": Trial(act=kill_command),
    "control store is killed": Trial(act=lambda bench, _: kill_process(bench, "a", b"gcs_server")),
    "head cut off for 20 s": Trial(act=cut_head_for(20), node="b"),
    "head cut off": Trial(act=lambda *_: set_link("a", "down"), node="b"),
}


def start(bench: Bench, url: str, node: str, *more: str, **variables: str) -> tuple[Command, Lines]:
    """Start the command on a node, and collect its lines with their times."""
    environment = bench.make_environment(node) | variables
    command = subprocess.Popen(
        bench.command(node, url, *more), text=True,
        env={name: value for name, value in environment.items() if value},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    bench.commands.append(command.pid)
    lines: Lines = []

    def listen() -> None:
        assert command.stderr is not None
        lines.extend((time.monotonic(), line.rstrip()) for line in command.stderr)

    threading.Thread(target=listen, daemon=True).start()
    return command, lines


def show_lines(lines: Lines) -> None:
    """Print what a command said, but for its progress."""
    for _, line in list(lines):
        if line and "Evaluating:" not in line:
            print(f"      {line[:150]}", flush=True)


def try_fault(bench: Bench, name: str, trial: Trial) -> None:
    """Run once with the fault, resume until it is finished, and print what became of it."""
    folder = "".join(letter if letter.isalnum() else "-" for letter in name)
    url = f"s3://bucket/{folder}?{QUERY}"
    bench.recover()
    if trial.without:
        bench.kill_node(trial.without)
    begin = time.monotonic()
    command, lines = start(bench, url, trial.node)
    while command.poll() is None and not is_busy(bench, folder):
        time.sleep(0.2)
    hurt = time.monotonic()
    trial.act(bench, command)
    status = command.wait()
    end = time.monotonic()
    end_session(command.pid)
    time.sleep(0.5)
    said = [when for when, line in lines if when > hurt and "Evaluating:" not in line]
    noticed = f"{min(said) - hurt:.0f}" if said else ""
    row = f"{name:<27}{status:>5}{end - begin:>7.0f}{end - hurt:>8.0f}{noticed:>9}"
    print(f"{row}  {bench.read_status(folder):<12}{bench.judge(folder)}", flush=True)
    reads = ", ".join(f"{node} {count}" for node, count in bench.count_reads().items())
    print(f"      images read by {reads}", flush=True)
    show_lines(lines)
    for _ in range(3):
        bench.mend()
        if status == 0:
            break
        status = resume(bench, folder, url)


def is_busy(bench: Bench, folder: str) -> bool:
    """Whether parts are there, and every node of the cluster computes."""
    reads = bench.count_reads()
    return len(bench.list_parts(folder)) >= FAULT_AFTER_PARTS and all(reads[node] > 1 for node in bench.nodes)


def resume(bench: Bench, folder: str, url: str) -> int:
    """Resume a run on the first node, print what became of it, and return its exit status."""
    begin = time.monotonic()
    command, lines = start(bench, url, "a", "--resume")
    status = command.wait()
    row = f"{'  resumed':<27}{status:>5}{time.monotonic() - begin:>7.0f}{'':>17}"
    print(f"{row}  {bench.read_status(folder):<12}{bench.judge(folder)}", flush=True)
    if status:
        show_lines(lines)
    return status


def begin_twice(bench: Bench) -> None:
    """Two nodes begin the same run at once."""
    bench.mend()
    begun = [start(bench, f"s3://bucket/twice?{QUERY}", node) for node in ("a", "b")]
    for command, lines in begun:
        command.wait()
        end_session(command.pid)
        time.sleep(0.5)
        print(f"{'begun twice at once':<27}{command.returncode:>5}", flush=True)
        show_lines(lines)
    print(f"{'':<56}  {bench.read_status('twice'):<12}{bench.judge('twice')}", flush=True)


def join_without_token(bench: Bench) -> None:
    """Another token and none on a cluster that asks for one; a token on a cluster that asks for none."""
    bench.mend()
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    try_token(bench, "wrong token", **wrong)
    try_token(bench, "no token", RAY_AUTH_TOKEN="", RAY_AUTH_MODE="")
    try_token(bench, "its token", **TOKEN)
    bench.restart(NO_TOKEN)
    try_token(bench, "open cluster", RAY_AUTH_MODE="")
    try_token(bench, "open cluster, own token", **wrong)
    bench.restart(TOKEN)


def try_token(bench: Bench, name: str, **variables: str) -> None:
    """Print how the command ends with those variables; it computes 12 images."""
    begin = time.monotonic()
    folder = name.replace(" ", "-").replace(",", "")
    command, lines = start(bench, f"s3://bucket/{folder}?{QUERY}", "a", "--limit", "12", **variables)
    status = command.wait()
    time.sleep(0.5)
    print(f"{name:<27}{status:>5}{time.monotonic() - begin:>7.0f}{'':>17}  {bench.read_status(folder)}")
    show_lines(lines)


OTHERS = {"begun twice at once": begin_twice, "tokens": join_without_token}


def main() -> None:
    """Print the table."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left
    with tempfile.TemporaryDirectory(prefix="assay-faults-") as name, open_bench(Path(name)) as bench:
        print(
            "trial                       exit  all s after s  noticed  manifest    lost doubled  other",
            flush=True,
        )
        for trial in sys.argv[1:] or (*TRIALS, *OTHERS):
            if trial in OTHERS:
                OTHERS[trial](bench)
            else:
                try_fault(bench, trial, TRIALS[trial])
        left = [path.name for node in NODES for path in (Path(name) / node / "tmp").glob("assay-*")]
        print(f"left in the nodes' temporary folders: {len(left)} {sorted(left)[:5]}", flush=True)


if __name__ == "__main__":
    main()
