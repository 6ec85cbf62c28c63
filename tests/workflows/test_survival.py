"""Runs that are killed, shared, disturbed or changed: what is kept, what is refused, what comes out."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from conftest import RunAssay


def read_rows(run: Path) -> list[dict[str, Any]]:
    return [
        row for part in sorted((run / "predictions").iterdir()) for row in pq.read_table(part).to_pylist()
    ]


def read_json(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@pytest.fixture
def compiled(colour_compiled: Path) -> Path:
    return colour_compiled


@pytest.fixture
def many(photographs: Path) -> Path:
    """The twelve photographs and 388 links to them, of all labels."""
    originals = sorted(photographs.iterdir())
    for number in range(13, 401):
        os.link(originals[number % 12], photographs / f"ILSVRC2012_val_{number:08d}.JPEG")
    return photographs


@pytest.fixture
def some(photographs: Path) -> Path:
    """The twelve photographs and 84 links to them: twelve shards of eight."""
    originals = sorted(photographs.iterdir())
    for number in range(13, 97):
        os.link(originals[number % 12], photographs / f"ILSVRC2012_val_{number:08d}.JPEG")
    return photographs


def start(command: Sequence[object]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "assay", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_and_resume(command: list[object], run: Path, run_assay: RunAssay, seed: int, starts: int = 4) -> int:
    """Kill the run at random moments, resuming each time, then let it end; return how often it was killed."""
    moments, kills = random.Random(seed), 0
    for _ in range(starts):
        process = start([*command, "--resume"])
        parts_before = count_parts(run)
        wanted = parts_before + moments.randint(1, 12)
        while count_parts(run) < wanted and process.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    done = run_assay(*command, "--resume")
    assert done.returncode == 0, done.stderr
    return kills


def count_parts(run: Path) -> int:
    return len(list((run / "predictions").glob("part-*"))) if (run / "predictions").is_dir() else 0


def expect_the_same(run: Path, undisturbed: Path) -> None:
    assert read_rows(run) == read_rows(undisturbed)
    assert read_json(run / "metrics.json") == read_json(undisturbed / "metrics.json")
    assert read_json(run / "manifest.json")["status"] == "finished"


def evaluate(compiled: Path, images: Path, run: Path) -> list[object]:
    return ["evaluate", compiled, "--images", images, "-o", run, "--shard-size", 8]


def test_a_run_killed_again_and_again_equals_an_undisturbed_one(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path
) -> None:
    assert run_assay(*evaluate(compiled, many, tmp_path / "whole")).returncode == 0
    command = evaluate(compiled, many, tmp_path / "run")
    assert kill_and_resume(command, tmp_path / "run", run_assay, 1, starts=3) >= 2
    expect_the_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.slow
def test_six_runs_each_killed_at_random_moments_equal_an_undisturbed_one(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path
) -> None:
    assert run_assay(*evaluate(compiled, many, tmp_path / "whole")).returncode == 0
    kills = []
    for seed in range(2, 8):
        run = tmp_path / f"run{seed}"
        kills.append(kill_and_resume(evaluate(compiled, many, run), run, run_assay, seed))
        expect_the_same(run, tmp_path / "whole")
    assert all(kills), kills


def test_sigterm_ends_within_two_seconds_and_keeps_what_is_done(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(evaluate(compiled, many, run))
    while count_parts(run) < 2 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.rstrip().endswith("interrupted; what was done is kept\n  continue with --resume")
    assert read_json(run / "manifest.json")["status"] == "interrupted"
    assert run_assay(*evaluate(compiled, many, run), "--resume").returncode == 0
    assert len(read_rows(run)) == 400


def test_a_main_thread_inside_a_runtime_does_not_hold_the_process_up() -> None:
    program = """
import ctypes, signal
from assay.interrupts import end_on_signals

with end_on_signals():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # another thread takes it
    print("ready", flush=True)
    ctypes.CDLL(None).sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # by then it sleeps in C, where Python hears no signal
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "assay: interrupted; nothing is half-written\n"


@pytest.mark.parametrize("changed", ["model", "preprocessing", "images", "labels", "shard size"])
def test_resume_refuses_what_is_another_run_and_says_why(
    run_assay: RunAssay, compiled: Path, photographs: Path, colour_onnx: Path, tmp_path: Path, changed: str
) -> None:
    run = tmp_path / "run"
    command = evaluate(compiled, photographs, run)
    assert run_assay(*command).returncode == 0
    before = read_rows(run)
    expected = f"the {changed}"
    if changed == "model":
        command[1] = tmp_path / "other"
        run_assay("compile", colour_onnx, command[1], "--engine", "constant")
        expected = "the compiled model"
    elif changed == "preprocessing":
        command += ["--max-pixels", 1_000_000]
    elif changed == "images":
        image = photographs / "ILSVRC2012_val_00000003.JPEG"
        image.write_bytes(image.read_bytes() + b"\0")
    elif changed == "labels":
        names = sorted(image.name for image in photographs.iterdir())
        (tmp_path / "labels.txt").write_text("".join(f"{name} 7\n" for name in names))
        command += ["--labels", tmp_path / "labels.txt"]
    else:
        command[-1] = 4
        expected = "the shard size (8 before, 4 now)"
    done = run_assay(*command, "--resume")
    assert done.returncode == 2, done.stderr
    assert f"cannot resume this run: {expected} changed since it began" in done.stderr
    assert read_rows(run) == before
    again = run_assay(*evaluate(compiled, photographs, run), "--resume")
    assert (again.returncode == 0) == (changed != "images"), again.stderr


