"""The same run on a Ray cluster: what comes out, what a lost node costs, what is refused."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from assay_command import RunAssay
from failing_store import FailingStore

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore:::ray")
SMALL: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@pytest.mark.slow
def test_a_ray_of_this_machine_alone_gives_the_same_files_and_leaves_nothing(
    run_assay: RunAssay, compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    command = ["evaluate", compiled, "--images", photographs, "--shard-size", 4]
    assert run_assay(*command, "-o", tmp_path / "local").returncode == 0
    done = run_assay(*command, "-o", tmp_path / "ray", "--ray", "-q", env={"TMPDIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert read_parts(tmp_path / "ray") == read_parts(tmp_path / "local")
    assert {path.name for path in tmp_path.iterdir()} == {"photographs", "local", "ray"}


@pytest.fixture
def compiled(colour_compiled: Path) -> Path:
    return colour_compiled


@pytest.fixture
def many(photographs: Path) -> Path:
    """The twelve photographs, one of them damaged, and 108 links to them."""
    originals = sorted(photographs.iterdir())
    originals[4].write_bytes(originals[4].read_bytes()[:100])
    for number in range(13, 121):
        os.link(originals[number % 12], photographs / f"ILSVRC2012_val_{number:08d}.JPEG")
    return photographs


@contextmanager
def start_three_nodes() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray will change in itself
        from ray.cluster_utils import Cluster

        nodes: Any = Cluster(initialize_head=True, head_node_args=SMALL)
        nodes.add_node(**SMALL)
        nodes.add_node(**SMALL)
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes of one processor each, all on this machine."""
    with start_three_nodes() as nodes:
        yield nodes


@pytest.fixture
def mortal_cluster() -> Iterator[Any]:
    """The same, for one test alone."""
    with start_three_nodes() as nodes:
        yield nodes


def evaluate(compiled: Path, images: Path, run: Path, *more: object) -> list[object]:
    return ["evaluate", compiled, "--images", images, "-o", run, "--shard-size", 10, *more]


def read_parts(run: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in (run / "predictions").iterdir()}


def count_parts(run: Path) -> int:
    return len(list((run / "predictions").glob("part-*"))) if run.exists() else 0


def read_names(run: Path) -> list[str]:
    parts = sorted((run / "predictions").iterdir())
    return [name for part in parts for name in pq.read_table(part).column("name").to_pylist()]


