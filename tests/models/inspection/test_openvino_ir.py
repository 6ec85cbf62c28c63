"""What is read of OpenVINO's IR, whose files OpenVINO writes here, and the record that is drawn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from assay.errors import BadModelError
from assay.models.inspection.draw_record import draw_record
from assay.models.inspection.facts import read_network_facts
from assay.models.inspection.record_lines import Lines, list_open
from assay.models.model_file import hash_model, read_model_file
from onnx_forms import FLOAT, make_node, write_classifier

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
SHAPE = (1, 3, 1, 1)
# OpenVINO folds a last division into the convolution behind it: here the subtraction is last
NORMALISED: dict[str, Any] = {
    "front": [make_node("Mul", ["x", "s"], ["a"]), make_node("Add", ["a", "m"], ["seen"])],
    "constants": {
        "m": (-MEAN / STD).astype(np.float32).reshape(SHAPE),
        "s": (1 / STD).astype(np.float32).reshape(SHAPE),
    },
}
FOLDED: dict[str, Any] = {
    "front": [make_node("Sub", ["x", "m"], ["a"]), make_node("Div", ["a", "s"], ["seen"])],
    "constants": {"m": MEAN.astype(np.float32).reshape(SHAPE), "s": STD.astype(np.float32).reshape(SHAPE)},
}
MODEL_API = {
    "model_info.mean_values": "123.675 116.28 103.53",
    "model_info.scale_values": "58.395 57.12 57.375",
    "model_info.reverse_input_channels": "True",
    "model_info.resize_type": "standard",
}


def write_ir(folder: Path, notes: dict[str, str] | None = None, **form: Any) -> Path:
    model = openvino.convert_model(write_classifier(folder / "m.onnx", **form))
    for key, value in (notes or {}).items():
        model.set_rt_info(value, key.split("."))
    openvino.save_model(model, folder / "m.xml", compress_to_fp16=False)
    return folder / "m.xml"


def draw(path: Path) -> Lines:
    return draw_record(read_network_facts(path))


def name_open(lines: Lines) -> list[str]:
    return [line.key for line in list_open(lines)]


def test_the_same_facts_are_read_as_of_the_onnx_file(tmp_path: Path) -> None:
    xml = write_ir(
        tmp_path, back=[make_node("Softmax", ["logits"], ["p"])], outputs={"p": (FLOAT, ["n", 1000])}
    )
    found, expected = read_network_facts(xml), read_network_facts(tmp_path / "m.onnx")
    assert found.graph.form == "OpenVINO IR"
    assert found.image == expected.image
    assert found.front is not None
    assert expected.front is not None
    assert (found.front.layout, found.front.channels) == (expected.front.layout, expected.front.channels)
    assert found.scores is not None
    assert (found.scores.port.name, found.scores.scores, found.scores.class_count) == (
        "p",
        "probabilities",
        1000,
    )
    assert sum(tensor.size for tensor in found.weights) == sum(tensor.size for tensor in expected.weights)


def test_normalisation_in_the_graph_is_found(tmp_path: Path) -> None:
    front = read_network_facts(write_ir(tmp_path, **NORMALISED)).front
    assert front is not None
    np.testing.assert_allclose(front.mean, MEAN, rtol=1e-5)
    np.testing.assert_allclose(front.std, STD, rtol=1e-5)


def test_model_apis_notes_are_applied_where_the_graph_does_not_normalise(tmp_path: Path) -> None:
    lines = draw(write_ir(tmp_path, MODEL_API))
    assert name_open(lines) == []
    assert lines["preprocessing.mean"].value == (123.675, 116.28, 103.53)
    assert lines["preprocessing.pixel_scale"].value == 1
    assert lines["input.colour_order"].value == "RGB"
    assert (lines["preprocessing.resize"].value, lines["preprocessing.sampling"].state) == ("squash", "guess")


def test_where_the_graph_does_what_model_api_notes_it_is_not_applied_again(tmp_path: Path) -> None:
    lines = draw(write_ir(tmp_path, MODEL_API, **NORMALISED))
    assert (lines["preprocessing.mean"].value, lines["preprocessing.std"].value) == ((0, 0, 0), (1, 1, 1))
    assert name_open(lines) == []


def test_a_subtraction_whose_division_was_folded_into_the_weights_is_not_taken_for_half_a_normalisation(
    tmp_path: Path,
) -> None:
    lines = draw(write_ir(tmp_path, **FOLDED))
    assert (lines["preprocessing.pixel_scale"].value, lines["preprocessing.mean"].value) == (1, (0, 0, 0))
    assert name_open(draw(write_ir(tmp_path, MODEL_API, **FOLDED))) == [
        "preprocessing.mean",
        "preprocessing.std",
    ]


@pytest.mark.parametrize(
    "changes",
    [{"model_info.mean_values": "127.5 127.5 127.5"}, {"conversion_parameters.mean_values": "[123,116,103]"}],
)
def test_where_graph_notes_and_conversion_may_all_normalise_it_is_open(
    tmp_path: Path, changes: dict[str, str]
) -> None:
    form = NORMALISED if "model_info.mean_values" in changes else {}
    lines = draw(write_ir(tmp_path, {**MODEL_API, **changes}, **form))
    assert name_open(lines) == ["preprocessing.mean", "preprocessing.std"]


def test_resizes_that_no_record_can_say_are_open(tmp_path: Path) -> None:
    lines = draw(write_ir(tmp_path, {**MODEL_API, "model_info.resize_type": "fit_to_window"}))
    assert name_open(lines) == ["preprocessing.resize", "preprocessing.resize_filter"]


def test_labels_of_model_api_are_the_class_names(tmp_path: Path) -> None:
    lines = draw(write_ir(tmp_path, {"model_info.labels": "cat dog hen"}, class_count=3))
    assert lines["output.class_names"].value == ("cat", "dog", "hen")


def test_a_missing_or_short_bin_and_an_xml_of_something_else_are_refused(tmp_path: Path) -> None:
    xml = write_ir(tmp_path)
    weights = tmp_path / "m.bin"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadModelError, match="before its constants do"):
        read_model_file(xml)
    weights.unlink()
    with pytest.raises(BadModelError, match=r"its weights are in m\.bin, which is not there"):
        read_network_facts(xml)
    xml.write_text("<svg/>")
    with pytest.raises(BadModelError, match="is no model that assay knows"):
        read_network_facts(xml)


def test_padding_that_conversion_puts_into_the_convolution_tells_twins_apart(
    golden: Path, tmp_path: Path
) -> None:
    model = openvino.convert_model(golden / "efficientnet_lite0" / "model.onnx")
    openvino.save_model(model, tmp_path / "lite.xml")
    found = read_network_facts(tmp_path / "lite.xml").architectures
    assert [each.architecture for each in found] == ["tf_efficientnet_lite0"]


def test_the_hash_is_of_both_files(tmp_path: Path) -> None:
    xml = write_ir(tmp_path)
    before = hash_model(xml)
    weights = tmp_path / "m.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert hash_model(xml) != before
