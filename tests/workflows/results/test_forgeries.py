"""Forged bundles: what `verify` says of each; all hashes of the forger are right."""

from __future__ import annotations

import hashlib
import json
import statistics
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from assay.command_line.app import main
from assay.errors import BadInputError
from assay.images.drawn_images import draw_labelled_images
from assay.inference.predictions import Prediction
from assay.inference.shards import read_shard, write_shard
from assay.measure.gates import parse_gate
from assay.measure.judge_together import judge_gates
from assay.measure.speed.throughput import Spread, ThroughputRow, measure_latency
from assay.measure.speed.validity import judge_validity
from assay.runs.results_file import write_result
from assay.runs.stored import StoredRun
from assay.workflows.results.gates import collect_evidence
from assay.workflows.results.report import write_report
from assay.workflows.results.verify import LIMIT_OF_PROOF, differs, verify_bundle
from colour_classifier import make_colour_classifier
from conftest import RunAssay

Contents = dict[str, bytes]
FIRST, SECOND = (f"predictions/part-0000{number}.parquet" for number in range(2))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, Contents]:
    """The files of two bundles: of runs of one model over 11 of 12 images."""
    place = tmp_path_factory.mktemp("forgeries")
    onnx = make_colour_classifier(place / "colour.onnx")
    speed = [
        "--batch-size",
        "1,2",
        "--repeats",
        "5",
        "--seconds",
        "0.02",
        "--shard-size",
        "4",
        "--limit",
        "11",
    ]
    for seed, name in enumerate(("run", "other")):
        images, labels = place / f"images_{name}", place / f"labels_{name}.txt"
        draw_labelled_images(images, labels, image_count=12, seed=seed)
        (sorted(images.iterdir())[0]).write_bytes(b"damaged")
        given = ["--weights", str(onnx), "--images", str(images), "--labels", str(labels)]
        given += ["--gate", "throughput>=1000000000@bs1", "--gate", "published", "-o", str(place / name)]
        assert main(["run", *given, *speed, "--engine", "constant", "-q"]) in {1, 3, 6}
        assert main(["bundle", str(place / name), str(place / f"{name}.zip"), "-q"]) == 0
    one, other = (read_zip(place / f"{name}.zip") for name in ("run", "other"))
    return one, other


