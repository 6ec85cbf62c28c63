"""The commands: each calls one workflow and says what it found.

Nothing heavy is imported before a command runs, so that `assay COMMAND --help` is quick.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from assay.command_line import evaluate as options
from assay.command_line.benchmark import BenchmarkOptions
from assay.command_line.flags import FolderOptions
from assay.command_line.outcome import EXIT_GATE_FAILED, EXIT_SOME_IMAGES_FAILED, Outcome
from assay.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assay.measure.gates import GateResult
    from assay.report.tables.table import Table
    from assay.runs.folder import RunPlace, RunResult


def run(chosen: options.RunOptions) -> Outcome:
    """Do everything: export, compile, evaluate, benchmark, report."""
    from assay.command_line.terminal import open_listener
    from assay.workflows.full_run import run_all
    from assay.workflows.make_models import FullRun

    gates = chosen.choose_gates()
    request = FullRun(
        weights=chosen.weights,
        images=chosen.images,
        labels=chosen.choose_labels(chosen.labels),
        reading=chosen.to_read_options(),
        model=chosen.model,
        engine=chosen.engine,
        precision=chosen.precision,
        device=chosen.device,
        settings=chosen.choose_settings(),
        calibration=chosen.choose_calibration(chosen.calibration, chosen.to_read_options()),
        speed=chosen.choose_speed(),
        opset=chosen.opset,
        shard_size=chosen.shard_size,
        keep_logits=chosen.keep_logits,
        compare_with_torch=chosen.compare_with_torch,
        limit=chosen.limit,
        stop=chosen.choose_stop(),
    )
    with open_listener(quiet=chosen.quiet) as listener:
        result = run_all(request, _choose_place(chosen), listener)
    return _describe_run(result, gates)


def demo(chosen: options.DemoOptions = options.DemoOptions()) -> Outcome:
    """Do the same on labelled images and weights made on the spot: nothing is downloaded."""
    from assay.command_line.terminal import open_listener
    from assay.workflows.demo import run_demo

    with open_listener(quiet=chosen.quiet) as listener:
        result = run_demo(
            chosen.output, overwrite=chosen.overwrite, arguments=tuple(sys.argv[1:]), listener=listener
        )
    return _describe_run(result)


def export(
    weights: Path, onnx_file: Path, /, chosen: options.ExportOptions = options.ExportOptions()
) -> Outcome:
    """Checkpoint to ONNX file, with the largest difference from torch.

    Args:
        weights: Checkpoint: .pth or .safetensors.
        onnx_file: The ONNX file to write.
    """
    from assay.command_line.terminal import open_listener
    from assay.images.sample_images import load_sample_images
    from assay.images.sources import index_images
    from assay.models.record import read_model_record
    from assay.workflows.models.export import PARITY_IMAGE_COUNT, export_checkpoint

    record = read_model_record(chosen.model)
    index = index_images(chosen.images, record.label_count) if chosen.images else None
    samples = load_sample_images(record, index, PARITY_IMAGE_COUNT)
    with open_listener(quiet=chosen.quiet) as listener:
        exported = export_checkpoint(weights, onnx_file, record, chosen.opset, samples, listener)
    parity = exported.parity
    line = (
        f"{onnx_file}: opset {exported.opset}, largest logit difference from torch "
        f"{parity.max_difference:.2g}, same Top-1 on {parity.top1_agreement_count} of "
        f"{parity.image_count} images"
    )
    return Outcome(lines=[line], document={"export": exported})


def compile(
    onnx_file: Path, folder: Path, /, chosen: options.CompileOptions = options.CompileOptions()
) -> Outcome:
    """ONNX file to compiled model.

    Args:
        onnx_file: The ONNX file.
        folder: The folder to write.
    """
    from assay.command_line.terminal import open_listener
    from assay.engines.engine import CompileOptions
    from assay.models.record import read_model_record
    from assay.workflows.models import compile as compiling

    wanted = CompileOptions(
        record=read_model_record(chosen.model),
        precision=chosen.precision,
        device=chosen.device,
        batch_size=chosen.batch_size,
        settings=chosen.choose_settings(),
    )
    with open_listener(quiet=chosen.quiet) as listener:
        compiled = compiling.compile_model(
            onnx_file, folder, chosen.engine, wanted, overwrite=chosen.overwrite, listener=listener
        )
    line = f"{folder}: {compiled.engine} {compiled.engine_version}, {compiled.device}, {compiled.precision}"
    return Outcome(lines=[line], document={"compiled": compiled})


def evaluate(folder: Path, /, chosen: options.EvaluateOptions) -> Outcome:
    """Predict every image with a compiled model, and score the predictions.

    Args:
        folder: The compiled model's folder.
    """
    from assay.command_line.terminal import open_listener
    from assay.images.forms.object_store import find_url
    from assay.images.real_labels import read_real_labels
    from assay.runs.remote import stage_run
    from assay.workflows.evaluate.evaluate import EvaluateOptions
    from assay.workflows.single_steps import run_evaluation

    gates = chosen.choose_gates()
    wanted = EvaluateOptions(
        batch_size=chosen.batch_size,
        shard_size=chosen.shard_size,
        keep_logits=chosen.keep_logits,
        reading=chosen.to_read_options(),
        real_labels=read_real_labels(chosen.real_labels) if chosen.real_labels else None,
        limit=chosen.limit,
        stop=chosen.choose_stop(),
    )
    images = chosen.images
    if cluster := chosen.choose_cluster(folder):
        wanted = dataclasses.replace(wanted, compute_shards=cluster.predict_missing_shards)
        images = images if find_url(images) else images.absolute()  # nodes work in other folders
    place = dataclasses.replace(_choose_place(chosen), share=chosen.choose_share())
    with stage_run(place) as place, open_listener(quiet=chosen.quiet) as listener:
        labels = chosen.choose_labels(chosen.labels)
        result = run_evaluation(folder, images, labels, wanted, place, listener)
    return _describe_run(result, gates)


def benchmark(*folders: Path, chosen: BenchmarkOptions = BenchmarkOptions()) -> Outcome:
    """Measure images per second and latency of compiled models for each batch size.

    Args:
        folders: The compiled models' folders.
    """
    from assay.command_line.terminal import open_listener
    from assay.workflows.single_steps import BenchmarkRequest, run_benchmark

    if not folders and not chosen.imports:
        raise UsageError("assay benchmark: no compiled model given, and no file to --import")
    request = BenchmarkRequest(
        images=chosen.images,
        labels=chosen.choose_labels(chosen.labels),
        speed=chosen.choose_speed(),
        loadgen=chosen.choose_loadgen(),
        imports=chosen.choose_imports(),
    )
    gates = chosen.choose_gates()
    with open_listener(quiet=chosen.quiet) as listener:
        result = run_benchmark(folders, request, _choose_place(chosen), listener)
    return _describe_run(result, gates)


def report(
    *folders: Path,
    chosen: options.ReportOptions = options.ReportOptions(),
) -> Outcome:
    """Write the report of a run anew, or one report of several runs with a column each.

    Args:
        folders: The run folders; the others are compared with the first.
    """
    from assay.workflows.results.report import describe_contents, write_joint_report, write_report

    if not folders:
        raise UsageError("assay report: no run folder given")
    if len(folders) == 1 and chosen.output is None:
        written = write_report(folders[0])
    else:
        written = write_joint_report(folders, chosen.output or Path("report"))
    document = {"report": str(written.path), **describe_contents(written.contents)}
    return Outcome(lines=[f"{written.path}", written.contents.verdict], document=document)


def compare(a: str, b: Path, /, chosen: options.CompareOptions = options.CompareOptions()) -> Outcome:
    """Compare run B with run A image by image, or with what a model record publishes.

    Args:
        a: The reference: a run folder, or the name or TOML file of a model record.
        b: The run folder that is compared with it.
    """
    from assay.report.sentences import describe_gates
    from assay.report.tables.comparison import describe_comparison, make_flip_table, make_speed_table
    from assay.workflows.results.compare import compare_runs, judge_comparison

    if not Path(a).is_dir():
        return _compare_with_published(a, b)
    gates = chosen.choose_gates()
    found = compare_runs(Path(a), b, chosen.margin)
    judged = judge_comparison(found, Path(a), b, gates)
    tables = [make_flip_table(found.comparison), make_speed_table(found.speeds)]
    lines: list[str | Table] = [
        f"B {b} against A {a}",
        *(f"Note: {note}" for note in found.notes),
        *describe_comparison(found.comparison),
        f"Verdict: {found.verdict.sentence}",
        *(table for table in tables if table is not None),
    ]
    return Outcome(
        lines=[*lines, *describe_gates(judged)],
        document={"comparison": found, "gates": judged},
        exit_status=_choose_status(judged),
    )


def _compare_with_published(model: str, run: Path) -> Outcome:
    from assay.report.tables.comparison import make_published_table
    from assay.workflows.results.compare import compare_with_published

    found = compare_with_published(model, run)
    rows = [(each.published, each.is_within) for each in found]
    table = make_published_table(rows, found[0].top1, found[0].top5)
    return Outcome(lines=[table], document={"published": found})


def bundle(
    run: Path, file: Path | None = None, /, chosen: options.BundleOptions = options.BundleOptions()
) -> Outcome:
    """Write a finished run into one zip file, from which every figure can be computed again.

    Args:
        run: The run folder.
        file: The zip file to write; the folder's name with .zip if none is given.
    """
    from assay.workflows.results.bundle import write_bundle

    path = file or run.with_name(f"{run.name}.zip")
    if path.exists() and not chosen.overwrite:
        raise UsageError(f"{path} exists already", hint="replace it with --overwrite")
    index = write_bundle(run, path)
    line = f"{path}: {len(index.files):,} files, {path.stat().st_size:,} bytes"
    return Outcome(lines=[line], document={"bundle": str(path), "files": index.files})


def verify(
    file: Path,
    /,
    chosen: options.VerifyOptions = options.VerifyOptions(),  # noqa: ARG001 - main reads its --json
) -> Outcome:
    """Compute every figure of a bundle again from its predictions; fail if one differs.

    Args:
        file: A file of `assay bundle`.
    """
    from assay.report.tables.verification import make_check_table
    from assay.workflows.results.verify import NOT_HERE, OK, verify_bundle

    checks = verify_bundle(file)
    differing = [check for check in checks if check.found not in (OK, NOT_HERE)]
    verdict = f"{len(differing)} of {len(checks)} checks differ" if differing else "Every figure is the same"
    return Outcome(
        lines=[make_check_table(checks), f"{verdict}: {file}"],
        document={"checks": checks, "same": not differing},
        exit_status=EXIT_GATE_FAILED if differing else 0,
    )


def merge(
    folder: Path,
    /,
    chosen: options.MergeOptions = options.MergeOptions(),  # noqa: ARG001 - main reads its --json
) -> Outcome:
    """Write metrics and report of a run whose shares were computed apart.

    Args:
        folder: The run folder.
    """
    from assay.workflows.cluster.merge import merge_run

    return _describe_run(merge_run(folder))


def quantize(onnx_file: Path, out_file: Path, /, chosen: options.QuantizeOptions) -> Outcome:
    """Float ONNX file to an int8 one, with the record of its calibration beside it.

    Args:
        onnx_file: The float ONNX file.
        out_file: The int8 ONNX file to write.
    """
    from assay.command_line.terminal import open_listener
    from assay.models.record import read_model_record
    from assay.report.sentences import describe_quantised
    from assay.report.tables.quantisation import make_trial_table
    from assay.workflows.models.quantize import quantize_file, quantize_within

    record = read_model_record(chosen.model)
    calibration = chosen.choose_calibration(chosen.calibration, chosen.to_read_options())
    control = chosen.choose_control()
    with open_listener(quiet=chosen.quiet) as listener:
        if control is None:
            made = quantize_file(onnx_file, out_file, record, calibration, listener)
            lines = [describe_quantised(str(out_file), made)]
            return Outcome(lines=lines, document={"quantized": made})
        made, found = quantize_within(onnx_file, out_file, calibration, control, record, listener)
    lines = [describe_quantised(str(out_file), made)]
    return Outcome(
        lines=[*lines, make_trial_table(found.trials, found.trial, control.max_drop)],
        document={"quantized": made, "trials": found.trials, "within": found.is_within},
        exit_status=0 if found.is_within else EXIT_GATE_FAILED,
    )


def _choose_place(chosen: FolderOptions) -> RunPlace:
    from assay.runs.folder import RunPlace

    return RunPlace(path=chosen.output, mode=chosen.choose_mode(), arguments=tuple(sys.argv[1:]))


def _choose_status(judged: Sequence[GateResult]) -> int:
    """Return the exit status that gates ask for: only a pass passes."""
    return 0 if all(gate.outcome == "pass" for gate in judged) else EXIT_GATE_FAILED


def _describe_run(result: RunResult, gates: Sequence[str] = ()) -> Outcome:
    from assay.report.summary import list_findings, summarise_run
    from assay.workflows.results.gates import judge_run

    judged = judge_run(result, gates)
    failed_count = result.metrics.accuracy.failed_count if result.metrics else 0
    return Outcome(
        lines=summarise_run(result.folder, result.manifest, result.metrics, result.benchmark),
        document={
            "run": str(result.folder),
            **list_findings(result.metrics, result.benchmark, judged),
        },
        exit_status=_choose_status(judged) or (EXIT_SOME_IMAGES_FAILED if failed_count else 0),
    )
