from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from assay.errors import BadInputError
from assay.files import SCHEMA_VERSION, encode_json
from assay.runs.results_file import FILE_NAMES, Benchmark, Manifest, Metrics, read_result, write_result

# design.md, section 3: what others may read
TOPK_KEYS = {"hits", "percent", "interval_percent"}
ROW_KEYS = {
    "engine",
    "device",
    "precision",
    "batch_size",
    "clock",
    "images_per_second",
    "latency_ms",
}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_is_written_is_read_back(
    tmp_path: Path, manifest: Manifest, metrics: Metrics, benchmark: Benchmark
) -> None:
    for result in (manifest, metrics, benchmark):
        write_result(tmp_path, result)
    assert read_result(tmp_path, Manifest) == manifest
    assert read_result(tmp_path, Metrics) == metrics
    assert read_result(tmp_path, Benchmark) == benchmark
    assert {file.name for file in tmp_path.iterdir()} == {"manifest.json", "metrics.json", "benchmark.json"}


def test_metrics_have_the_keys_that_others_read(tmp_path: Path, metrics: Metrics) -> None:
    document = read_json(write_result(tmp_path, metrics))
    assert document["schema_version"] == SCHEMA_VERSION == 1
    accuracy = document["accuracy"]
    assert (accuracy["image_count"], accuracy["scored_count"], accuracy["failed_count"]) == (4, 3, 1)
    assert accuracy["top1"].keys() >= TOPK_KEYS
    assert (accuracy["top1"]["hits"], accuracy["top1"]["percent"]) == (2, 50)
    assert (accuracy["top5"]["hits"], accuracy["top5"]["percent"]) == (3, 75)
    low, high = accuracy["top1"]["interval_percent"]
    assert low < 50 < high
    assert accuracy["top1"]["percent_of_scored"] == pytest.approx(66.667, abs=1e-3)


def test_a_benchmark_has_the_keys_that_others_read(tmp_path: Path, benchmark: Benchmark) -> None:
    document = read_json(write_result(tmp_path, benchmark))
    assert document["schema_version"] == 1
    row = document["rows"][1]
    assert row.keys() >= ROW_KEYS
    assert (row["engine"], row["batch_size"], row["clock"]) == ("openvino", 4, "call")
    assert row["images_per_second"] == {"median": 90, "values": [89, 90, 91, 90, 90]}
    assert (
        row["latency_ms"].items() >= {"p50": 10, "p90": 20, "p99": 30}.items()
    )  # more keys may stand beside


def test_a_manifest_says_what_was_run_on_what(tmp_path: Path, manifest: Manifest) -> None:
    document = read_json(write_result(tmp_path, manifest))
    assert document["schema_version"] == 1
    assert document["status"] == "finished"
    assert document["arguments"] == ["run", "--images", "val"]
    assert document["machine"]["processor"] == "Example CPU"
    assert document["model"]["name"] == "se_resnext50_32x4d"
    assert document["hashes"] == {"weights.pth": "ab" * 32}


def test_a_result_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_result(tmp_path, Manifest) is None
    assert read_result(tmp_path, Metrics) is None
    assert read_result(tmp_path, Benchmark) is None


def test_another_schema_version_is_refused(tmp_path: Path, metrics: Metrics) -> None:
    write_result(tmp_path, msgspec.structs.replace(metrics, schema_version=2))
    with pytest.raises(BadInputError, match=r"metrics\.json has schema version 2; this assay reads 1"):
        read_result(tmp_path, Metrics)


def test_another_schema_version_with_other_keys_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"schema_version": 2, "accuracies": []}', encoding="utf-8")
    with pytest.raises(BadInputError, match="schema version 2"):
        read_result(tmp_path, Metrics)


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_torn_file_is_refused_by_its_name(tmp_path: Path, benchmark: Benchmark, kept: float) -> None:
    path = write_result(tmp_path, benchmark)
    encoded = path.read_bytes()
    path.write_bytes(encoded[: int(kept * len(encoded)) - 3 if kept else 0])
    with pytest.raises(BadInputError, match=r"benchmark\.json cannot be read"):
        read_result(tmp_path, Benchmark)


@pytest.mark.parametrize("content", [b"[]", b'{"rows": [{}]}', b'\xff\xfe{"rows": []}', b'{"rows": "\xff"}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAMES[Benchmark]).write_bytes(content)
    with pytest.raises(BadInputError, match=r"benchmark\.json cannot be read"):
        read_result(tmp_path, Benchmark)


def test_json_is_indented_and_ends_its_last_line() -> None:
    assert encode_json({"a": [1], "b": "ü"}) == '{\n  "a": [\n    1\n  ],\n  "b": "ü"\n}\n'.encode()


def test_a_path_that_is_no_utf_8_does_not_stop_a_run(tmp_path: Path, manifest: Manifest) -> None:
    assert manifest.image_set is not None
    image_set = msgspec.structs.replace(manifest.image_set, path="val\udcff")
    manifest = msgspec.structs.replace(manifest, image_set=image_set)
    write_result(tmp_path, manifest)


def test_a_manifest_of_an_older_assay_is_read(tmp_path: Path, manifest: Manifest) -> None:
    document = read_json(write_result(tmp_path, manifest))
    del document["image_set"]["label_kind"]
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    found = read_result(tmp_path, Manifest)
    assert found is not None
    assert found.image_set is not None
    assert found.image_set.label_kind is None