def read_zip(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path: Path, contents: Contents) -> Path:
    """Write a bundle whose `bundle.json` has the hashes of what it holds."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    index = {**json.loads(contents["bundle.json"]), "files": {**hashes}}
    del index["files"]["bundle.json"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**contents, "bundle.json": json.dumps(index).encode()}.items():
            archive.writestr(name, content)
    return path


def list_differing(bundle: Path) -> str:
    return "; ".join(f"{check.what}: {check.found}" for check in verify_bundle(bundle) if differs(check))


def change(name: str, *keys: str | int, to: Any) -> Callable[[Contents], Contents]:
    """Set one value of a JSON file; `to` may be a function of what stood there."""

    def forge(contents: Contents) -> Contents:
        document = json.loads(contents[name])
        holder = document
        for key in keys[:-1]:
            holder = holder[key]
        holder[keys[-1]] = to(holder[keys[-1]]) if callable(to) else to
        return {**contents, name: json.dumps(document).encode()}

    return forge


def predict(
    to: Callable[[list[Prediction]], list[Prediction]], shard: str = FIRST
) -> Callable[[Contents], Contents]:
    """Change a shard as one would who knows how it binds its content."""

    def forge(contents: Contents, folder: Path = Path()) -> Contents:
        path = folder / Path(shard).name
        path.write_bytes(contents[shard])
        fingerprint = pq.read_schema(path).metadata[b"assay.fingerprint"].decode()
        write_shard(path, to(read_shard(path)), fingerprint)
        return {**contents, shard: path.read_bytes()}

    return forge


def make_right(rows: list[Prediction]) -> list[Prediction]:
    wrong = next(row for row in rows if row.top_classes and row.label != row.top_classes[0])
    right = replace(wrong, top_classes=(wrong.label or 0, *wrong.top_classes[1:]))
    return [right if row is wrong else row for row in rows]


def make_all_right(rows: list[Prediction]) -> list[Prediction]:
    return [replace(row, label=row.top_classes[0] if row.top_classes else row.label) for row in rows]


def make_faster(rates: dict[str, Any]) -> dict[str, Any]:
    return {"median": 1000 * rates["median"], "values": [1000 * value for value in rates["values"]]}


def mark_valid(row: dict[str, Any]) -> dict[str, Any]:
    """VALID, with times that would make it so."""
    row["images_per_second"] = make_faster(row["images_per_second"])
    rates = row["images_per_second"]
    rates["values"] = [rates["median"]] * len(rates["values"])
    row["validity"].update(is_valid=True, reasons=[], warm_up_s=1.0, measured_s=9.0, variation_percent=0.0)
    row["validity"]["machine"].update(others_percent=0.0)
    return row


def drop_failed(rows: list[Prediction]) -> list[Prediction]:
    return [row for row in rows if row.status == "ok"]


MANIFEST, METRICS, BENCHMARK = "manifest.json", "metrics.json", "benchmark.json"
FORGERIES: dict[str, tuple[Callable[[Contents], Contents], str]] = {
    "a gate turned to pass": (
        change(MANIFEST, "gates", 0, "outcome", to="pass"),
        "gates: throughput>=1000000000@bs1",
    ),
    "images/s times a thousand": (
        change(BENCHMARK, "rows", 0, "images_per_second", to=make_faster),
        "rows of timings: batch 1, call clock: images per second",
    ),
    "a VALID mark": (change(BENCHMARK, "rows", 0, to=mark_valid), "rows of timings: batch 1, call clock"),
    "a long measurement": (
        change(BENCHMARK, "rows", 0, "validity", "measured_s", to=30.0),
        "rows of timings: batch 1, call clock: VALID or not",
    ),
    "latency halved": (
        change(BENCHMARK, "rows", 1, "latency_ms", "p99", to=1e-9),
        "batch 2, call clock: latency",
    ),
    "no --limit in the manifest": (
        change(MANIFEST, "image_set", "limited_from", to=None),
        "images and labels: cut by --limit from another number",
    ),
    "no --limit in the metrics": (change(METRICS, "limited_from", to=None), "what was scored: limited_from"),
    "an image list of fewer": (
        change(MANIFEST, "image_set", "image_count", to=8),
        "8 images and labels: other labels than the run had",
    ),
    "one shard twice": (
        lambda files: {**files, SECOND: files[FIRST]},
        "shards of the predictions: missing or of",
    ),
    "a shard left out": (
        lambda files: {name: files[name] for name in files if name != SECOND},
        "shards of the predictions: missing or of another run: part-00001",
    ),
    "labels set to the answers": (predict(make_all_right), "other labels than the run had"),
    "one prediction made right": (predict(make_right), "accuracy, with its intervals: top1.hits"),
    "failed images removed": (predict(drop_failed), "10 images, expected 11"),
    "no failed image in the metrics": (
        change(METRICS, "accuracy", "failed_count", to=0),
        "accuracy, with its intervals: failed_count: it says 0, the predictions give 1",
    ),
    "a bit flipped": (
        lambda files: {
            **files,
            FIRST: files[FIRST][:300] + bytes([files[FIRST][300] ^ 1]) + files[FIRST][301:],
        },
        "shards of the predictions: missing or of another run: part-00000",
    ),
    "hits raised": (
        change(METRICS, "accuracy", "top1", "hits", to=9),
        "top1.hits: it says 9, the predictions give",
    ),
    "classes of other names": (
        change(METRICS, "per_class", 0, "name", to="swapped"),
        "hits of every class: [0].name",
    ),
    "other names of the classes": (
        change(MANIFEST, "image_set", "class_names", to=[f"class {number}" for number in range(1000)]),
        "hits of every class: [0].name",
    ),
    "another calibration error": (change(METRICS, "calibration_error", to=None), "report.md: not what these"),
    "report.md of other figures": (
        lambda files: {**files, "report.md": files["report.md"].replace(b"of 11", b"of 12", 1)},
        "report.md: not what these results give",
    ),
    "another compiled model": (
        change(MANIFEST, "identity", "compiled_model", to="0" * 64),
        "shards of the predictions: missing or of another run",
    ),
    "another preprocessing": (
        change(MANIFEST, "model", "preprocessing", "resize_side", to=300),
        "preprocessing: not that of the predictions",
    ),
    "a lower published figure": (
        change(MANIFEST, "model", "published_accuracy", 0, "top1_percent", to=0.1),
        "what is published of se_resnext50_32x4d: published_accuracy[0].top1_percent: it says 0.1, "
        "the record of assay gives 79.076",
    ),
    "images that served for calibration": (
        change(MANIFEST, "image_set", "calibrated_count", to=5),
        "images that served for calibration: 5 are counted, but no calibration is told",
    ),
    "a page with a script": (
        lambda files: {**files, "report.html": b"<script>alert(1)</script>"},
        "files that a run has: others are there: 'report.html'",
    ),
    "the table of a comparison": (
        lambda files: {**files, "compare/compare.md": b"no loss"},
        "files that a run has: others are there: 'compare/compare.md'",
    ),
    "a diagnosis": (
        lambda files: {**files, "diagnosis.json": b"{}"},
        "files that a run has: others are there: 'diagnosis.json'",
    ),
    "a history": (
        lambda files: {**files, "history.sqlite": b"SQLite format 3\0"},
        "files that a run has: others are there: 'history.sqlite'",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_bundle_is_found(
    runs: tuple[Contents, Contents], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forge, found = FORGERIES[name]
    assert found in list_differing(write_zip(tmp_path / "x.zip", forge(runs[0])))


def test_the_bundle_of_a_true_run_has_no_difference(runs: tuple[Contents, Contents], tmp_path: Path) -> None:
    assert list_differing(write_zip(tmp_path / "x.zip", runs[0])) == ""


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (MANIFEST, "shards of the predictions: missing or of another run"),
        (METRICS, "hits of every class"),
        (BENCHMARK, "report.md: not what these results give"),
        (FIRST, "shards of the predictions: missing or of another run"),
        ("report.md", "report.md: not what these results give"),
    ],
)
def test_a_file_of_another_run_is_found(
    runs: tuple[Contents, Contents], name: str, found: str, tmp_path: Path
) -> None:
    one, other = runs
    assert one[name] != other[name]
    assert found in list_differing(write_zip(tmp_path / "x.zip", {**one, name: other[name]}))


def add_member(name: str) -> Callable[[Path], None]:
    def forge(bundle: Path) -> None:
        with zipfile.ZipFile(bundle, "a") as archive:
            archive.writestr(name, "x")

    return forge


def rename_locally(bundle: Path) -> None:
    """Let a member have another name where it stands than in the archive's own list."""
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"metrics.json", b"matrics.json", 1))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("forge", "found"),
    [
        (add_member("../outside"), "which is no path of a bundle"),
        (add_member("/outside"), "which is no path of a bundle"),
        (add_member("C:/outside"), "which is no path of a bundle"),
        (add_member("a\\..\\outside"), "which is no path of a bundle"),
        (add_member("a\x1b[31m"), "which is no path of a bundle"),
        (add_member("metrics.json"), "'metrics.json' twice"),
        (add_member("Metrics.JSON"), "'Metrics.JSON' twice"),
        (add_member("metrics.json/x"), "cannot be read as a bundle"),
        (rename_locally, "cannot be read as a bundle"),
    ],
)
def test_members_that_lead_elsewhere_are_refused(
    runs: tuple[Contents, Contents], forge: Callable[[Path], None], found: str, tmp_path: Path
) -> None:
    bundle = write_zip(tmp_path / "x.zip", runs[0])
    forge(bundle)
    with pytest.raises(BadInputError, match=found.replace("'", ".")):
        verify_bundle(bundle)
    assert [path.name for path in tmp_path.rglob("*")] == ["x.zip"]