def start(command: list[object]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "assay", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_parts(run: Path, process: subprocess.Popen[str], count: int) -> None:
    while count_parts(run) < count and process.poll() is None:
        time.sleep(0.01)


def list_actors(cluster: Any) -> list[int]:
    """The processes that are computing shards on that cluster now; other tests run beside this one."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if b"ray::ShardRunner" in (folder / "cmdline").read_bytes():
                    (parent,) = re.findall(r"^PPid:\t(\d+)$", (folder / "status").read_text(), re.MULTILINE)
                    if cluster.address.encode() in Path("/proc", parent, "cmdline").read_bytes():
                        found.append(int(folder.name))
            except OSError:  # it has ended
                continue
    return found


@pytest.mark.slow
def test_local_shares_one_node_and_three_nodes_give_the_same_files(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path, cluster: Any
) -> None:
    assert run_assay(*evaluate(compiled, many, tmp_path / "local")).returncode == 3  # the damaged image
    expected = read_parts(tmp_path / "local")
    assert len(expected) == 12
    for number in (1, 2, 3):
        run_assay(*evaluate(compiled, many, tmp_path / "shares", "--shard", f"{number}/3"))
    assert run_assay("merge", tmp_path / "shares").returncode == 3
    assert read_parts(tmp_path / "shares") == expected
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    one = run_assay(*evaluate(compiled, many, tmp_path / "one", "--ray"), env=environment)
    assert one.returncode == 3, one.stderr
    assert "on Ray, 1 CPUs each" in one.stderr
    assert read_parts(tmp_path / "one") == expected
    three = run_assay(*evaluate(compiled, many, tmp_path / "three", "--ray", cluster.address))
    assert three.returncode == 3, three.stderr
    assert "12 shards by 3 actors on Ray" in three.stderr
    assert "12 of 12 shards" in three.stderr
    assert read_parts(tmp_path / "three") == expected
    for run in ("shares", "one", "three"):
        metrics = (tmp_path / run / "metrics.json").read_bytes()
        assert metrics == (tmp_path / "local" / "metrics.json").read_bytes()


@pytest.mark.slow
def test_what_an_actor_needs_and_no_node_has_is_refused(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path, cluster: Any
) -> None:
    run = tmp_path / "run"
    done = run_assay(*evaluate(compiled, many, run, "--ray", cluster.address, "--num-gpus", 1))
    assert done.returncode == 4, done.stderr
    assert "an actor needs 1 CPUs and 1 GPUs, and no node has that; nodes have: 1 CPUs" in done.stderr
    done = run_assay(*evaluate(compiled, many, run, "--resume", "--ray", "127.0.0.1:9"))
    assert done.returncode == 4, done.stderr
    assert "--ray: no cluster at 127.0.0.1:9: " in done.stderr
    done = run_assay(*evaluate(compiled, many, run, "--resume", "--ray", cluster.address, "--shard", "1/2"))
    assert done.returncode == 2
    assert "--ray and --shard exclude each other" in done.stderr


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_an_archive_is_sent_by_its_path(
    run_assay: RunAssay, compiled: Path, photographs: Path, tmp_path: Path, form: str
) -> None:
    archive = shutil.make_archive(str(tmp_path / "photographs"), form, photographs)
    done = run_assay(*evaluate(compiled, Path(archive), tmp_path / "run", "--ray", "127.0.0.1:9"))
    assert "no cluster at 127.0.0.1:9" in done.stderr  # that far they came


@pytest.mark.slow
def test_a_run_folder_that_cannot_be_written_ends_the_run(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path, cluster: Any
) -> None:
    run = tmp_path / "run"
    assert run_assay(*evaluate(compiled, many, run)).returncode == 3
    for part in list((run / "predictions").iterdir()):
        part.unlink()
        part.mkdir()  # so that no part can be written
    done = run_assay(*evaluate(compiled, many, run, "--resume", "--ray", cluster.address))
    assert done.returncode == 2, done.stderr
    assert "Is a directory" in done.stderr


@pytest.mark.slow
def test_a_store_that_fails_on_a_node_fails_its_shard_and_resume_computes_it(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path, store: FailingStore
) -> None:
    assert run_assay(*evaluate(compiled, many, tmp_path / "local")).returncode == 3  # the damaged image
    expected = read_parts(tmp_path / "local")
    for file in many.iterdir():
        store.client.put_object(Bucket="bucket", Key=f"val/{file.name}", Body=file.read_bytes())
    store.wanted = "00000042.JPEG"
    store.fail(403)
    run = tmp_path / "run"
    command = evaluate(compiled, Path("s3://bucket/val?region=us-east-1"), run, "--ray")
    quick = (
        "import sys; from assay.images import read; read.PAUSES_S = (0.01,);"
        "from assay.command_line.app import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", quick, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "1 shards failed; the others are kept. part-00004.parquet: " in done.stderr
    assert "ACCESS_DENIED" in done.stderr
    assert read_parts(run) == {name: part for name, part in expected.items() if name != "part-00004.parquet"}
    assert '"status": "failed"' in (run / "manifest.json").read_text()
    store.recover()
    done = run_assay(*command, "--resume")
    assert done.returncode == 3, done.stderr
    assert "11 of 12 shards are there already" in done.stderr
    assert read_parts(run) == expected


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_shards_and_the_cluster_is_left_clean(
    run_assay: RunAssay, colour_onnx: Path, many: Path, tmp_path: Path, cluster: Any
) -> None:
    slow_chip = ["--engine", "constant", "--set", "images_per_second=10"]  # 4 s for all, with three actors
    assert run_assay("compile", colour_onnx, tmp_path / "slow", *slow_chip).returncode == 0
    run = tmp_path / "run"
    command = evaluate(tmp_path / "slow", many, run, "--ray", cluster.address)
    command[command.index("--shard-size") + 1] = 2
    process = start(command)
    wait_for_parts(run, process, 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    kept = read_parts(run)
    assert 2 <= len(kept) < 60
    assert '"status": "interrupted"' in (run / "manifest.json").read_text()
    for _ in range(300):
        if not list_actors(cluster):
            break
        time.sleep(0.1)
    assert list_actors(cluster) == []
    done = run_assay(*command, "--resume")
    assert done.returncode == 3, done.stderr
    assert kept.items() <= read_parts(run).items()
    assert read_names(run) == sorted(path.name for path in many.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["actor", "node"])
def test_what_is_lost_midway_is_computed_again_and_no_row_twice(
    run_assay: RunAssay, compiled: Path, many: Path, tmp_path: Path, mortal_cluster: Any, lost: str
) -> None:
    assert run_assay(*evaluate(compiled, many, tmp_path / "local")).returncode == 3
    run = tmp_path / "run"
    process = start(evaluate(compiled, many, run, "--ray", mortal_cluster.address))
    wait_for_parts(run, process, 2)
    assert process.poll() is None
    if lost == "actor":
        actors = list_actors(mortal_cluster)
        assert actors
        os.kill(actors[0], signal.SIGKILL)
    else:
        mortal_cluster.remove_node(mortal_cluster.worker_nodes.copy().pop(), allow_graceful=False)
    assert count_parts(run) < 12
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 3, errors
    assert read_parts(run) == read_parts(tmp_path / "local")
    assert read_names(run) == sorted(path.name for path in many.iterdir())
