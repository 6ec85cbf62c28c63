"""`assay evaluate` and `assay merge`: a compiled model's predictions of images, and their accuracy."""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from assay.command_line.device_flags import DeviceFlags
from assay.command_line.flags import (
    EngineFlags,
    FolderFlags,
    ImageFlags,
    PredictionFlags,
    ShowFlags,
    make_help,
)
from assay.command_line.outcome import EXIT_SOME_IMAGES_FAILED, Outcome, describe_run
from assay.errors import UsageError, quote

if TYPE_CHECKING:
    from assay.runs.launchers import LaunchedShare
    from assay.workflows.cluster.actor_needs import ActorRequest
    from assay.workflows.cluster.ray_cluster import RayCluster
    from assay.workflows.evaluate.evaluate import EvaluateOptions


@dataclass(frozen=True, kw_only=True)
class EvaluateFlags(PredictionFlags, FolderFlags, DeviceFlags, EngineFlags, ImageFlags):
    """Flags of `assay evaluate`."""

    batch_size: Annotated[
        int | None, make_help("Images in one call; as the model was compiled, else 8, if not given.")
    ] = None
    real_labels: Annotated[Path | None, make_help("Score by ReaL labels too: real.json.")] = None
    shard: Annotated[
        str | None,
        make_help(
            "Compute only share I of N of the run, given as I/N, beside other processes; auto asks the "
            "launcher: Slurm, torchrun, MPI, SkyPilot, with auto/N a Kubernetes Indexed Job."
        ),
    ] = None
    ray: Annotated[
        tuple[str, ...] | None,
        Parameter(
            help="Compute on a Ray cluster: its ADDRESS, auto, or nothing for this machine.",
            consume_multiple=(0, 1),
        ),
    ] = None
    num_gpus: Annotated[float, make_help("With --ray: GPUs for each actor.")] = 0.0
    cpus_per_actor: Annotated[
        float | None,
        make_help(
            "With --ray: processors for each actor; those that fit its threads or devices if not given."
        ),
    ] = None
    resource: Annotated[
        tuple[str, ...],
        make_help("With --ray: what else each actor takes of its node, as NAME=NUMBER, such as NPU=1."),
    ] = ()

    def to_evaluate_options(self) -> EvaluateOptions:
        """See `PredictionFlags.to_evaluate_options`.

        Raises:
            BadInputError: The file of ReaL labels cannot be read.
        """
        from assay.images.real_labels import read_real_labels

        return dataclasses.replace(
            super().to_evaluate_options(),
            batch_size=self.batch_size,
            real_labels=read_real_labels(self.real_labels) if self.real_labels else None,
        )

    def check_devices(self) -> None:
        """Refuse --devices beside what computes shards in another way.

        Raises:
            UsageError: --devices with --ray or --stop-when-certain.
        """
        if self.devices is not None and (self.ray is not None or self.stop_when_certain):
            other = "--ray" if self.ray is not None else "--stop-when-certain"
            raise UsageError(f"--devices and {other} exclude each other", hint="leave one of them out")

    def to_cluster(self) -> RayCluster | None:
        """The Ray cluster that computes the shards, or None where this process does.

        Raises:
            UsageError: --ray with --shard or --stop-when-certain, or what an actor takes without --ray.
        """
        request = self._to_actor_request()
        if self.ray is None:
            return None
        if self.shard is not None:
            raise UsageError("--ray and --shard exclude each other", hint="leave the sharing to Ray")
        if self.stop_when_certain:
            raise UsageError("--ray and --stop-when-certain exclude each other")
        from assay.workflows.cluster.ray_cluster import RayCluster

        return RayCluster(address=self.ray[0] if self.ray else "", request=request)

    def _to_actor_request(self) -> ActorRequest:
        """What each actor takes of its node.

        Raises:
            UsageError: Something that is no amount, or any of it without --ray.
        """
        from assay.workflows.cluster.actor_needs import ActorRequest

        if self.num_gpus < 0 or (self.num_gpus and self.ray is None):
            raise UsageError("--num-gpus goes with --ray, and is 0 or more")
        if self.ray is None and (self.cpus_per_actor is not None or self.resource):
            raise UsageError("--cpus-per-actor and --resource go with --ray")
        if self.cpus_per_actor is not None and not 0 < self.cpus_per_actor < math.inf:
            raise UsageError(f"--cpus-per-actor is {self.cpus_per_actor:g}; expected more than 0")
        return ActorRequest(
            cpu_count=self.cpus_per_actor,
            gpu_count=self.num_gpus,
            resources=dict(map(_read_resource, self.resource)),
        )

    def to_share(self) -> LaunchedShare | None:
        """The share of the run to compute and who says so, or None for all of it.

        Raises:
            UsageError: Not I/N with I from 1 to N; or without a folder; or with --overwrite; or the launcher
                gives none.
        """
        if self.shard is None:
            return None
        if self.output is None or self.overwrite:
            raise UsageError("--shard needs the run folder, -o DIR, and excludes --overwrite")
        if self.stop_when_certain:
            raise UsageError("--shard and --stop-when-certain exclude each other")
        return _read_share(self.shard)


