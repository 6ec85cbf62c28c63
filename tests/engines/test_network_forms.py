"""Networks in the forms that exporters give them: taken with the right logits, or refused when compiled."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import onnx.utils
import pytest
from onnx import TensorProto, helper
from PIL import Image

from assay.arrays import Logits, Pixels
from assay.engines.arrays import as_session_input
from assay.engines.catalog import find_engine, load_for_evaluation
from assay.errors import BadInputError, BadModelError, FixedBatchError
from assay.images.resize import resize_and_crop
from assay.models.pixel_values import normalise_pixels
from assay.models.record import ModelRecord
from brightness_classifier import (
    FLOAT,
    make_brightness_classifier,
    make_brightness_record,
    make_port,
    move_weights_out,
)
from compiling import compile_with
from network_forms import (
    EXTERNAL_DATA,
    FORMS,
    QUICK_FORMS,
    TINY_RECORD,
    change_record,
    draw_coloured_pixels,
    make_tiny_network,
    run_tiny_network,
    write_form,
)

ENGINES = ("openvino", "onnxruntime")
QUICK = {"openvino": {"streams": "1", "inner_batch": "1"}}
RECORD = make_brightness_record()
ODD_OPSETS = [f"opset {number}" for number in range(11, 26, 2)]
COLOURS = (-1.0, 0.5, 0.25)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def compile_and_run(
    onnx_path: Path, engine: str, batch_size: int | None = None, record: ModelRecord = RECORD
) -> Logits:
    """The logits of three images of one colour each."""
    folder = onnx_path.parent / f"compiled-{onnx_path.stem}"
    folder.mkdir()
    chosen = {"batch_size": batch_size, "settings": QUICK.get(engine, {})}
    compiled = compile_with(find_engine(engine), onnx_path, folder, record, **chosen)
    images = np.concatenate([np.full((1, 3, 224, 224), colour, np.float32) for colour in COLOURS])
    with closing(find_engine(engine).load(folder)) as session:
        size = compiled.batch_size or len(images)
        return np.concatenate(
            [session.run(images[start : start + size]) for start in range(0, len(images), size)]
        )


def refuse(onnx_path: Path, engine: str, complaint: str) -> str:
    """Compile, which must be refused with that complaint; returns the hint."""
    with pytest.raises(BadModelError, match=complaint) as caught:
        compile_and_run(onnx_path, engine)
    return caught.value.hint


EXPECTED = np.array([[-9 * colour, 9 * colour] for colour in COLOURS], np.float32)
"""The weights are -3 and 3 for each of three channels."""


def assert_right(logits: Logits) -> None:
    np.testing.assert_allclose(logits, EXPECTED, atol=1e-4)


def test_weights_in_a_file_beside_it(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    move_weights_out(path)
    assert_right(compile_and_run(path, engine))


def test_weights_in_a_folder_beside_it(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    move_weights_out(path, "weights/all.bin")
    assert_right(compile_and_run(path, engine))


def test_a_file_that_declares_batches_of_one(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        image=make_port("image", FLOAT, [1, 3, 224, 224]),
        outputs=[make_port("class", FLOAT, [1, 2])],
    )
    assert_right(compile_and_run(path, engine))


def make_baked(path: Path, declared: int | str, size: int = 1) -> Path:
    """A network whose last node gives logits for that many images, whatever its input declares."""
    return make_brightness_classifier(
        path,
        back=[helper.make_node("Reshape", ["logits", "shape"], ["class"])],
        constants={"shape": np.array([size, 2])},
        image=make_port("image", FLOAT, [declared, 3, 224, 224]),
        outputs=[make_port("class", FLOAT, [declared, 2])],
    )


def test_a_batch_fixed_within_the_network_names_the_batch_size(tmp_path: Path, engine: str) -> None:
    with pytest.raises(FixedBatchError, match="runs batches of 1 only") as caught:
        compile_and_run(make_baked(tmp_path / "model.onnx", "batch"), engine)
    assert (caught.value.batch_size, "--batch-size 1" in caught.value.hint) == (1, True)


def test_a_batch_fixed_within_the_network_runs_at_that_size(tmp_path: Path, engine: str) -> None:
    assert_right(compile_and_run(make_baked(tmp_path / "model.onnx", "batch"), engine, batch_size=1))


def test_a_batch_that_is_declared_and_fixed_within_is_compiled_for(tmp_path: Path, engine: str) -> None:
    assert_right(compile_and_run(make_baked(tmp_path / "model.onnx", 1), engine))


def test_another_batch_size_than_the_network_runs_is_refused(tmp_path: Path, engine: str) -> None:
    with pytest.raises(FixedBatchError, match="runs batches of 3 only"):
        compile_and_run(make_baked(tmp_path / "model.onnx", 3, size=3), engine, batch_size=2)


def test_a_fixed_batch_in_the_middle_of_the_network(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[helper.make_node("Reshape", ["image", "shape"], ["pixels"])],
        constants={"shape": np.array([1, 3, 224, 224])},
    )
    with pytest.raises(FixedBatchError, match="runs batches of 1 only"):
        compile_and_run(path, engine)


@pytest.mark.parametrize("axes", [[0, 2, 1, 1], [0, 1, 1, 2], [0, 2, 1]])
def test_axes_of_one_beside_the_classes(tmp_path: Path, engine: str, axes: list[int]) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[helper.make_node("Reshape", ["logits", "shape"], ["class"])],
        constants={"shape": np.array(axes)},
        outputs=[make_port("class", FLOAT, ["batch", *axes[1:]])],
    )
    assert_right(compile_and_run(path, engine))


@pytest.mark.parametrize("first", ["class", "top"])
def test_the_records_output_among_several(tmp_path: Path, engine: str, first: str) -> None:
    outputs = [make_port("top", TensorProto.INT64, ["batch"]), make_port("class", FLOAT, ["batch", 2])]
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[
            helper.make_node("Identity", ["logits"], ["class"]),
            helper.make_node("ArgMax", ["logits"], ["top"], axis=1, keepdims=0),
        ],
        outputs=outputs if first == "top" else outputs[::-1],
    )
    assert_right(compile_and_run(path, engine))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_logits_of_other_floating_types(tmp_path: Path, engine: str, kind: int) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[helper.make_node("Cast", ["logits"], ["class"], to=kind)],
        outputs=[make_port("class", kind, ["batch", 2])],
    )
    np.testing.assert_allclose(compile_and_run(path, engine), EXPECTED, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(TensorProto.INT8, "int8"), (TensorProto.DOUBLE, "float64"), (TensorProto.BFLOAT16, "bfloat16")],
)
@pytest.mark.parametrize("of", [*ENGINES, "constant"])
def test_an_input_of_a_type_that_is_not_fed_is_refused(tmp_path: Path, of: str, kind: int, name: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[helper.make_node("Cast", ["image"], ["pixels"], to=FLOAT)],
        image=make_port("image", kind, ["batch", 3, 224, 224]),
    )
    assert "assay help own-classifier" in refuse(
        path, of, f"takes {name}; assay feeds float32, float16, uint8"
    )


@pytest.mark.parametrize(("kind", "name"), [(TensorProto.UINT8, "uint8"), (TensorProto.FLOAT16, "float16")])
@pytest.mark.parametrize("of", [*ENGINES, "constant"])
def test_an_input_of_another_type_than_the_record_says_names_the_key(
    tmp_path: Path, of: str, kind: int, name: str
) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[helper.make_node("Cast", ["image"], ["pixels"], to=FLOAT)],
        image=make_port("image", kind, ["batch", 3, 224, 224]),
    )
    assert f"input.dtype = '{name}'" in refuse(path, of, f"takes {name}, the model record says float32")


def test_an_output_that_is_no_logits_points_to_the_one_that_is(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[
            helper.make_node("Identity", ["logits"], ["scores"]),
            helper.make_node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0),
        ],
        outputs=[make_port("class", TensorProto.INT64, ["batch"]), make_port("scores", FLOAT, ["batch", 2])],
    )
    assert "'scores'" in refuse(path, engine, "output 'class' holds int64")


@pytest.mark.parametrize("sizes", [["batch", 224, 224, 3], [None] * 4, None])
@pytest.mark.parametrize("of", [*ENGINES, "constant"])
def test_channels_last_where_the_record_says_first_names_the_key(
    tmp_path: Path, of: str, sizes: list[str | int] | None
) -> None:
    """Where the sizes do not tell, the first node does."""
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[helper.make_node("Transpose", ["image"], ["pixels"], perm=[0, 3, 1, 2])],
        image=make_port("image", FLOAT, sizes),
    )
    assert "input.layout = 'NHWC'" in refuse(path, of, "channels last")


@pytest.mark.parametrize(
    ("nodes", "output", "operator"),
    [
        ([helper.make_node("ArgMax", ["logits"], ["class"])], (TensorProto.INT64, [1, 2]), "ArgMax"),
        ([helper.make_node("TopK", ["logits", "k"], ["class", "places"])], (FLOAT, ["batch", 2]), "TopK"),
        (
            [
                helper.make_node("TopK", ["logits", "k"], ["values", "places"]),
                helper.make_node("Cast", ["places"], ["class"], to=FLOAT),
            ],
            (FLOAT, ["batch", 2]),
            "TopK",
        ),
    ],
)
def test_classes_that_the_network_chose_are_no_scores_and_the_way_out_leads_to_them(
    tmp_path: Path, nodes: list[onnx.NodeProto], output: tuple[int, list[int | str]], operator: str
) -> None:
    """Also where their shape is that of scores."""
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=nodes,
        constants={"k": np.array([2])},
        outputs=[make_port("class", *output)],
    )
    hint = refuse(path, "onnxruntime", f"of {operator}: classes that the network chose")
    assert "set output.name to 'logits'" in hint
    cut = tmp_path / "cut.onnx"
    onnx.utils.extract_model(str(path), str(cut), ["image"], ["logits"])
    assert str(["image"]) in hint
    record = change_record(RECORD, {"output": {"name": "logits"}})
    assert_right(compile_and_run(cut, "onnxruntime", record=record))


@pytest.mark.parametrize(
    ("operator", "stated"), [("", "probabilities"), ("Sigmoid", "probabilities"), ("", "sigmoid")]
)
def test_scores_that_are_not_what_the_record_says_are_refused(
    tmp_path: Path, engine: str, operator: str, stated: str
) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[
            helper.make_node("Add", ["logits", "shift"], ["shifted"]),
            helper.make_node(operator or "Identity", ["shifted"], ["class"]),
        ],
        constants={"shift": np.array([2.0, 3.0], np.float32)},
    )
    record = change_record(RECORD, {"output": {"scores": stated}})
    with pytest.raises(BadModelError, match=f"output.scores = '{stated}'; the network's outputs"):
        compile_and_run(path, engine, record=record)


def test_one_class_more_than_the_record_says_may_be_a_background_class(tmp_path: Path) -> None:
    record = change_record(RECORD, {"output": {"class_count": 3}})
    path = make_tiny(tmp_path, 4)
    with pytest.raises(BadModelError, match=r"shape \[batch, 4\]") as caught:
        compile_and_run(path, "onnxruntime", record=record)
    assert "output.label_offset = 1" in caught.value.hint


def make_tiny(folder: Path, class_count: int) -> Path:
    path = folder / "tiny.onnx"
    make_tiny_network(path, class_count)
    return path


@pytest.mark.parametrize("form", QUICK_FORMS)
def test_a_network_in_every_form_gives_the_same_top1(tmp_path: Path, engine: str, form: str) -> None:
    """Of images, and of pixels where the compiled model takes those."""
    weights = make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", form, TINY_RECORD, tmp_path / "model.onnx")
    folder = tmp_path / "compiled"
    folder.mkdir()
    chosen = find_engine(engine)
    compiled = compile_with(chosen, tmp_path / "model.onnx", folder, record, settings=QUICK.get(engine, {}))
    pixels = draw_coloured_pixels(12)
    expected = run_tiny_network(weights, normalise_pixels(pixels, TINY_RECORD)).argmax(axis=1)
    assert len(set(expected)) > 3
    for load in (chosen.load, load_for_evaluation):
        with closing(load(folder)) as session:
            images = as_session_input(normalise_pixels(pixels, record), session, record)
            size = compiled.batch_size or len(images)
            rows = [session.run(images[start : start + size]) for start in range(0, len(images), size)]
        scores = np.concatenate(rows)  # (12, classes)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores.argmax(axis=1) - record.output.label_offset, expected)
    if "float16" not in form:
        assert compiled.takes_pixels == (engine == "openvino")


@pytest.mark.parametrize("of", ENGINES)
def test_a_network_of_uint8_is_fed_nothing_but_pixels(tmp_path: Path, of: str) -> None:
    make_tiny_network(tmp_path / "plain.onnx")
    record = write_form(tmp_path / "plain.onnx", "uint8", TINY_RECORD, tmp_path / "model.onnx")
    folder = tmp_path / "compiled"
    folder.mkdir()
    compile_with(find_engine(of), tmp_path / "model.onnx", folder, record, settings=QUICK.get(of, {}))
    with closing(find_engine(of).load(folder)) as session:
        for value in (0.5, -1, 256, np.nan):
            with pytest.raises(BadInputError, match="takes uint8; expected whole numbers of 0 to 255"):
                session.run(np.full((1, 3, 224, 224), value, np.float32))


@pytest.fixture(scope="module")
def golden_pixels(golden: Path, lite0_record: ModelRecord) -> Pixels:
    """The 100 photographs that PyTorch's logits are of, (100, 224, 224, 3)."""
    names = (golden / "efficientnet_lite0" / "names.txt").read_text().split()
    paths = [golden / "images" / f"{name.partition('.')[0]}.JPEG" for name in names]
    photographs = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return np.stack([resize_and_crop(each, lite0_record.preprocessing) for each in photographs])


