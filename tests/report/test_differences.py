"""Whatever differs between two runs is named, with both values."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from assay.report.contents import gather_contents
from assay.report.differences import list_differences
from assay.report.html import render_page
from assay.report.markdown import render_markdown
from assay.report.named_run import NamedRun
from assay.runs.results_file import Manifest


def test_a_run_differs_in_nothing_from_itself(manifest: Manifest) -> None:
    assert list_differences(manifest, manifest) == []


@pytest.mark.parametrize(
    ("change", "what", "values"),
    [
        ({"engine": "onnxruntime"}, "engine", ("openvino 2026.0", "onnxruntime 2026.0")),
        ({"engine_version": "2026.1"}, "engine", ("openvino 2026.0", "openvino 2026.1")),
        ({"precision": "int8"}, "precision", ("fp32", "int8")),
        ({"device": "GPU"}, "device", ("CPU", "GPU")),
        ({"evaluated_batch_size": 4}, "batch size", ("none", "4")),
        ({"assay_version": "9.9"}, "assay", None),
        ({"started": "2027-01-01T00:00:00Z"}, "started", ("2026-01-02T03:04:05Z", "2027-01-01T00:00:00Z")),
        ({"hashes": {"weights.pth": "cd" * 32}}, "weights", ("abababababab", "cdcdcdcdcdcd")),
        (
            {"hashes": {"weights.pth": "ab" * 32, "model.onnx": "ef" * 32}},
            "ONNX file",
            ("none", "efefefefefef"),
        ),
        ({"weights_key": "state_dict_ema"}, "weights key", ("none", "state_dict_ema")),
    ],
)
def test_what_differs_is_named_with_both_values(
    manifest: Manifest, change: dict[str, Any], what: str, values: tuple[str, str] | None
) -> None:
    found = list_differences(manifest, msgspec.structs.replace(manifest, **change))
    assert [each.what for each in found] == [what]
    if values is not None:
        assert (found[0].reference, found[0].candidate) == values


def test_images_labels_machine_and_preprocessing_are_looked_at_too(manifest: Manifest) -> None:
    replace = msgspec.structs.replace
    assert manifest.image_set is not None
    assert manifest.model is not None
    preprocessing = replace(manifest.model.preprocessing, resize_filter="bicubic")
    other = replace(
        manifest,
        image_set=replace(manifest.image_set, image_count=3, label_source="class folders"),
        machine=replace(manifest.machine, processor="Other CPU"),
        model=replace(manifest.model, preprocessing=preprocessing),
    )
    found = {each.what: str(each) for each in list_differences(manifest, other)}
    assert list(found) == ["preprocessing, resize_filter", "images", "labels", "processor"]
    assert found["preprocessing, resize_filter"].endswith(": bicubic instead of bilinear")
    assert found["processor"] == "processor: Other CPU instead of Example CPU"


def test_a_joint_report_says_it_before_its_verdict(manifest: Manifest) -> None:
    other = msgspec.structs.replace(manifest, precision="int8")
    runs = [
        NamedRun(name=name, manifest=each, metrics=None, benchmark=None)
        for name, each in (("A", manifest), ("B", other))
    ]
    contents = gather_contents(runs)
    assert contents.differences == ("B differs from A in precision: int8 instead of fp32",)
    for page in (render_markdown(contents), render_page(contents)):
        said = page.index("What differs") if "<html" in page else page.index(contents.differences[0])
        assert said < page.index(contents.verdict)
