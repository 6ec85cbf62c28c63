"""The Slurm file of the documentation, run by Slurm: one node of its own, which the test starts and ends."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from conftest import RunAssay

pytestmark = pytest.mark.slow
PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "scale-out.md"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(*command: object) -> Iterator[None]:
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def ask(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(what: str, is_true: Any, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"not after {seconds:g} s: {what}"
        time.sleep(0.5)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cluster of this machine alone, with a key, sockets and ports of its own."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} not here: apt-get install slurm-wlm munge")
    if os.getuid() != 0:
        pytest.skip("slurmd needs root")
    home = Path("/tmp") / f"assay-slurm-{os.getpid()}"  # munge wants a short path that nobody else can write
    home.mkdir(mode=0o755)
    key = home / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    name = socket.gethostname().partition(".")[0]
    (home / "slurm.conf").write_text(
        f"""
ClusterName=test
SlurmctldHost={name}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
SlurmctldPort={find_port()}
SlurmdPort={find_port()}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName={name} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes={name} Default=YES State=UP
"""
    )
    monkeypatch.setenv("SLURM_CONF", str(home / "slurm.conf"))
    munge = ["munged", "-F", f"--key-file={key}", f"--socket={home}/munge.socket", f"--pid-file={home}/m.pid"]
    munge += [f"--log-file={home}/munge.log", f"--seed-file={home}/munge.seed", "--num-threads=1"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        stack.enter_context(running(*munge))
        wait_until("munged answers", (home / "munge.socket").exists, 30)
        stack.enter_context(running("slurmctld", "-D"))
        stack.enter_context(running("slurmd", "-D"))
        wait_until("the node is idle", lambda: "idle" in sinfo(), 60)
        yield


def sinfo() -> str:
    return subprocess.run(
        ["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False, timeout=60
    ).stdout


@pytest.fixture
def shared(run_assay: RunAssay, photographs: Path, colour_onnx: Path, tmp_path: Path) -> Path:
    """The folder that the documentation calls /shared, with a model, 13 images, of which one is damaged."""
    folder = tmp_path / "shared"
    folder.mkdir()
    photographs.rename(folder / "val")
    (folder / "val" / "ILSVRC2012_val_00000013.JPEG").write_bytes(b"\xff\xd8\xff damaged")
    assert run_assay("compile", colour_onnx, folder / "compiled", "--engine", "constant").returncode == 0
    return folder


@pytest.fixture
def assay_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "assay"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m assay "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def read_rows(run: Path) -> list[dict[str, Any]]:
    return [
        row for part in sorted((run / "predictions").iterdir()) for row in pq.read_table(part).to_pylist()
    ]


def submit(script: str, folder: Path) -> str:
    """Let Slurm run a script, and return what it says of the job when it has ended."""
    (folder / "job.sh").write_text(script)
    number = ask("sbatch", "--parsable", f"--output={folder}/%x-%a.log", folder / "job.sh").strip()
    wait_until("the job has ended", lambda: not ask("squeue", "-h").strip())
    said = ask("scontrol", "show", "job", number)
    logs = "\n".join(log.read_text() for log in folder.glob("*.log"))
    assert set(re.findall(r"JobState=(\w+)", said)) == {"COMPLETED"}, said + logs
    return logs


@pytest.mark.usefixtures("slurm", "assay_on_path")
def test_the_documentations_file_and_srun_compute_the_shares_of_one_process(
    run_assay: RunAssay, shared: Path
) -> None:
    (script,) = re.findall(
        r"^```sh\n(#!/bin/bash\n#SBATCH.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    alone = ["evaluate", shared / "compiled", "--images", shared / "val", "-o", shared / "alone"]
    assert run_assay(*alone, "--shard-size", "3").returncode == 3
    script = script.replace("/shared/", f"{shared}/").replace("--shard auto", "--shard auto --shard-size 3")
    script = script.replace("--array=1-20", "--array=1-2").replace("--cpus-per-task=8", "--cpus-per-task=1")
    logs = submit(script, shared)
    assert "Share 1/2, by Slurm's array (SLURM_ARRAY_TASK_ID 1, " in logs
    assert "Share 2/2, by Slurm's array (SLURM_ARRAY_TASK_ID 2, " in logs
    assert read_rows(shared / "runs" / "val") == read_rows(shared / "alone")
    assert (shared / "runs" / "val" / "metrics.json").read_text() == (
        shared / "alone" / "metrics.json"
    ).read_text()
    assert run_assay("merge", shared / "runs" / "val").returncode == 3

    tasks = re.sub(r"#SBATCH --array=.*", "#SBATCH --ntasks=2", script).replace(
        "exec assay", "exec srun assay"
    )
    logs = submit(tasks.replace("runs/val", "runs/tasks"), shared)
    assert "Share 1/2, by Slurm (SLURM_PROCID 0, SLURM_NTASKS 2)" in logs
    assert read_rows(shared / "runs" / "tasks") == read_rows(shared / "alone")