@pytest.mark.slow
@pytest.mark.parametrize("form", [name for name in FORMS if name not in ODD_OPSETS] + [EXTERNAL_DATA])
def test_a_real_network_in_every_form_gives_the_same_top1_on_photographs(
    tmp_path: Path, golden: Path, golden_pixels: Pixels, lite0_record: ModelRecord, form: str
) -> None:
    """EfficientNet-Lite0, and PyTorch's classes of 100 photographs; of 20 of them in the other forms."""
    chosen = slice(None, None, 1 if form == "as it is" else 5)
    folder = golden / "efficientnet_lite0"
    expected = np.load(folder / "logits.npy").argmax(axis=1)[chosen]
    record = write_form(folder / "model.onnx", form, lite0_record, tmp_path / "model.onnx")
    pixels = golden_pixels[chosen]
    for engine in ENGINES:
        compiled_dir = tmp_path / engine
        compiled_dir.mkdir()
        settings = {"streams": "2", "inner_batch": "1"} if engine == "openvino" else {}
        compiled = compile_with(
            find_engine(engine), tmp_path / "model.onnx", compiled_dir, record, settings=settings
        )
        size = compiled.batch_size or 10
        with closing(load_for_evaluation(compiled_dir)) as session:
            images = as_session_input(normalise_pixels(pixels, record), session, record)
            rows = [session.run(images[start : start + size]) for start in range(0, len(images), size)]
        found = np.concatenate(rows).argmax(axis=1) - record.output.label_offset
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("opset", [6, 27])
def test_an_opset_that_runtimes_may_misread_is_refused(tmp_path: Path, engine: str, opset: int) -> None:
    """OpenVINO takes any number, and reads operators that it does not know as older ones."""
    path = make_brightness_classifier(tmp_path / "model.onnx")
    model = onnx.load(str(path))
    model.opset_import[0].version = opset
    onnx.save(model, str(path))
    assert "convert_version" in refuse(
        path, engine, f"has opset {opset}; runtimes are known to read opset 7 to 26"
    )


