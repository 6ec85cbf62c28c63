"""A bundle proven: every figure in it is computed again from its predictions and timings."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from assay import __version__
from assay.errors import BadInputError, BadModelError, UsageError, blame_file, quote
from assay.files import decode_json, escape_name, hash_file, is_inner_path, make_temporary_folder
from assay.images.labels import find_val_number
from assay.images.listing import DEFAULT_READ_OPTIONS
from assay.inference.identity import hash_labels, hash_value
from assay.measure.accuracy.answers import BatchChoice
from assay.measure.gates import judge_gate, parse_gate
from assay.measure.judge_together import judge_gates
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.report.contents import gather_contents
from assay.report.document import select_cascade_results
from assay.report.markdown import render_markdown
from assay.report.named_run import Gallery, NamedRun
from assay.report.tables.verification import Check
from assay.runs.place import REPORT_FILE
from assay.runs.results_file import Benchmark, Manifest
from assay.runs.stored import StoredRun
from assay.workflows.results.bundle import BUNDLE_FILE, BundleIndex, list_bundled
from assay.workflows.results.gallery import collect_gallery
from assay.workflows.results.gates import collect_evidence
from assay.workflows.results.metrics import compute_metrics
from assay.workflows.results.verify_speed import list_inconsistent_rows

MAX_BYTES = 8 * 2**30  # unpacked: two million images with all their logits
MAX_TEXT_BYTES = 2**28  # of each file that is no Parquet
OK = "same"
LIMIT_OF_PROOF = (
    "A bundle cannot prove that its author did not invent the predictions and the times, nor that the "
    "model, the images and the machine are those that it names"
)
_NOT_AGAIN = "not computed again: "


def verify_bundle(bundle: Path) -> list[Check]:
    """What was computed again, and where it differs from what the bundle says.

    Raises:
        BadInputError: Not a bundle, or a file in it cannot be read.
    """
    with make_temporary_folder("verify") as path:
        checks = [_check_hashes(_unpack(bundle, path), path)]
        try:
            run = StoredRun.open_unchecked(path)
        except UsageError as error:
            raise BadInputError(
                f"{bundle} lacks manifest.json, metrics.json or predictions", hint="make the bundle again"
            ) from error
        # counts and times that no run has make computing with them fail
        with blame_file(BadInputError, f"{bundle} holds results that contradict one another"):
            missing = run.list_missing()
            checks += [_check_members(run), *_check_record(run), *check_results(run, missing)]
            checks += [*_check_gates(run), _check_report(run, missing)]
    return checks


def differs(check: Check) -> bool:
    """Whether what was computed again is something else; what could not be computed again is not."""
    return check.found != OK and not check.found.startswith(_NOT_AGAIN)


def check_results(run: StoredRun, missing: Sequence[str]) -> Iterator[Check]:
    """Compute the results of a run again, from its predictions and its timings.

    Args:
        run: The run.
        missing: Its shards that cannot be used.
    """
    yield _check_shards(run, missing)
    if not missing:
        yield _check_images(run)
        yield from _check_calibration(run)
        yield from _check_metrics(run)
    if run.benchmark is not None:
        yield check_timings(run.benchmark)
        if run.benchmark.loadgen or run.benchmark.imported:
            found = f"{_NOT_AGAIN}their files are not in the bundle"
            yield Check(what="speeds that other tools measured", found=found)


def check_timings(benchmark: Benchmark) -> Check:
    """Derive speeds again from the times of their calls."""
    found = "; ".join(list_inconsistent_rows(benchmark)[:3]) or OK
    return Check(what=f"{len(benchmark.rows):,} rows of timings", found=found)


def _unpack(bundle: Path, run: Path) -> BundleIndex:
    with (
        blame_file(
            BadInputError, f"{bundle} cannot be read as a bundle", hint="expected a file of `assay bundle`"
        ),
        zipfile.ZipFile(bundle) as archive,
    ):
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise BadInputError(f"{bundle} unpacks to more than {MAX_BYTES:,} bytes")
        names = set()
        for entry in entries:
            if entry.filename.casefold() in names:
                raise BadInputError(f"{bundle} holds {quote(entry.filename)} twice")
            names.add(entry.filename.casefold())
            if not is_inner_path(entry.filename) or entry.filename.count("/") > 2:
                raise BadInputError(f"{bundle} holds {quote(entry.filename)}, which is no path of a bundle")
            target = run / entry.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            _refuse_size(bundle, entry)
            with archive.open(entry) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)
        return decode_json((run / BUNDLE_FILE).read_bytes(), kind=BundleIndex)


def _refuse_size(bundle: Path, entry: zipfile.ZipInfo) -> None:
    """Refuse a member that unpacks to far more than it takes in the bundle."""
    problem = ""
    if entry.filename.endswith(".parquet") and entry.compress_type != zipfile.ZIP_STORED:
        problem = "is compressed, as none of assay's is"
    elif not entry.filename.endswith(".parquet") and entry.file_size > MAX_TEXT_BYTES:
        problem = f"is over {MAX_TEXT_BYTES:,} bytes"
    if problem:
        raise BadInputError(f"{bundle}: {quote(entry.filename)} {problem}")


def _check_hashes(index: BundleIndex, run: Path) -> Check:
    present = {
        path.relative_to(run).as_posix(): hash_file(path)
        for path in run.rglob("*")
        if path.is_file() and path.name != BUNDLE_FILE
    }
    names = sorted(set(present) | set(index.files))
    differing = [name for name in names if present.get(name) != index.files.get(name)]
    return Check(what=f"sha256 of {len(index.files):,} files", found=", ".join(differing[:3]) or OK)


def _check_members(run: StoredRun) -> Check:
    """Find files that no run has: nothing here is computed again from them."""
    expected = {BUNDLE_FILE, *(path.relative_to(run.path).as_posix() for path in list_bundled(run))}
    present = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    strange = ", ".join(quote(name) for name in sorted(present - expected)[:3])
    return Check(what="files that a run has", found=f"others are there: {strange}" if strange else OK)


def _check_record(run: StoredRun) -> Iterator[Check]:
    """Compare what the manifest says of the model with the identity, and with the record that assay has."""
    manifest, model = run.manifest, run.model
    if manifest.assay_version != __version__ or _has_own_limits(manifest):
        reason = "another version of assay made it, or images had other limits"
        yield Check(what="preprocessing", found=f"{_NOT_AGAIN}{reason}")
    else:
        computed = hash_value([model.input, model.preprocessing, manifest.pixel_check, DEFAULT_READ_OPTIONS])
        is_same = computed == run.identity.preprocessing
        yield Check(what="preprocessing", found=OK if is_same else "not that of the predictions")
    known = _find_record(model.name)
    if known is not None:
        published = ("published_accuracy", "published_throughput", "speed_target")
        one, other = ({name: getattr(record, name) for name in published} for record in (model, known))
        found = _find_difference(one, other).replace("the predictions give", "the record of assay gives")
        yield Check(what=f"what is published of {model.name}", found=found)


def _has_own_limits(manifest: Manifest) -> bool:
    """Whether limits on images were set, which decide the predictions too and are not in the manifest."""
    given = " ".join([*manifest.arguments, *manifest.supplied]).replace("_", "-")
    return any(limit in given for limit in ("max-pixels", "max-image-mib", "follow-links"))


def _find_record(name: str) -> ModelRecord | None:
    """The record that assay has under a name; None where it has none, as of a user's own."""
    try:
        return None if name.endswith(".toml") else read_model_record(name)  # never a path from outside
    except BadModelError:
        return None