def halve_times(row: ThroughputRow) -> ThroughputRow:
    """A row twice as fast, with all that is computed from the times of its calls."""
    call_ms = tuple(tuple(each / 2 for each in repeat) for repeat in row.call_ms)
    rates = tuple(2 * rate for rate in row.images_per_second.values)
    judged = row.validity
    assert judged is not None
    return msgspec.structs.replace(
        row,
        call_ms=call_ms,
        images_per_second=Spread(median=statistics.median(rates), values=rates),
        latency_ms=measure_latency([each for repeat in call_ms for each in repeat]),
        validity=judge_validity(rates, judged.warm_up_s, judged.measured_s / 2, judged.machine),
    )


def test_what_cannot_be_proven_is_said_first(
    run_assay: RunAssay, runs: tuple[Contents, Contents], tmp_path: Path
) -> None:
    """Times that were invented with all that is computed from them are no contradiction."""
    contents = runs[0]
    for name, content in contents.items():
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "run" / name).write_bytes(content)
    run = StoredRun.open(tmp_path / "run")
    assert run.benchmark is not None
    forged = msgspec.structs.replace(run.benchmark, rows=[halve_times(row) for row in run.benchmark.rows])
    gates = [parse_gate(said.gate) for said in run.manifest.gates]
    judged = judge_gates(gates, collect_evidence(run.manifest, run.metrics, forged))
    write_result(run.path, forged)
    write_result(run.path, msgspec.structs.replace(run.manifest, gates=list(judged)))
    write_report(run.path)
    changed = {name: (run.path / name).read_bytes() for name in (MANIFEST, BENCHMARK, "report.md")}
    bundle = write_zip(tmp_path / "x.zip", {**contents, **changed})
    assert list_differing(bundle) == ""
    done = run_assay("verify", bundle)
    assert " ".join(done.stdout.split()).startswith(LIMIT_OF_PROOF)