def test_more_inputs_than_the_images_are_refused(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(tmp_path / "model.onnx")
    model = onnx.load(str(path))
    model.graph.input.append(make_port("training", TensorProto.BOOL, []))
    onnx.save(model, str(path))
    refuse(path, engine, "expected one input, found 2: image, training")


def make_normalised(path: Path, *, in_training: bool = False) -> Path:
    """A network that begins with batch normalisation."""
    outputs = ["pixels", "mean_out", "variance_out"] if in_training else ["pixels"]
    inputs = ["image", "scale", "shift", "mean", "variance"]
    node = helper.make_node("BatchNormalization", inputs, outputs, name="bn1", training_mode=int(in_training))
    return make_brightness_classifier(
        path,
        front=[node],
        constants={name: np.full(3, name in ("scale", "variance"), np.float32) for name in inputs[1:]},
    )


def test_batch_normalisation_in_evaluation_mode_is_taken(tmp_path: Path, engine: str) -> None:
    np.testing.assert_allclose(
        compile_and_run(make_normalised(tmp_path / "model.onnx"), engine), EXPECTED, rtol=1e-3
    )


@pytest.mark.parametrize("of", [*ENGINES, "constant"])
def test_batch_normalisation_in_training_mode_is_refused(tmp_path: Path, of: str) -> None:
    path = make_normalised(tmp_path / "model.onnx", in_training=True)
    assert "model.eval()" in refuse(path, of, "compute as during training, such as 'bn1'")


def test_batch_normalisation_of_old_opsets_in_training_mode_is_refused(tmp_path: Path, engine: str) -> None:
    path = make_normalised(tmp_path / "model.onnx", in_training=True)
    model = onnx.load(str(path))
    del model.graph.node[0].attribute[:]
    model.graph.node[0].output.extend(["saved_mean", "saved_variance"])
    model.opset_import[0].version = 13
    onnx.save(model, str(path))
    refuse(path, engine, "compute as during training")


@pytest.mark.parametrize("from_node", [False, True])
def test_dropout_in_training_mode_is_refused(tmp_path: Path, engine: str, from_node: bool) -> None:
    true = onnx.numpy_helper.from_array(np.array(True), "value")
    dropout = helper.make_node("Dropout", ["image", "ratio", "training"], ["pixels"])
    constant = helper.make_node("Constant", [], ["training"], value=true)
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[constant, dropout] if from_node else [dropout],
        constants={"ratio": np.float32(0.5)} | ({} if from_node else {"training": np.array(True)}),
    )
    refuse(path, engine, "compute as during training, such as 'Dropout'")


