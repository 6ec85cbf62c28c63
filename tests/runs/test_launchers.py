"""`--shard auto`: the share that each launcher gives a process."""

from __future__ import annotations

import pytest

from assay.errors import UsageError
from assay.runs.launchers import find_launched_share


def array(number: int, first: int, count: int, step: int = 1) -> dict[str, str]:
    values = {"ID": number, "MIN": first, "COUNT": count, "STEP": step, "MAX": first + step * (count - 1)}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        (array(1, 1, 20), "1/20"),
        (array(20, 1, 20), "20/20"),
        (array(0, 0, 4), "1/4"),
        (array(14, 10, 3, step=2), "3/3"),
        (array(2, 1, 5) | {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, "2/5"),
        (array(2, 1, 5) | {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_STEP_ID": "0"}, "8/20"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, "2/4"),
        ({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}, "4/8"),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "1/2"),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, "2/2"),
        ({"SKYPILOT_NODE_RANK": "2", "SKYPILOT_NUM_NODES": "3"}, "3/3"),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "RANK": "1", "WORLD_SIZE": "4"}, "2/4"),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "PMI_RANK": "1", "PMI_SIZE": "2"}, "2/2"),
        ({"SLURM_NTASKS": "4", "RANK": "1", "WORLD_SIZE": "2"}, "2/2"),
    ],
)
def test_a_launcher_gives_a_share(environment: dict[str, str], share: str) -> None:
    assert str(find_launched_share(environment).share) == share


def test_every_task_of_an_array_has_a_share_of_its_own() -> None:
    shares = {str(find_launched_share(array(number, 5, 7, step=3)).share) for number in range(5, 26, 3)}
    assert shares == {f"{number}/7" for number in range(1, 8)}


def test_an_indexed_job_is_told_of_how_many() -> None:
    assert str(find_launched_share({"JOB_COMPLETION_INDEX": "4"}, count=20).share) == "5/20"
    with pytest.raises(UsageError, match="but not of how many") as caught:
        find_launched_share({"JOB_COMPLETION_INDEX": "4"})
    assert "--shard auto/N" in caught.value.hint


@pytest.mark.parametrize(
    ("environment", "count", "message"),
    [
        ({}, None, "no launcher that assay knows"),
        (
            {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "RANK": "3", "WORLD_SIZE": "8"},
            None,
            r"Slurm .* says 2/2, torchrun .* says 4/8",
        ),
        (array(1, 1, 20) | {"RANK": "1", "WORLD_SIZE": "2"}, None, "says 1/20, torchrun .* says 2/2"),
        ({"RANK": "1"}, None, "WORLD_SIZE is not set"),
        ({"WORLD_SIZE": "4"}, None, "RANK is not set"),
        ({"RANK": "4", "WORLD_SIZE": "4"}, None, "RANK is 4, WORLD_SIZE 4"),
        ({"RANK": "-1", "WORLD_SIZE": "4"}, None, "RANK is '-1', expected a number"),
        ({"RANK": "1", "WORLD_SIZE": "4"}, 8, "--shard auto/8: torchrun .* says 2/4"),
        ({"JOB_COMPLETION_INDEX": "20"}, 20, "JOB_COMPLETION_INDEX is 20"),
        (array(7, 1, 3), None, "not numbered in even steps"),
    ],
)
def test_what_contradicts_itself_is_an_error(
    environment: dict[str, str], count: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        find_launched_share(environment, count)
