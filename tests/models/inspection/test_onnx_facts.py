"""What is read of ONNX files in the forms that exporters give them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from assay.errors import BadModelError
from assay.models.inspection.facts import NetworkFacts, read_network_facts
from assay.models.inspection.front import Front
from onnx_forms import CHANNELS_LAST, FLOAT, INT64, UINT8, make_node, make_port, write_classifier

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def read_front_of(path: Path) -> Front:
    front = read_network_facts(path).front
    assert front is not None
    return front


@pytest.fixture(scope="module")
def torch_facts(tmp_path_factory: pytest.TempPathFactory) -> NetworkFacts:
    """A network with ImageNet's normalisation and a softmax within, by torch's exporter."""

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))
            self.layer = torch.nn.Conv2d(3, 8, 3)
            self.head = torch.nn.Linear(8, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layer((x.float() / 255 - self.mean) / self.std)  # type: ignore[operator]
            scores: torch.Tensor = self.head(x.mean((2, 3)))
            return scores.softmax(1)

    path = tmp_path_factory.mktemp("torch") / "wrapped.onnx"
    images = torch.zeros(1, 3, 32, 48, dtype=torch.uint8)
    with warnings.catch_warnings(action="ignore"):  # of the older exporter, which needs no onnxscript
        torch.onnx.export(
            Wrapped().eval(), (images,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
    return read_network_facts(path)


def test_of_torch_it_reads_producer_input_normalisation_and_softmax(torch_facts: NetworkFacts) -> None:
    assert torch_facts.graph.producer == f"pytorch {torch.__version__.split('+')[0]}"
    assert torch_facts.image is not None
    assert (torch_facts.image.name, torch_facts.image.dtype) == ("x", "uint8")
    assert torch_facts.image.shape == (None, 3, 32, 48)
    front = torch_facts.front
    assert front is not None
    assert (front.layout, front.channels, front.stops_at) == ("NCHW", 3, "Conv")
    np.testing.assert_allclose(front.mean, np.array(MEAN) * 255, rtol=1e-5)
    np.testing.assert_allclose(front.std, np.array(STD) * 255, rtol=1e-5)
    scores = torch_facts.scores
    assert scores is not None
    assert (scores.scores, scores.decided_by, scores.class_count) == ("probabilities", "Softmax", 10)


def test_the_constants_are_those_that_the_onnx_package_reads(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        constants={
            "ints": np.array([1, -2]),
            "halves": np.array([0.5], np.float16),
            "one": np.float32(7),
            "bytes": np.arange(20, dtype=np.uint8),
            "many": np.arange(40, dtype=np.float32),
        },
    )
    tensors = read_network_facts(path).graph.tensors
    assert tensors["ints"].values == (1, -2)
    assert tensors["halves"].values == (0.5,)
    assert (tensors["one"].values, tensors["one"].shape) == ((7,), ())
    assert tensors["bytes"].values == tuple(range(20))
    assert (tensors["many"].values, tensors["many"].shape) == ((), (40,))


def test_the_parameters_are_those_of_the_layers(tmp_path: Path) -> None:
    facts = read_network_facts(write_classifier(tmp_path / "m.onnx"))
    assert sum(tensor.size for tensor in facts.weights) == 8 * 3 * 9 + 8 + 8 * 1000 + 1000


def test_tf2onnx_takes_channels_last_and_scales_before_it_turns_them(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        front=[
            make_node("Mul", ["x", "scale"], ["a"]),
            make_node("Add", ["a", "shift"], ["b"]),
            make_node("Transpose", ["b"], ["seen"], perm=[0, 3, 1, 2]),
        ],
        back=[make_node("Softmax", ["logits"], ["predictions"])],
        outputs={"predictions": (FLOAT, ["batch", 1001])},
        shape=CHANNELS_LAST,
        class_count=1001,
        constants={"scale": np.float32(1 / 127.5), "shift": np.float32(-1)},
        producer=("tf2onnx", "1.17.0"),
    )
    facts = read_network_facts(path)
    assert facts.front is not None
    assert facts.front.layout == "NHWC"
    np.testing.assert_allclose([*facts.front.mean, *facts.front.std], 127.5, rtol=1e-5)
    assert facts.scores is not None
    assert (facts.scores.scores, facts.scores.class_count) == ("probabilities", 1001)


@pytest.mark.parametrize(
    ("perm", "expected"), [([0, 3, 1, 2], "NHWC"), ([0, 1, 2, 3], "NCHW"), ([0, 2, 3, 1], "")]
)
def test_where_all_axes_are_free_the_first_nodes_tell_the_layout(
    tmp_path: Path, perm: list[int], expected: str
) -> None:
    front = [make_node("Transpose", ["x"], ["seen"], perm=perm)]
    path = write_classifier(tmp_path / "m.onnx", front=front, shape=["n", "a", "b", "c"])
    if expected == "":
        path = write_classifier(tmp_path / "m.onnx", front=[make_node("Erf", ["x"], ["seen"])], shape=None)
    assert read_front_of(path).layout == expected


def test_a_reversal_of_the_channels_is_seen_and_the_constants_are_put_in_the_order_of_the_input(
    tmp_path: Path,
) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        front=[
            make_node("Gather", ["x", "order"], ["bgr"], axis=1),
            make_node("Sub", ["bgr", "mean"], ["seen"]),
        ],
        constants={
            "order": np.array([2, 1, 0]),
            "mean": np.array([103.939, 116.779, 123.68], np.float32).reshape(3, 1, 1),
        },
    )
    front = read_front_of(path)
    assert front.is_reversed
    np.testing.assert_allclose(front.mean, [123.68, 116.779, 103.939], rtol=1e-6)
    assert front.std == (1, 1, 1)


def test_torchvisions_transform_input_is_recognised(tmp_path: Path) -> None:
    scales, shifts = [0.458, 0.448, 0.45], [-0.030, -0.088, -0.188]
    nodes, constants = [], dict[str, Any](axis=np.array([1]))
    for channel in range(3):
        nodes += [
            make_node("Gather", ["x", f"i{channel}"], [f"g{channel}"], axis=1),
            make_node("Unsqueeze", [f"g{channel}", "axis"], [f"u{channel}"]),
            make_node("Mul", [f"u{channel}", f"s{channel}"], [f"m{channel}"]),
            make_node("Add", [f"m{channel}", f"o{channel}"], [f"a{channel}"]),
        ]
        constants |= {
            f"i{channel}": np.array(channel),
            f"s{channel}": np.float32(scales[channel]),
            f"o{channel}": np.float32(shifts[channel]),
        }
    nodes.append(make_node("Concat", ["a0", "a1", "a2"], ["seen"], axis=1))
    front = read_front_of(write_classifier(tmp_path / "m.onnx", front=nodes, constants=constants))
    assert front.is_transform_input
    np.testing.assert_allclose(front.scale, scales)


def test_a_batch_normalisation_of_the_picture_is_seen(tmp_path: Path) -> None:
    ones = np.ones(3, np.float32)
    path = write_classifier(
        tmp_path / "m.onnx",
        front=[make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["seen"])],
        constants={"g": ones, "b": ones, "m": ones, "v": ones},
    )
    assert read_front_of(path).has_batch_norm


def test_ir_3_lists_weights_among_the_inputs_and_they_are_not_fed(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", ir_version=3, opset=8)
    model = onnx.load(str(path))
    model.graph.input.extend(make_port(t.name, t.data_type, t.dims) for t in model.graph.initializer)
    onnx.save(model, str(path))
    facts = read_network_facts(path)
    assert [port.name for port in facts.graph.inputs] == ["x"]
    assert facts.image is not None


def test_paddles_weights_are_constant_nodes(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    model = onnx.load(str(path))
    nodes = [
        helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer
    ]
    rest = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    onnx.save(model, str(path))
    facts = read_network_facts(path)
    assert facts.graph.tensors["fc.weight"].shape == (1000, 8)
    assert facts.front is not None
    assert facts.front.channels == 3


@pytest.mark.parametrize(
    ("operator", "kind", "shape", "expected"),
    [
        ("Softmax", FLOAT, ["n", 1000], "probabilities"),
        ("LogSoftmax", FLOAT, ["n", 1000], "logits"),
        ("Sigmoid", FLOAT, ["n", 1000], "sigmoid"),
        ("Identity", FLOAT, ["n", 1000], "logits"),
        ("Erf", FLOAT, ["n", 1000], ""),
    ],
)
def test_the_last_node_tells_what_the_scores_are(
    tmp_path: Path, operator: str, kind: int, shape: list[int | str | None], expected: str
) -> None:
    back = [make_node(operator, ["logits"], ["out"])]
    facts = read_network_facts(
        write_classifier(tmp_path / "m.onnx", back=back, outputs={"out": (kind, shape)})
    )
    assert facts.scores is not None
    assert facts.scores.scores == expected


def test_argmax_keeps_no_scores(tmp_path: Path) -> None:
    back = [make_node("ArgMax", ["logits"], ["out"], axis=1)]
    facts = read_network_facts(
        write_classifier(tmp_path / "m.onnx", back=back, outputs={"out": (INT64, ["n", 1])})
    )
    assert facts.scores is None
    assert (facts.tails[0].scores, facts.tails[0].fault) == (
        "class index",
        "ArgMax keeps no score for each class",
    )


def test_topk_keeps_no_scores_although_its_values_are_floats(tmp_path: Path) -> None:
    back = [make_node("TopK", ["logits", "k"], ["best", "index"])]
    outputs = {"best": (FLOAT, ["n", 5]), "index": (INT64, ["n", 5])}
    facts = read_network_facts(
        write_classifier(tmp_path / "m.onnx", back=back, outputs=outputs, constants={"k": np.array([5])})
    )
    assert facts.scores is None
    assert [tail.scores for tail in facts.tails] == ["best scores", "class index"]


@pytest.mark.parametrize(("node", "expected"), [("Relu", ""), ("Mul", "logits"), ("Softmax", "")])
def test_arithmetic_behind_a_layer_leaves_logits_and_behind_a_softmax_it_is_not_told(
    tmp_path: Path, node: str, expected: str
) -> None:
    first = make_node(node, ["logits", "two"] if node == "Mul" else ["logits"], ["a"])
    back = [first, make_node("Mul", ["a", "two"], ["out"])]
    form = {"outputs": {"out": (FLOAT, ["n", 1000])}, "constants": {"two": np.float32(2)}}
    scores = read_network_facts(write_classifier(tmp_path / "m.onnx", back=back, **form)).scores
    assert scores is not None
    assert scores.scores == expected


def test_a_softmax_over_the_images_of_a_batch_is_a_fault(tmp_path: Path) -> None:
    back = [make_node("Softmax", ["logits"], ["out"], axis=0)]
    facts = read_network_facts(
        write_classifier(tmp_path / "m.onnx", back=back, outputs={"out": (FLOAT, ["n", 1000])})
    )
    assert "over the images of a batch" in facts.tails[0].fault


def test_of_several_outputs_the_longest_path_holds_the_scores(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        outputs={"flat": (FLOAT, ["n", 8]), "logits": (FLOAT, ["n", 1000]), "c": (FLOAT, ["n", 8, 222, 222])},
    )
    scores = read_network_facts(path).scores
    assert scores is not None
    assert scores.port.name == "logits"


def test_of_logits_and_their_softmax_the_logits_are_taken(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        back=[make_node("Softmax", ["logits"], ["p"])],
        outputs={"p": (FLOAT, ["n", 1000]), "logits": (FLOAT, ["n", 1000])},
    )
    scores = read_network_facts(path).scores
    assert scores is not None
    assert scores.port.name == "logits"


def test_two_heads_of_the_same_depth_are_not_chosen_between(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        back=[make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["dist"], transB=1)],
        outputs={"logits": (FLOAT, ["n", 1000]), "dist": (FLOAT, ["n", 1000])},
    )
    assert read_network_facts(path).scores is None


def test_where_the_output_declares_no_classes_the_last_layer_tells_them(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx", outputs={"logits": (FLOAT, ["n", "m"])}, class_count=365)
    scores = read_network_facts(path).scores
    assert scores is not None
    assert scores.class_count == 365


def test_quantised_files_and_training_nodes_are_said(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        front=[
            make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
            make_node("Dropout", ["d", "ratio", "yes"], ["seen"], name="drop"),
        ],
        constants={
            "scale": np.float32(0.1),
            "zero": np.uint8(0),
            "ratio": np.float32(0.5),
            "yes": np.array(True),
        },
        dtype=FLOAT,
    )
    facts = read_network_facts(path)
    assert facts.is_quantised
    assert facts.training_nodes == ("drop",)


def test_uint8_that_is_cast_and_normalised_keeps_its_type(tmp_path: Path) -> None:
    front = [make_node("Cast", ["x"], ["seen"], to=FLOAT)]
    facts = read_network_facts(write_classifier(tmp_path / "m.onnx", front=front, dtype=UINT8))
    assert facts.image is not None
    assert facts.image.dtype == "uint8"
    assert facts.front is not None
    assert facts.front.steps == ("Cast",)


def test_a_file_that_is_cut_off_is_refused_in_one_message(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(BadModelError, match="cannot be read as an ONNX file"):
        read_network_facts(path)


def test_constants_of_the_old_typed_fields_are_read(tmp_path: Path) -> None:
    path = write_classifier(
        tmp_path / "m.onnx",
        front=[make_node("Sub", ["x", "mean"], ["seen"])],
        constants={"other": np.ones(3)},
    )
    model = onnx.load(str(path))
    mean = helper.make_tensor("mean", FLOAT, [1, 3, 1, 1], [104.0, 117.0, 123.0])
    assert mean.float_data
    model.graph.initializer.append(mean)
    onnx.save(model, str(path))
    assert numpy_helper.to_array(mean).shape == (1, 3, 1, 1)
    assert read_front_of(path).mean == (104, 117, 123)
