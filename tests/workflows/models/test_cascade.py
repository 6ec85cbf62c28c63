"""A cascade made of two compiled models and images, then evaluated, resumed, bundled and measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from assay.engines.catalog import find_engine
from assay.errors import BadImagesError, BadModelError, UsageError
from assay.images.classes import read_classes
from assay.images.drawn_images import draw_labelled_images
from assay.images.label_files import LabelOptions
from assay.images.request import ImageRequest, index_requested_images
from assay.images.sources import ImageIndex
from assay.measure.speed.repeats import RepeatPlan
from assay.models.record import ModelRecord
from assay.report.cascade import describe_cascade
from assay.runs.folder import RunResult
from assay.runs.listener import SILENT
from assay.runs.place import RunPlace
from assay.runs.results_file import Metrics, read_result
from assay.workflows.cluster.merge import merge_run
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.models.cascade import CascadeModels, halve_images, make_cascade
from assay.workflows.results.bundle import write_bundle
from assay.workflows.results.verify import verify_bundle
from assay.workflows.speed.run_benchmark import BenchmarkRequest, run_benchmark
from colour_classifier import draw_weights
from compiling import compile_with

IMAGE_COUNT = 48


@pytest.fixture
def images(tmp_path: Path) -> ImageRequest:
    """Drawn images, one of which is damaged."""
    folder, labels = tmp_path / "images", tmp_path / "labels.txt"
    draw_labelled_images(folder, labels, image_count=IMAGE_COUNT, seed=5)
    (folder / "drawn_00007.JPEG").write_bytes(b"no picture")
    return ImageRequest(path=folder, labels=LabelOptions(path=labels))


@pytest.fixture
def index(images: ImageRequest, colour_record: ModelRecord) -> ImageIndex:
    return index_requested_images(images, read_classes(colour_record))


def compile_colours(folder: Path, weights: np.ndarray, record: ModelRecord) -> Path:
    """The colour classifier with these weights, for the engine torch, whose source tells nothing."""
    folder.mkdir(parents=True)
    checkpoint = folder.with_suffix(".pth")
    torch.save({"weights": torch.from_numpy(weights.astype(np.float32))}, checkpoint)
    compile_with(find_engine("torch"), checkpoint, folder, record, precision="fp32")
    return folder


@pytest.fixture
def models(tmp_path: Path, colour_record: ModelRecord, colour_onnx: Path) -> CascadeModels:
    """A network that is a little off, and the network."""
    weights = draw_weights()
    off = weights + np.random.default_rng(1).normal(0, 0.02, weights.shape)
    (tmp_path / "exact").mkdir()
    compile_with(
        find_engine("openvino"),
        colour_onnx,
        tmp_path / "exact",
        colour_record,
        settings={"inner_batch": "1", "streams": "1"},
    )
    fast = compile_colours(tmp_path / "fast", off, colour_record)
    return CascadeModels(fast_dir=fast, exact_dir=tmp_path / "exact", max_different_percent=1)


def evaluate(compiled_dir: Path, images: ImageRequest, folder: Path, **place: object) -> RunResult:
    return run_evaluation(
        compiled_dir,
        images,
        EvaluateOptions(shard_size=20),
        RunPlace(path=folder, **place),  # type: ignore[arg-type]
    )


def test_a_cascade_answers_as_the_exact_model_and_says_who_answered(
    models: CascadeModels, index: ImageIndex, images: ImageRequest, tmp_path: Path
) -> None:
    record = make_cascade(models, tmp_path / "cascade", index, overwrite=False, listener=SILENT)
    assert record.stated.image_count + record.chosen_on.image_count == IMAGE_COUNT
    assert record.stated.failed_count + record.chosen_on.failed_count == 1
    assert record.stated.different_count >= record.stated.failed_count
    assert record.needed_count == 299
    text = "\n".join(describe_cascade(record))
    assert "To prove 1 % takes 299 images in that half" in text
    is_much = record.stated.handed_on_count > record.stated.image_count / 2
    assert ("More than half of the images are handed on" in text) == is_much

    done = evaluate(tmp_path / "cascade", images, tmp_path / "run")
    evaluate(models.exact_dir, images, tmp_path / "exact_run")
    assert done.metrics is not None
    rows, expected = (
        pq.read_table(tmp_path / run / "predictions").sort_by("name").to_pylist()
        for run in ("run", "exact_run")
    )
    handed_on = [row["answered_by"] == "exact" for row in rows]
    assert 0 < sum(handed_on) < IMAGE_COUNT - 1
    assert done.metrics.answered_by == {"fast": IMAGE_COUNT - 1 - sum(handed_on), "exact": sum(handed_on)}
    for row, other, is_exact in zip(rows, expected, handed_on, strict=True):
        if is_exact:
            assert row["top_classes"] == other["top_classes"]
        else:
            margin = row["top_logits"][0] - row["top_logits"][1] if row["top_logits"] else np.inf
            assert margin > record.threshold
    page = (tmp_path / "run" / "report.md").read_text()
    assert f"by the exact one: {sum(handed_on)} (" in page

    # a run of a model that is no cascade has none of it
    assert (
        "answered_by"
        not in pq.read_schema(tmp_path / "exact_run" / "predictions" / "part-00000.parquet").names
    )
    for name in ("metrics.json", "manifest.json"):
        assert not {"answered_by", "cascade"} & set(json.loads((tmp_path / "exact_run" / name).read_text()))

    (tmp_path / "run" / "predictions" / "part-00001.parquet").unlink()
    again = evaluate(tmp_path / "cascade", images, tmp_path / "run", mode="resume")
    assert again.metrics == done.metrics
    merged = merge_run(tmp_path / "run")
    assert merged.metrics == done.metrics
    write_bundle(tmp_path / "run", tmp_path / "run.zip")
    assert [check for check in verify_bundle(tmp_path / "run.zip") if check.found != "same"] == []
    changed = dataclasses.replace(models, max_different_percent=30)
    make_cascade(changed, tmp_path / "cascade", index, overwrite=True, listener=SILENT)
    with pytest.raises(UsageError, match="the compiled model changed"):
        evaluate(tmp_path / "cascade", images, tmp_path / "run", mode="resume")
    assert read_result(tmp_path / "run", Metrics) == done.metrics


def test_the_speed_is_measured_on_real_images_with_the_share_handed_on(
    models: CascadeModels, index: ImageIndex, images: ImageRequest, tmp_path: Path
) -> None:
    make_cascade(models, tmp_path / "cascade", index, overwrite=False, listener=SILENT)
    plan = RepeatPlan(batch_sizes=(1, 4), seconds=0.01)
    with pytest.raises(UsageError, match="the speed of a cascade depends on the images"):
        run_benchmark([tmp_path / "cascade"], BenchmarkRequest(plans=(plan,)), RunPlace(path=tmp_path / "no"))
    request = BenchmarkRequest(images=dataclasses.replace(images, labels=LabelOptions()), plans=(plan,))
    done = run_benchmark([tmp_path / "cascade"], request, RunPlace(path=tmp_path / "speed"))
    run = evaluate(tmp_path / "cascade", images, tmp_path / "run")
    assert done.benchmark is not None
    assert run.metrics is not None
    for row in json.loads((tmp_path / "speed" / "benchmark.json").read_text())["rows"]:
        assert row["handed_on"] == {"count": run.metrics.answered_by["exact"], "image_count": IMAGE_COUNT - 1}  # type: ignore[index]
    assert "the exact model answered" in (tmp_path / "speed" / "report.md").read_text()


def test_models_of_other_weights_and_too_few_images_are_refused(
    models: CascadeModels, index: ImageIndex, colour_record: ModelRecord, tmp_path: Path
) -> None:
    other = compile_colours(tmp_path / "other" / "fast", draw_weights(seed=8), colour_record)
    with pytest.raises(BadModelError, match="name the same class for"):
        make_cascade(
            dataclasses.replace(models, fast_dir=other),
            tmp_path / "out",
            index,
            overwrite=False,
            listener=SILENT,
        )
    few = dataclasses.replace(index, images=index.images[:39])
    with pytest.raises(BadImagesError, match="39 images are too few"):
        make_cascade(models, tmp_path / "out", few, overwrite=False, listener=SILENT)
    for percent in (0, 100, float("nan")):
        with pytest.raises(UsageError, match="--max-different"):
            make_cascade(
                dataclasses.replace(models, max_different_percent=percent),
                tmp_path / "out",
                index,
                overwrite=False,
                listener=SILENT,
            )
    assert not (tmp_path / "out").exists()


def test_images_calibrated_on_are_kept_out_or_are_those_to_choose_on() -> None:
    paths = [f"{number}" for number in range(300)]
    chosen, stated = halve_images(paths, set(paths[:50]))
    assert sorted([*chosen, *stated]) == sorted(paths[50:])
    assert len(chosen) == len(stated) == 125
    chosen, stated = halve_images(paths[:100], set(paths[:70]))
    assert set(stated) == set(paths[70:100])
    assert set(chosen) == set(paths[:70])
    chosen, stated = halve_images(paths[:100], set(paths[:90]))  # too few others to say anything
    assert len(chosen) == len(stated) == 50
    assert set(chosen) | set(stated) == set(paths[:100])
