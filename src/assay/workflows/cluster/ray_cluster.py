"""The shards of a run that are missing, computed on a Ray cluster; the only file that imports Ray."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported, which reads it
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of what will change
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its native part writes to stderr past Python

import ray
import ray.data
import ray.exceptions

from assay.engines.cascade.compose import list_engines
from assay.engines.compiled_model import CompiledModel, read_compiled_json
from assay.errors import EngineError, MissingRuntimeError, SourceError, UsageError
from assay.inference.pipeline import PipelineOptions
from assay.inference.shards import Shard, has_shard
from assay.runs.folder import RunFolder
from assay.runs.listener import Progress
from assay.workflows.cluster.model_cache import hash_compiled, read_files
from assay.workflows.cluster.shard_runner import ShardReport, ShardRunner, ShardWork, find_versions
from assay.workflows.evaluate.predict import (
    MAX_FAILED_SHARDS,
    Predictor,
    ShardError,
    describe_running_top1,
    list_missing_shards,
    summarise_failures,
)

_OBJECT_STORE_BYTES = 256 * 2**20
_REACHABLE_WITHIN_S = 10.0
_READS_AHEAD = "iter_threaded"  # what Ray Data calls the thread
_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ActorNeeds:
    """What one actor asks of its node; fractions of a GPU can be asked for."""

    cpu_count: float
    gpu_count: float

    def __str__(self) -> str:
        gpus = f" and {self.gpu_count:g} GPUs" if self.gpu_count else ""
        return f"{self.cpu_count:g} CPUs{gpus}"


@dataclass(frozen=True, kw_only=True)
class RayCluster:
    """Computes the missing shards of a run on a Ray cluster.

    Args:
        compiled_dir: The compiled model, on this machine; the nodes get it.
        address: Of the cluster; empty means what RAY_ADDRESS says, else a cluster of this machine alone.
        gpu_count: GPUs for each actor.
    """

    compiled_dir: Path
    address: str = ""
    gpu_count: float = 0

    def predict_missing_shards(
        self,
        predictor: Predictor,
        shards: Sequence[Shard],
        fingerprint: str,
        options: PipelineOptions,
        run: RunFolder,
    ) -> None:
        """Compute and write the shards that are missing, each by one actor; one that is lost is tried again.

        Raises:
            UsageError: The images are held in a form that cannot be sent.
            MissingRuntimeError: No cluster, no node that has what an actor needs, or a node with other
                versions.
            EngineError: Shards failed; the others are kept. After three in a row, the rest is not tried.
            SourceError: Likewise, where the first failed for its images' source.
        """
        folder = (run.path / predictor.folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        missing = list_missing_shards(predictor, shards, fingerprint, run)
        if not missing:
            return
        pickled = _pickle_shards(missing)
        compiled = read_compiled_json(self.compiled_dir)
        with _connect(self.address):
            needs = _choose_needs(compiled, self.gpu_count)
            actor_count = min(_count_actors(needs), len(missing))
            run.announce(f"{len(missing)} shards by {actor_count} actors on Ray, {needs} each")
            work = ShardWork(
                compiled=compiled,
                compiled_sha256=hash_compiled(compiled, self.compiled_dir),
                fetch_files=partial(_fetch, ray.put(read_files(compiled, self.compiled_dir))),
                folder=folder,
                fingerprint=fingerprint,
                options=replace(options, decode_threads=max(1, int(needs.cpu_count))),
                versions=find_versions(*list_engines(compiled)),
            )
            with closing(_compute(work, pickled, needs, actor_count)) as reports:
                _follow(reports, predictor, missing, run)
        if lost := [
            shard.file_name for shard in missing if not has_shard(folder / shard.file_name, fingerprint)
        ]:
            raise EngineError(
                f"{len(lost)} shards that were computed are not in {folder}, {lost[0]} the first",
                hint="-o a folder that all nodes share, then --resume",
            )


def _fetch(files: ray.ObjectRef[dict[str, bytes]]) -> dict[str, bytes]:
    return ray.get(files)


def _pickle_shards(shards: Sequence[Shard]) -> list[bytes]:
    try:
        return [pickle.dumps(shard) for shard in shards]
    except (TypeError, pickle.PicklingError) as error:
        raise UsageError(
            f"--ray: images in this form cannot be read by other processes: {error}",
            hint="unpack them into a folder, or use --shard I/N",
        ) from error


@contextmanager
def _drop_log_level_line() -> Iterator[None]:
    """Hold stderr back meanwhile, and write it then without the line in which Ray states its log level."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            for line in held:
                if b"Set ray log level from environment variable" not in line:
                    os.write(2, line)