def _read_resource(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        count = float(number)
    except ValueError:
        count = 0.0
    if not name or name in ("CPU", "GPU") or not 0 < count < math.inf:
        raise UsageError(
            f"--resource {quote(text)}: expected NAME=NUMBER with a number above 0, such as NPU=1",
            hint="processors are --cpus-per-actor, GPUs --num-gpus",
        )
    return name, count


def _read_share(text: str) -> LaunchedShare:
    from assay.runs.launchers import LaunchedShare, find_launched_share
    from assay.runs.locks import Share

    number, slash, count = text.partition("/")
    if number == "auto" and (_is_count(count) or not slash):
        return find_launched_share(os.environ, int(count) if slash else None)
    if not (_is_count(number) and _is_count(count) and int(number) <= int(count)):
        raise UsageError(
            f"--shard {quote(text)}: expected I/N with I from 1 to N, such as 2/4, or auto, or auto/N"
        )
    return LaunchedShare(share=Share(number=int(number), count=int(count)), source="--shard")


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0


def evaluate(model: Path, /, flags: EvaluateFlags) -> Outcome:
    """Predict every image with a compiled model, and score it.

    Args:
        model: A compiled model's folder or its URL, or an ONNX file or checkpoint, which is compiled first.
    """
    from assay.command_line.given_model import provide_models
    from assay.command_line.terminal import open_listener
    from assay.images.forms.object_store import find_url
    from assay.runs.remote import stage_run
    from assay.workflows.evaluate.run_evaluation import run_evaluation

    flags.check_devices()
    options = flags.to_evaluate_options()
    images = flags.to_image_request()
    launched = flags.to_share()
    place = dataclasses.replace(flags.to_run_place(), share=launched.share if launched else None)
    place.refuse_inputs(model)
    with open_listener(quiet=flags.quiet) as listener:
        (folder,) = provide_models([model], flags, listener)
    if several := flags.to_several_devices(folder):
        options = dataclasses.replace(options, compute_shards=several.compute_shards)
    if cluster := flags.to_cluster():
        options = dataclasses.replace(options, compute_shards=cluster.compute_shards)
        if not find_url(images.path):  # nodes work in other folders
            images = dataclasses.replace(images, path=images.path.absolute())
    with open_listener(quiet=flags.quiet) as listener, stage_run(place, listener=listener) as place:
        if launched and launched.source != "--shard":
            listener.announce(f"Share {launched.share}, by {launched.source}")
        result = run_evaluation(folder, images, options, place, listener)
    outcome = _name_place(describe_run(result, flags.cannot_tell), result.folder, flags.output)
    if launched and outcome.exit_status == EXIT_SOME_IMAGES_FAILED:
        # a queue would start the share again, which is complete
        line = f"Some images failed; assay merge {result.folder} ends with {EXIT_SOME_IMAGES_FAILED}"
        outcome = dataclasses.replace(outcome, lines=[*outcome.lines, line], exit_status=0)
    return outcome


def merge(folder: Path, /, flags: ShowFlags = ShowFlags()) -> Outcome:  # noqa: ARG001 - main reads --json
    """Write the report of a run whose shares were computed apart.

    Args:
        folder: The run folder, or its URL.
    """
    from assay.runs.place import RunPlace
    from assay.runs.remote import stage_run
    from assay.workflows.cluster.merge import merge_run

    with stage_run(RunPlace(path=folder, mode="resume")) as place:
        result = merge_run(place.path or folder)
    return _name_place(describe_run(result), result.folder, folder)


def _name_place(outcome: Outcome, folder: Path, given: Path | None) -> Outcome:
    """Name the URL that was given as the place of the results, not the folder in the user's cache."""
    from assay.images.forms.object_store import find_url

    url = find_url(given) if given else None
    if url is None:
        return outcome
    lines = [line.replace(str(folder), url) if isinstance(line, str) else line for line in outcome.lines]
    return dataclasses.replace(outcome, lines=lines, document={**outcome.document, "run": url})