def test_a_second_process_is_refused_while_one_works(
    run_assay: RunAssay, compiled: Path, some: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = start(evaluate(compiled, some, run))
    while count_parts(run) < 1 and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    try:
        for second in (["--resume"], ["--overwrite"]):
            done = run_assay(*evaluate(compiled, some, run), *second)
            assert done.returncode == 2, done.stderr
            assert "another process works on this run" in done.stderr
    finally:
        process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert len(read_rows(run)) == 96


def test_shares_of_a_run_work_side_by_side_and_the_last_completes_it(
    run_assay: RunAssay, compiled: Path, some: Path, tmp_path: Path
) -> None:
    assert run_assay(*evaluate(compiled, some, tmp_path / "whole")).returncode == 0
    run = tmp_path / "run"
    processes = [start([*evaluate(compiled, some, run), "--shard", f"{k}/2"]) for k in (1, 2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    expect_the_same(run, tmp_path / "whole")
    assert (run / "report.md").exists()


def test_merge_completes_a_run_that_no_share_could(
    run_assay: RunAssay, compiled: Path, some: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert run_assay(*evaluate(compiled, some, run), "--shard", "1/2").returncode == 0
    assert not (run / "metrics.json").exists()
    done = run_assay("merge", run)
    assert done.returncode == 2
    assert "6 of 12 shards are missing: part-00001.parquet, part-00003.parquet" in done.stderr
    assert run_assay(*evaluate(compiled, some, run), "--shard", "2/2").returncode == 0
    expected = read_json(run / "metrics.json")
    (run / "metrics.json").unlink()
    done = run_assay("merge", run, "--json")
    assert done.returncode == 0, done.stderr
    assert read_json(run / "metrics.json") == expected
    assert json.loads(done.stdout)["accuracy"] == expected["accuracy"]


def test_a_share_of_another_run_is_refused(
    run_assay: RunAssay, compiled: Path, photographs: Path, some: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert run_assay(*evaluate(compiled, some, run), "--shard", "1/2").returncode == 0
    (some / "ILSVRC2012_val_00000096.JPEG").unlink()
    done = run_assay(*evaluate(compiled, photographs, run), "--shard", "2/2")
    assert done.returncode == 2
    assert "the images" in done.stderr


@pytest.mark.parametrize(("shard", "output"), [("0/2", True), ("3/2", True), ("1", True), ("1/2", False)])
def test_a_share_that_cannot_be_is_a_usage_error(
    run_assay: RunAssay, compiled: Path, photographs: Path, tmp_path: Path, shard: str, output: bool
) -> None:
    place = ["-o", tmp_path / "run"] if output else []
    done = run_assay("evaluate", compiled, "--images", photographs, "--shard", shard, *place)
    assert done.returncode == 2
    assert "--shard" in done.stderr


def test_a_full_disk_is_a_clear_error_and_what_is_done_is_kept(
    compiled: Path, some: Path, tmp_path: Path, run_assay: RunAssay
) -> None:
    """The limit on file sizes stands in for a full disk: writing a part fails with an error of the system."""
    run = tmp_path / "run"
    command = ["evaluate", compiled, "--images", some, "-o", run, "--shard-size", 48, "--keep-logits"]
    limit = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000));"
    limit += "from assay.command_line.app import main; sys.exit(main(sys.argv[1:]))"
    uncovered = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(  # coverage could not write its own file either, and would say so
        [sys.executable, "-c", limit, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        env=uncovered,
    )
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(run.rglob("part-*")) == []
    done = run_assay(*command, "--resume")
    assert done.returncode == 0, done.stderr
    assert len(read_rows(run)) == 96


def test_a_read_only_folder_is_a_clear_error(run_assay: RunAssay, compiled: Path, photographs: Path) -> None:
    done = run_assay("evaluate", compiled, "--images", photographs, "-o", "/proc/run")
    assert done.returncode == 2
    assert "-o /proc/run: cannot be made" in done.stderr


def test_a_run_that_is_ended_inside_a_runtime_says_that_it_was_interrupted(tmp_path: Path) -> None:
    program = f"""
import ctypes, signal
from pathlib import Path
from assay.interrupts import end_on_signals
from assay.runs.listener import SILENT
from assay.runs.folder import open_run_folder
from assay.runs.place import RunPlace

with end_on_signals(), open_run_folder(RunPlace(path=Path({str(tmp_path / "run")!r})), "m", "e", SILENT):
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})  # another thread takes it
    print("ready", flush=True)
    ctypes.CDLL(None).sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # by then it sleeps in C, where Python hears no signal
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert read_json(tmp_path / "run" / "manifest.json")["status"] == "interrupted"


def is_running(process_id: int) -> bool:
    """Whether it still runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_child_of_a_killed_process_ends_too() -> None:
    program = """
import subprocess
from assay.interrupts import wrap_command
child = subprocess.Popen(wrap_command(["sleep", "300"]))
print(child.pid, flush=True)
child.wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_id = int(parent.stdout.readline())
    while "sleep" not in Path(f"/proc/{child_id}/cmdline").read_text().split("\0")[0]:
        time.sleep(0.01)
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 30
    while is_running(child_id) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_running(child_id)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_child_whose_parent_has_gone_already_ends_at_once() -> None:
    program = "from assay.interrupts import end_with_parent; end_with_parent(1); print('still here')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")


def test_ending_a_fork_that_a_library_made_does_not_end_the_process() -> None:
    """It has its parent's signal handlers, and the socket by which they are heard."""
    program = """
import os, signal, time
from assay.interrupts import end_on_signals
with end_on_signals():
    for _ in range(300):  # some are ended before they have run a step of their own
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    time.sleep(2)
print(status)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{-signal.SIGTERM}\n"), done.stderr