@pytest.mark.parametrize(
    "forge",
    [
        change(MANIFEST, "image_set", "image_count", to=0),
        change(MANIFEST, "image_set", "image_count", to=10**15),
        change(MANIFEST, "identity", "shard_size", to=0),
        change(MANIFEST, "pipelines", "constant fp32", "seconds", to=0),
        change(BENCHMARK, "rows", 0, "images_per_second", "values", to=[]),
    ],
)
def test_counts_and_times_that_no_run_has_are_refused(
    runs: tuple[Contents, Contents], forge: Callable[[Contents], Contents], tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match=r"cannot be read|contradict one another|tells of more than"):
        verify_bundle(write_zip(tmp_path / "x.zip", forge(runs[0])))


def pack_predictions(bundle: Path) -> None:
    with zipfile.ZipFile(bundle, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("predictions/part-00009.parquet", bytes(10**6))


def damage_a_member(bundle: Path) -> None:
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b'"schema_version"', b'"schema_vorsion"', 1))


@pytest.mark.parametrize(
    ("forge", "limits", "found"),
    [
        (lambda _bundle: None, {"MAX_BYTES": 10_000}, "unpacks to more than 10,000 bytes"),
        (lambda _bundle: None, {"MAX_TEXT_BYTES": 1000}, "is over 1,000 bytes"),
        (pack_predictions, {}, "part-00009.parquet. is compressed"),
        (damage_a_member, {}, "cannot be read as a bundle"),
    ],
)
def test_a_bundle_that_unpacks_to_too_much_or_is_damaged_is_refused(
    runs: tuple[Contents, Contents],
    forge: Callable[[Path], None],
    limits: dict[str, int],
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(f"assay.workflows.results.verify.{name}", value)
    bundle = write_zip(tmp_path / "x.zip", runs[0])
    forge(bundle)
    with pytest.raises(BadInputError, match=found):
        verify_bundle(bundle)
