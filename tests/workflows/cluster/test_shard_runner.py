"""What a node of a cluster does with a shard, without a cluster: versions, the model's cache, errors."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import msgspec
import pytest

from assay.engines.compiled_model import read_compiled_json
from assay.errors import BadModelError, MissingRuntimeError, SourceError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.sources import index_images
from assay.inference.pipeline import PipelineOptions
from assay.inference.shards import cut_shards, read_shard
from assay.workflows.cluster.model_cache import hash_compiled, keep_compiled, read_files
from assay.workflows.cluster.shard_runner import ShardReport, ShardRunner, ShardWork, find_versions


@pytest.fixture
def compiled_dir(colour_compiled: Path) -> Path:
    return colour_compiled


@pytest.fixture
def work(compiled_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ShardWork:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled = read_compiled_json(compiled_dir)
    files = read_files(compiled, compiled_dir)
    return ShardWork(
        compiled=compiled,
        compiled_sha256=hash_compiled(compiled, compiled_dir),
        fetch_files=lambda: files,
        fingerprint="f" * 64,
        options=PipelineOptions(batch_size=4, decode_threads=1),
        versions=find_versions("openvino"),
    )


def run_first_shard(work: ShardWork, photographs: Path, *, is_check: bool = False) -> ShardReport:
    shard = cut_shards(index_images(photographs, IMAGENET_CLASSES).images, 8)[0]
    runner = ShardRunner(work)
    report = (runner.check if is_check else runner.compute)(pickle.dumps(shard))
    runner.close()
    return report


def test_a_node_reports_the_content_of_the_shards_file(
    work: ShardWork, photographs: Path, tmp_path: Path
) -> None:
    report = run_first_shard(work, photographs)
    assert (report.number, report.image_count, report.find_error()) == (0, 8, None)
    (tmp_path / "part-00000.parquet").write_bytes(report.content)
    rows = read_shard(tmp_path / "part-00000.parquet")
    assert [row.name for row in rows] == sorted(path.name for path in photographs.iterdir())[:8]


@pytest.mark.parametrize("changed", ["assay", "the runtime", "Pillow"])
def test_a_node_with_another_version_refuses(work: ShardWork, photographs: Path, changed: str) -> None:
    versions = work.versions
    if changed == "Pillow":
        pixels = msgspec.structs.replace(versions.pixels, pillow="1.1.7")
        other = msgspec.structs.replace(versions, pixels=pixels)
    else:
        name = "assay" if changed == "assay" else "engine_version"
        other = msgspec.structs.replace(versions, **{name: "1.1.7"})
    object.__setattr__(work, "versions", other)
    error = run_first_shard(work, photographs, is_check=True).find_error()
    assert isinstance(error, MissingRuntimeError)
    assert f"{changed} " in error.message
    assert "expected 1.1.7" in error.message


def test_a_node_that_cannot_read_an_image_says_so_before_it_takes_work(
    work: ShardWork, photographs: Path
) -> None:
    images = cut_shards(index_images(photographs, IMAGENET_CLASSES).images, 8)
    min(photographs.iterdir()).unlink()
    runner = ShardRunner(dataclasses.replace(work, options=PipelineOptions(batch_size=4, pauses_s=())))
    report = runner.check(pickle.dumps(images[0]))
    runner.close()
    assert isinstance(report.find_error(), SourceError)
    assert "No such file or directory" in report.error


def test_a_shard_whose_images_cannot_be_read_is_left_out_and_the_next_one_is_computed(
    work: ShardWork, photographs: Path
) -> None:
    shards = cut_shards(index_images(photographs, IMAGENET_CLASSES).images, 4)
    (photographs / shards[0].images[1].name).unlink()
    runner = ShardRunner(dataclasses.replace(work, options=PipelineOptions(batch_size=4, pauses_s=())))
    reports = [runner.compute(pickle.dumps(shard)) for shard in shards[:2]]
    runner.close()
    assert [type(report.find_error()) for report in reports] == [SourceError, type(None)]
    assert "its source failed: No such file or directory" in reports[0].error
    assert [bool(report.content) for report in reports] == [False, True]


def test_a_model_is_fetched_once_and_again_when_its_copy_is_damaged(
    compiled_dir: Path, tmp_path: Path
) -> None:
    compiled = read_compiled_json(compiled_dir)
    sha256, files = hash_compiled(compiled, compiled_dir), read_files(compiled, compiled_dir)
    fetched = []

    def fetch() -> dict[str, bytes]:
        fetched.append(1)
        return files

    folder = keep_compiled(sha256, fetch, tmp_path / "kept")
    assert keep_compiled(sha256, fetch, tmp_path / "kept") == folder
    assert len(fetched) == 1
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files
    next(file for file in folder.iterdir() if file.suffix == ".bin").write_bytes(b"other")
    keep_compiled(sha256, fetch, tmp_path / "kept")
    assert len(fetched) == 2
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == files


def test_a_model_that_is_not_what_its_hash_says_is_refused(compiled_dir: Path, tmp_path: Path) -> None:
    files = read_files(read_compiled_json(compiled_dir), compiled_dir)
    with pytest.raises(BadModelError, match="expected sha256 000000000000…"):
        keep_compiled("0" * 64, lambda: files, tmp_path / "kept")
    assert not (tmp_path / "kept" / ("0" * 64)).exists()
