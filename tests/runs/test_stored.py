"""A run read back: complete, or one clear error that says what it lacks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from assay.errors import BadInputError, UsageError
from assay.inference.identity import RunIdentity, compute_fingerprint
from assay.inference.predictions import Prediction
from assay.inference.shards import write_shard
from assay.measure.early_gates import EarlyStop
from assay.runs.results_file import Benchmark, Manifest, Metrics, read_run_files, write_result
from assay.runs.stored import PredictedRun, StoredRun, find_stored_run

IDENTITY = RunIdentity(
    compiled_model="a" * 64,
    preprocessing="b" * 64,
    images="c" * 64,
    labels="d" * 64,
    shard_size=3,
    keep_logits=False,
)
FILES = ["part-00000.parquet", "part-00001.parquet"]


def write_shards(
    folder: Path, identity: RunIdentity = IDENTITY, names: tuple[str, ...] = tuple("wxyz")
) -> None:
    """Four images in shards of three and one."""
    rows = [
        Prediction(
            name=name, relative_path=name, label=1, status="ok", top_classes=(1, 2), top_logits=(3.0, 2.0)
        )
        for name in names
    ]
    for file, part in zip(FILES, (rows[:3], rows[3:]), strict=True):
        write_shard(folder / file, part, compute_fingerprint(identity))


@pytest.fixture
def run(tmp_path: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark) -> Path:
    """A complete run over four images, with its speeds."""
    write_result(tmp_path, msgspec.structs.replace(manifest, identity=IDENTITY))
    write_result(tmp_path, metrics)
    write_result(tmp_path, benchmark)
    write_shards(tmp_path / "predictions")
    return tmp_path


def change_manifest(run: Path, **changes: object) -> None:
    write_result(run, msgspec.structs.replace(read_run_files(run).manifest, **changes))


def test_a_complete_run_gives_its_results_and_its_predictions_in_order(
    run: Path, metrics: Metrics, benchmark: Benchmark
) -> None:
    stored = StoredRun.open(run)
    assert (stored.metrics, stored.benchmark) == (metrics, benchmark)
    assert stored.model.name == "se_resnext50_32x4d"
    assert stored.shards == FILES
    assert [row.relative_path for row in stored.predictions] == list("wxyz")
    assert [row.relative_path for row in stored.predictions] == list("wxyz")  # as often as wanted
    assert stored.label_offset == 0
    assert find_stored_run(run) == stored


def test_the_label_offset_is_the_models(run: Path, manifest: Manifest) -> None:
    assert manifest.model is not None
    output = msgspec.structs.replace(manifest.model.output, label_offset=1)
    change_manifest(run, model=msgspec.structs.replace(manifest.model, output=output))
    assert StoredRun.open(run).label_offset == 1


def test_a_run_without_a_benchmark_is_complete(run: Path) -> None:
    (run / "benchmark.json").unlink()
    assert StoredRun.open(run).benchmark is None


def test_a_shard_that_is_missing_is_named(run: Path) -> None:
    (run / "predictions" / FILES[1]).unlink()
    with pytest.raises(UsageError, match=r"1 of 2 shards are missing: part-00001\.parquet") as caught:
        StoredRun.open(run)
    assert "--resume" in caught.value.hint


def test_a_shard_of_another_run_counts_as_missing(run: Path) -> None:
    write_shards(run / "predictions", msgspec.structs.replace(IDENTITY, labels="e" * 64))
    with pytest.raises(UsageError, match="2 of 2 shards are missing"):
        StoredRun.open(run)


@pytest.mark.parametrize("lacking", ["model", "identity", "image_set"])
def test_a_run_that_predicts_nothing_is_refused(run: Path, lacking: str) -> None:
    change_manifest(run, **{lacking: None})
    with pytest.raises(UsageError, match="holds no run with predictions"):
        StoredRun.open(run)
    assert find_stored_run(run) is None
    assert read_run_files(run).benchmark is not None


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run with predictions"):
        StoredRun.open(tmp_path)
    with pytest.raises(BadInputError, match=r"manifest\.json is missing"):
        read_run_files(tmp_path)


def test_predictions_that_are_not_scored_are_refused(run: Path) -> None:
    (run / "metrics.json").unlink()
    with pytest.raises(UsageError, match=r"metrics\.json is missing") as caught:
        StoredRun.open(run)
    assert "assay merge" in caught.value.hint


def test_metrics_over_other_images_than_the_predictions_are_refused(run: Path, metrics: Metrics) -> None:
    """As a run leaves them that was cut, resumed, and interrupted before it scored all images."""
    accuracy = msgspec.structs.replace(metrics.accuracy, image_count=3)
    write_result(run, msgspec.structs.replace(metrics, accuracy=accuracy))
    with pytest.raises(UsageError, match="over 3 images, the predictions over 4"):
        StoredRun.open(run)


def test_a_damaged_file_is_an_error_not_an_unfinished_run(run: Path) -> None:
    (run / "metrics.json").write_text("{")
    with pytest.raises(BadInputError, match=r"metrics\.json cannot be read"):
        find_stored_run(run)


def test_a_run_that_was_cut_is_what_its_sample_holds(run: Path, metrics: Metrics) -> None:
    stop = EarlyStop(
        image_count=4, of_count=900, by="sample", error=0.001, gates=[], folder="sample", shards=FILES
    )
    write_shards(run / "sample", names=tuple("stuv"))
    assert metrics.accuracy.image_count == 4
    change_manifest(run, early_stop=stop)
    stored = StoredRun.open(run)
    assert [row.relative_path for row in stored.predictions] == list("stuv")
    assert stored.reference is None


@pytest.mark.parametrize(
    ("folder", "shard"), [("../elsewhere", FILES[0]), ("sample", "../../x"), ("/etc", "x")]
)
def test_a_manifest_whose_predictions_lie_elsewhere_is_refused(run: Path, folder: str, shard: str) -> None:
    stop = EarlyStop(
        image_count=4, of_count=900, by="sample", error=0.001, gates=[], folder=folder, shards=[shard]
    )
    change_manifest(run, early_stop=stop)
    with pytest.raises(BadInputError, match=r"names .* for its predictions"):
        StoredRun.open(run)


def test_a_reference_counts_only_where_it_predicted_every_image(run: Path) -> None:
    assert StoredRun.open(run).reference is None
    write_shards(run / "reference", names=tuple("stuv"))
    reference = StoredRun.open(run).reference
    assert reference is not None
    assert [row.relative_path for row in reference] == list("stuv")
    (run / "reference" / FILES[1]).unlink()
    assert StoredRun.open(run).reference is None


def test_what_an_unfinished_run_lacks_can_be_listed(run: Path) -> None:
    (run / "predictions" / FILES[0]).unlink()
    (run / "metrics.json").unlink()
    files = read_run_files(run)
    assert files.metrics is None
    assert PredictedRun.from_manifest(run, files.manifest).list_missing() == FILES[:1]
