"""Which share of a run this process computes, by what the launcher that started it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from assay.errors import UsageError, quote
from assay.runs.locks import Share

GIVE_IT = "give the share itself: --shard I/N"
# The launcher, and the variables of a process's number, from 0, and of how many there are.
_RANKS = (
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS"),
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MPI", "PMI_RANK", "PMI_SIZE"),
    ("SkyPilot", "SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"),
)
_INDEXED_JOB = "JOB_COMPLETION_INDEX"


@dataclass(frozen=True, kw_only=True)
class LaunchedShare:
    """A share, and who said so."""

    share: Share
    source: str


def find_launched_share(environment: Mapping[str, str], count: int | None = None) -> LaunchedShare:
    """The share that the launcher of this process gives it.

    In this order: Slurm's arrays, Slurm's tasks, torchrun, MPI, SkyPilot, Kubernetes' Indexed Jobs. One that
    started this process alone decides nothing where another started several.

    Args:
        environment: The process's.
        count: How many shares there are, where the user says so; an Indexed Job does not tell.

    Raises:
        UsageError: No launcher, two that say different things, or one that says another count.
    """
    found = [*_find_array(environment), *_find_ranks(environment), *_find_indexed_job(environment, count)]
    several = [each for each in found if each.share.count > 1] or found
    if not several:
        raise UsageError("--shard auto: no launcher that assay knows started this process", hint=GIVE_IT)
    first = several[0]
    for other in several[1:]:
        if other.share != first.share:
            raise UsageError(
                f"--shard auto: {first.source} says {first.share}, {other.source} says {other.share}",
                hint=GIVE_IT,
            )
    if count not in (None, first.share.count):
        raise UsageError(f"--shard auto/{count}: {first.source} says {first.share}", hint=GIVE_IT)
    return first


def _find_array(environment: Mapping[str, str]) -> Iterator[LaunchedShare]:
    """Slurm numbers an array from any number in any steps; a task of it may have tasks of its own (srun)."""
    name = "SLURM_ARRAY_TASK"
    if f"{name}_ID" not in environment:
        return
    number, count = _read(environment, f"{name}_ID"), _read(environment, f"{name}_COUNT")
    first = _read(environment, f"{name}_MIN")
    step = _read(environment, f"{name}_STEP") if f"{name}_STEP" in environment else 1
    index, rest = divmod(number - first, max(step, 1))
    source = f"Slurm's array ({name}_ID {number}, _MIN {first}, _STEP {step}, _COUNT {count})"
    if rest or not 0 <= index < count:
        raise UsageError(f"--shard auto: {source} is not numbered in even steps", hint=GIVE_IT)
    if "SLURM_STEP_ID" in environment and (tasks := _read(environment, "SLURM_NTASKS")) > 1:
        index, count = index * tasks + _read(environment, "SLURM_PROCID"), count * tasks
        source += f", each of {tasks} tasks"
    yield LaunchedShare(share=Share(number=index + 1, count=count), source=source)


def _find_ranks(environment: Mapping[str, str]) -> Iterator[LaunchedShare]:
    for launcher, rank_name, size_name in _RANKS:
        if launcher == "Slurm" and "SLURM_ARRAY_TASK_ID" in environment:
            continue
        if rank_name not in environment and (size_name not in environment or launcher == "Slurm"):
            continue  # Slurm tells its size to what it has not started, too
        yield _make_share(environment, rank_name, size_name, launcher)


def _make_share(
    environment: Mapping[str, str], rank_name: str, size_name: str, launcher: str
) -> LaunchedShare:
    rank, size = _read(environment, rank_name), _read(environment, size_name)
    if rank >= size:
        raise UsageError(f"--shard auto: {rank_name} is {rank}, {size_name} {size}", hint=GIVE_IT)
    share = Share(number=rank + 1, count=size)
    return LaunchedShare(share=share, source=f"{launcher} ({rank_name} {rank}, {size_name} {size})")


def _find_indexed_job(environment: Mapping[str, str], count: int | None) -> Iterator[LaunchedShare]:
    if _INDEXED_JOB not in environment:
        return
    index = _read(environment, _INDEXED_JOB)
    if count is None:
        raise UsageError(
            f"--shard auto: Kubernetes says {_INDEXED_JOB} {index}, but not of how many",
            hint="give the number of completions: --shard auto/N",
        )
    if index >= count:
        raise UsageError(f"--shard auto/{count}: {_INDEXED_JOB} is {index}", hint="give the completions as N")
    share = Share(number=index + 1, count=count)
    yield LaunchedShare(share=share, source=f"Kubernetes ({_INDEXED_JOB} {index})")


def _read(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name)
    if text is None:
        raise UsageError(f"--shard auto: {name} is not set, though its launcher's others are", hint=GIVE_IT)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UsageError(f"--shard auto: {name} is {quote(text)}, expected a number", hint=GIVE_IT)
    return int(text)
