"""`--shard auto`: each launcher's processes compute the shards that `--shard I/N` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import RunAssay


@pytest.fixture
def compiled(run_assay: RunAssay, colour_onnx: Path, tmp_path: Path) -> Path:
    done = run_assay("compile", colour_onnx, tmp_path / "compiled", "--engine", "constant")
    assert done.returncode == 0, done.stderr
    return tmp_path / "compiled"


def read_parts(run: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in (run / "predictions").iterdir()}


@pytest.mark.parametrize(
    ("shard", "environment"),
    [
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "2",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_STEP": "1",
            },
        ),
        ("auto", {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "node0"}),
        ("auto/3", {"JOB_COMPLETION_INDEX": "1"}),
    ],
    ids=["Slurm", "torchrun", "Kubernetes"],
)
def test_a_launched_process_computes_the_parts_of_its_share_and_ends_well_whatever_images_failed(
    run_assay: RunAssay,
    compiled: Path,
    photographs: Path,
    tmp_path: Path,
    shard: str,
    environment: dict[str, str],
) -> None:
    sorted(photographs.iterdir())[2].write_bytes(b"\xff\xd8\xff damaged")  # of the second shard
    command = ["evaluate", compiled, "--images", photographs, "--shard-size", "2", "-o"]
    by_hand = run_assay(*command, tmp_path / "by_hand", "--shard", "2/3")
    launched = run_assay(*command, tmp_path / "launched", "--shard", shard, env=environment)
    assert (by_hand.returncode, launched.returncode) == (0, 0), launched.stderr
    assert "Share 2/3, by " in launched.stderr
    parts = read_parts(tmp_path / "launched")
    assert sorted(parts) == ["part-00001.parquet", "part-00004.parquet"]
    assert parts == read_parts(tmp_path / "by_hand")