def test_a_batch_normalised_by_its_own_images_is_refused(tmp_path: Path, engine: str) -> None:
    """As a normalisation without running statistics is exported: plain operators over the batch."""
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        front=[
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0, 2, 3]),
            helper.make_node("Sub", ["image", "mean"], ["pixels"]),
        ],
    )
    assert "evaluation mode" in refuse(path, engine, "other logits in a batch of 2 than alone")


def test_a_network_that_draws_at_random_is_refused(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[
            helper.make_node("RandomNormalLike", ["logits"], ["noise"]),
            helper.make_node("Add", ["logits", "noise"], ["class"]),
        ],
    )
    refuse(path, engine, "other logits when it is run again")


def test_a_network_that_gives_two_rows_for_each_image_is_refused(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[helper.make_node("Concat", ["logits", "logits"], ["class"], axis=0)],
        outputs=[make_port("class", FLOAT, ["rows", 2])],
    )
    with pytest.raises(BadModelError):
        compile_and_run(path, engine)


def test_logits_that_are_not_numbers_are_left_to_the_evaluation(tmp_path: Path, engine: str) -> None:
    path = make_brightness_classifier(
        tmp_path / "model.onnx",
        back=[
            helper.make_node("Div", ["logits", "zero"], ["inf"]),
            helper.make_node("Sub", ["inf", "inf"], ["class"]),
        ],
        constants={"zero": np.float32(0)},
    )
    assert np.isnan(compile_and_run(path, engine)).all()