def _check_shards(run: StoredRun, missing: Sequence[str]) -> Check:
    found = f"missing or of another run: {', '.join(missing[:3])}" if missing else OK
    return Check(what=f"{len(run.shards):,} shards of the predictions", found=found)


def _check_images(run: StoredRun) -> Check:
    """Find where the predictions are not of the images and labels that the run's identity is of."""
    rows = [(row.relative_path, row.label) for row in run.predictions]
    images, identity, is_whole = run.image_set, run.identity, run.manifest.early_stop is None
    faults = {
        "an image is there twice": len({path for path, _ in rows}) != len(rows),
        f"{len(rows):,} images, expected {run.image_count:,}": len(rows) != run.image_count,
        "other labels than the run had": is_whole
        and hash_labels(label for _, label in rows) != identity.labels,
        "other images than the run had": images.sha256 != identity.images,
        "cut by --limit from another number of images": images.limited_from != identity.limited_from,
        "another number of ImageNet validation images": is_whole
        and sum(find_val_number(PurePosixPath(path).name) is not None for path, _ in rows)
        != images.val_image_count,
        "another number of unlabelled images": is_whole
        and sum(label is None for _, label in rows) != images.unlabelled_count,
    }
    found = ", ".join(fault for fault, is_so in faults.items() if is_so)
    return Check(what=f"{len(rows):,} images and labels", found=found or OK)