@contextmanager
def _connect(address: str) -> Iterator[None]:
    chosen = address or os.environ.get("RAY_ADDRESS", "local")
    _check_reachable(chosen)
    own_bytes = _OBJECT_STORE_BYTES if chosen == "local" else None
    try:
        with _drop_log_level_line():
            ray.init(
                chosen,
                include_dashboard=False if chosen == "local" else None,
                object_store_memory=own_bytes,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        ray.shutdown()
        raise _no_cluster(chosen, error) from error
    try:
        yield
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise EngineError(
            f"Ray gave up: {type(cause).__name__}: {str(cause).strip().splitlines()[-1]}",
            hint="--resume computes what is missing",
        ) from error
    finally:
        _end_reading_ahead()
        ray.shutdown()


def _end_reading_ahead() -> None:
    """Wait for the thread that Ray Data reads ahead in; reports left unread do not end it at once.

    If the thread asks Ray for more after the shutdown, Ray ends the process: status 1, without a word (2.60).
    """
    for thread in threading.enumerate():
        if thread.name == _READS_AHEAD:
            thread.join(_PATIENCE_S)


def _check_reachable(address: str) -> None:
    """Refuse an address where nobody answers; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=_REACHABLE_WITHIN_S).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> MissingRuntimeError:
    return MissingRuntimeError(
        f"--ray: no cluster at {address}: {error}",
        hint="`ray start --head` starts one and prints its address",
    )


def _choose_needs(compiled: CompiledModel, gpu_count: float) -> ActorNeeds:
    """Choose what an actor needs: a processor for each thread of the engine, all of a node's by default."""
    if "threads" in compiled.settings:
        cpu_count = float(compiled.settings["threads"])
    elif gpu_count:
        cpu_count = 1.0
    else:
        cpu_count = min((node.cpu_count for node in _list_nodes() if node.cpu_count), default=1.0)
    return ActorNeeds(cpu_count=cpu_count, gpu_count=gpu_count)


def _list_nodes() -> list[ActorNeeds]:
    """List what the nodes have."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    resources = [node["Resources"] for node in nodes if node["Alive"]]
    return [ActorNeeds(cpu_count=each.get("CPU", 0), gpu_count=each.get("GPU", 0)) for each in resources]


def _count_actors(needs: ActorNeeds) -> int:
    """Count how many actors the cluster has room for.

    Raises:
        MissingRuntimeError: None; Ray would wait for such a node for ever.
    """
    nodes = _list_nodes()
    count = sum(_count_on(node, needs) for node in nodes)
    if not count:
        found = "; ".join(sorted({str(node) for node in nodes}, reverse=True)) or "no nodes"
        raise MissingRuntimeError(
            f"--ray: an actor needs {needs}, and no node has that; nodes have: {found}",
            hint="compile the model with --set threads=N, ask for fewer --num-gpus, or add a node",
        )
    return count


def _count_on(node: ActorNeeds, needs: ActorNeeds) -> int:
    by_cpu = node.cpu_count // needs.cpu_count
    return int(min(by_cpu, node.gpu_count // needs.gpu_count) if needs.gpu_count else by_cpu)


def _compute(
    work: ShardWork, pickled: Sequence[bytes], needs: ActorNeeds, actor_count: int
) -> Generator[ShardReport]:
    """Yield the shards' reports as they come."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"shard": shard} for shard in pickled]
    # from_items has no read tasks, which could not run beside actors on all CPUs (ray-project/ray#44687).
    data = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        ShardRunner,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=actor_count,
            initial_size=actor_count,
            max_tasks_in_flight_per_actor=1,  # else shards would wait behind a slow node
        ),
        fn_constructor_args=(work,),
        num_cpus=needs.cpu_count,
        num_gpus=needs.gpu_count or None,
    )
    for batch in data.iter_batches(batch_size=None, prefetch_batches=0):
        for report in batch["report"]:
            yield msgspec.json.decode(report, type=ShardReport)


def _follow(
    reports: Iterator[ShardReport], predictor: Predictor, missing: Sequence[Shard], run: RunFolder
) -> None:
    """Tell how far the cluster has come, and what failed.

    Raises:
        MissingRuntimeError: A node refused.
        EngineError: Shards failed.
        SourceError: Likewise, where the first failed for its images' source.
    """
    names = {shard.number: shard.file_name for shard in missing}
    total = sum(len(shard.images) for shard in missing)
    failed: dict[str, ShardError] = {}
    done = hits = failed_in_a_row = 0
    run.advance(Progress(task=predictor.task, unit="images", done=0, total=total))
    for report in reports:
        name = names.pop(report.number)
        if report.refusal:
            raise MissingRuntimeError(f"--ray: node {report.node}: {report.refusal}")
        if report.error:
            kind = SourceError if report.source_failed else EngineError
            failed[name] = kind(f"{report.error} (node {report.node})")
            failed_in_a_row += 1
            run.announce(f"{name} failed: {failed[name].message}")
            if failed_in_a_row == MAX_FAILED_SHARDS:
                break
            continue
        failed_in_a_row = 0
        if report.session is not None:
            run.record_session(predictor.name, report.session)
        done, hits = done + report.image_count, hits + report.hits
        shards_done = f"{len(missing) - len(names):,} of {len(missing):,} shards"
        detail = f"{shards_done}, {describe_running_top1(hits, done)}"
        run.advance(Progress(task=predictor.task, unit="images", done=done, total=total, detail=detail))
    run.record_failed_shards(failed)
    if failed:
        raise summarise_failures(failed, len(names))