def _check_calibration(run: StoredRun) -> Iterator[Check]:
    """Say how many of the images have names of images that served for calibration."""
    calibration, counted = run.manifest.calibration, run.image_set.calibrated_count
    what = "images that served for calibration"
    if calibration is not None:
        names = {image.relative_path for image in calibration.images}
        same = sum(escape_name(row.relative_path) in names for row in run.predictions)
        found = f"{_NOT_AGAIN}the run counted {counted:,} by content, {same:,} have the same names"
        yield Check(what=what, found=found)
    elif counted and not run.manifest.cascade:
        yield Check(what=what, found=f"{counted:,} are counted, but no calibration is told")


def _check_metrics(run: StoredRun) -> Iterator[Check]:
    said = run.metrics
    batches = [
        BatchChoice(batch_size=one.batch_size, is_best=one.is_best, is_proven=one.is_proven)
        for one in said.batches
    ]
    again = compute_metrics(
        run, reference=said.agreement.reference if said.agreement else "", batches=batches
    )
    yield Check(what="accuracy, with its intervals", found=_find_difference(said.accuracy, again.accuracy))
    beside = ("subset", "limited_from", "stopped_from")
    one, other = ({name: getattr(metrics, name) for name in beside} for metrics in (said, again))
    yield Check(what="what was scored", found=_find_difference(one, other))
    yield Check(what="hits of every class", found=_find_difference(said.per_class, again.per_class))
    if said.calibration_error is not None:
        found = _find_difference(said.calibration_error, again.calibration_error)
        yield Check(what="calibration error", found=found)
    if said.batches:
        found = _find_difference(said.batches, again.batches)
        yield Check(what="answers at each batch size", found=found)
    if run.manifest.cascade:
        one, other = (select_cascade_results(metrics) for metrics in (said, again))
        yield Check(what="answers of a cascade's models", found=_find_difference(one, other))
    if said.real is not None:
        yield Check(what="accuracy by ReaL labels", found=f"{_NOT_AGAIN}the labels are not in the bundle")
    if said.agreement is not None and again.agreement is None:
        yield Check(what="agreement", found="the reference's predictions are missing")
    elif said.agreement is not None:
        found = _find_difference(said.agreement, again.agreement)
        yield Check(what="agreement and paired test", found=found)


def _check_gates(run: StoredRun) -> Iterator[Check]:
    """Judge the gates by what the bundle holds; those of a run that was cut stand as it ended."""
    manifest = run.manifest
    evidence = collect_evidence(manifest, run.metrics, run.benchmark)
    certain = list(manifest.early_stop.gates) if manifest.early_stop else []
    gates = [parse_gate(said.gate) for said in manifest.gates]
    # version 0.1.0 judged each alone
    right = [*judge_gates(gates, evidence), *(judge_gate(gate, evidence) for gate in gates), *certain]
    differing = [said.gate for said in manifest.gates if said not in right]
    if manifest.gates:
        yield Check(what=f"{len(manifest.gates):,} gates", found=", ".join(differing[:3]) or OK)


def _check_report(run: StoredRun, missing: Sequence[str]) -> Check:
    path = run.path / REPORT_FILE
    if not path.is_file():
        return Check(what="report.md", found="missing")
    named = NamedRun(
        name="",
        manifest=run.manifest,
        metrics=run.metrics,
        benchmark=run.benchmark,
        gallery=Gallery() if missing else collect_gallery(run, with_thumbnails=False),
    )
    expected = render_markdown(gather_contents([named])).encode("utf-8", "backslashreplace")
    same = path.read_bytes() == expected
    return Check(what="report.md", found=OK if same else "not what these results give")


def _find_difference(said: object, computed: object) -> str:
    """Return the first place where two results differ, with both values; `same` where they do not."""
    return next(_walk(msgspec.to_builtins(said), msgspec.to_builtins(computed), ""), OK)


def _walk(said: object, computed: object, place: str) -> Iterator[str]:
    if isinstance(said, dict) and isinstance(computed, dict):
        for key in [*said, *(key for key in computed if key not in said)]:
            yield from _walk(said.get(key), computed.get(key), f"{place}.{key}".lstrip("."))
    elif isinstance(said, list | tuple) and isinstance(computed, list | tuple) and len(said) == len(computed):
        for number, (one, other) in enumerate(zip(said, computed, strict=True)):
            yield from _walk(one, other, f"{place}[{number}]")
    elif said != computed:
        yield f"{place}: it says {said}, the predictions give {computed}"
