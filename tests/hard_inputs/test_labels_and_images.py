"""Cases 77 to 83: labels and images that do not fit each other, and what comes out of the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assay.errors import BadImagesError
from assay.images.classes import IMAGENET_CLASSES
from assay.images.label_files import LabelOptions, read_label_file
from assay.images.listing import LabelledImage
from assay.images.preprocessed_image import PreprocessedImage
from assay.images.real_labels import read_real_labels
from assay.images.sources import index_images
from assay.inference.predictions import Prediction, make_predictions
from assay.measure.accuracy.accuracy import measure_accuracy, measure_real_accuracy
from conftest import RunAssay

MakeSource = Callable[..., LabelledImage]
PIXELS = np.zeros((3, 2, 2), dtype=np.float32)


def make_folder(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


def predict(*rows: list[float]) -> list[Prediction]:
    batch = [
        PreprocessedImage(
            source=LabelledImage(relative_path=f"{n}", label=0, size_bytes=1, read_bytes=bytes), image=PIXELS
        )
        for n, _ in enumerate(rows)
    ]
    return make_predictions(batch, np.array(rows, dtype=np.float32), keep_logits=False)


def test_case_77_images_without_label_and_labels_without_image_are_named(tmp_path: Path) -> None:
    images = make_folder(tmp_path / "images", "a.JPEG", "b.JPEG", "c.JPEG")
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{name}.JPEG 1\n" for name in "axyzuvw"))
    index = index_images(images, IMAGENET_CLASSES, LabelOptions(path=labels))
    assert [image.label for image in index.images] == [1, None, None]
    assert index.notes == (
        "2 images have no label, are not scored: b.JPEG, c.JPEG",
        "6 labels have no image: x.JPEG, y.JPEG, z.JPEG, u.JPEG, v.JPEG and 1 more",
    )


def test_case_77_an_image_without_label_is_no_part_of_the_scored(
    run_assay: RunAssay, photographs: Path, colour_onnx: Path, tmp_path: Path
) -> None:
    run_assay("compile", colour_onnx, tmp_path / "compiled", "--engine", "constant")
    (photographs / "cat.JPEG").write_bytes(sorted(photographs.iterdir())[0].read_bytes())
    command = ["evaluate", tmp_path / "compiled", "--images", photographs, "-o", tmp_path / "run"]
    done = run_assay(*command, "--json")
    assert done.returncode == 3, done.stderr
    accuracy = json.loads(done.stdout)["accuracy"]
    assert (accuracy["image_count"], accuracy["scored_count"]) == (13, 12)
    assert accuracy["failures"] == {"no label": 1}


def test_case_78_the_limit_on_label_files_can_be_moved(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("a.JPEG 1\n" * 100)
    with pytest.raises(BadImagesError, match="has 900 bytes, over 500: is it one"):
        read_label_file(path, IMAGENET_CLASSES, LabelOptions(max_bytes=500))


@pytest.mark.parametrize("content", ["ILSVRC2012_val_00000001.JPEG 65\n", "a.JPEG,1\nb.JPEG,2\n"])
def test_case_79_a_label_file_given_as_images_is_named_as_swapped(tmp_path: Path, content: str) -> None:
    (tmp_path / "labels.txt").write_text(content)
    with pytest.raises(BadImagesError, match=r"looks like a label file; .*\n  give the images with --images"):
        index_images(tmp_path / "labels.txt", IMAGENET_CLASSES)


@pytest.fixture
def real_json(tmp_path: Path) -> Path:
    """ReaL labels of 50,000 images: the first two, none for the third, and class 9 for all others."""
    path = tmp_path / "real.json"
    path.write_text(json.dumps([[65, 66], [970], [], *([[9]] * 49_997)]))
    return path


def test_case_80_real_labels_score_by_sets_and_leave_out_images_without(real_json: Path) -> None:
    def predict_one(number: int, *top: int) -> Prediction:
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        return Prediction(name=name, relative_path=name, label=0, status="ok", top_classes=top)

    predictions = [predict_one(1, 66, 1), predict_one(2, 3, 4, 970), predict_one(3, 0), predict_one(4, 1, 2)]
    real = measure_real_accuracy(predictions, read_real_labels(real_json))
    assert real is not None
    assert (real.excluded_count, real.accuracy.image_count) == (1, 3)
    assert (real.accuracy.top1.hits, real.accuracy.top3.hits, real.accuracy.top5.hits) == (1, 2, 2)


def test_case_80_an_image_with_a_real_label_alone_is_scored_and_a_failed_one_is_wrong(
    real_json: Path,
) -> None:
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2)]
    predictions = [
        Prediction(name=names[0], relative_path="1", label=None, status="no label", top_classes=(66,)),
        Prediction(name=names[1], relative_path="2", label=970, status="not decodable"),
    ]
    real = measure_real_accuracy(predictions, read_real_labels(real_json))
    assert real is not None
    assert (real.accuracy.image_count, real.accuracy.scored_count, real.accuracy.top1.hits) == (2, 1, 1)
    assert (real.accuracy.top1.percent, real.accuracy.top1.percent_of_scored) == (50, 100)


def test_case_80_images_of_other_names_have_no_real_labels(real_json: Path) -> None:
    prediction = Prediction(name="cat.JPEG", relative_path="cat.JPEG", label=0, status="ok", top_classes=(9,))
    assert measure_real_accuracy([prediction], read_real_labels(real_json)) is None


@pytest.mark.parametrize("content", ["[[1]]", "{}", "[1, 2]", "", "[[1000]]"])
def test_case_80_a_file_of_another_length_or_kind_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(BadImagesError, match=r"expected real\.json"):
        read_real_labels(tmp_path / "real.json")


def test_case_80_real_labels_given_as_labels_are_pointed_at_their_option(real_json: Path) -> None:
    with pytest.raises(BadImagesError, match="--real-labels scores by them"):
        read_label_file(real_json, IMAGENET_CLASSES)


def test_case_80_on_the_command_line(
    run_assay: RunAssay, photographs: Path, colour_onnx: Path, real_json: Path, tmp_path: Path
) -> None:
    run_assay("compile", colour_onnx, tmp_path / "compiled", "--engine", "constant")
    command = ["evaluate", tmp_path / "compiled", "--images", photographs, "-o", tmp_path / "run"]
    done = run_assay(*command, "--real-labels", real_json)
    assert done.returncode == 0, done.stderr
    assert "ReaL Top-1  0 of 11" in done.stdout
    assert "left out of these two: 1" in done.stdout
    assert "ReaL Top-1  0 of 11" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_case_81_logits_that_are_not_finite_are_a_failure(value: float) -> None:
    (prediction,) = predict([1.0, value, 0.0])
    assert (prediction.status, prediction.top_classes) == ("logits are not finite", ())


def test_case_81_ties_rank_by_class() -> None:
    (prediction,) = predict([1.0, 2.0, 2.0, 2.0, 1.0, 1.0])
    assert prediction.top_classes == (1, 2, 3, 0, 4)


def test_case_82_another_number_of_outputs_is_refused_when_compiling(
    run_assay: RunAssay, colour_onnx: Path, lite0_toml: Path, tmp_path: Path
) -> None:
    record = tmp_path / "other.toml"
    record.write_text(lite0_toml.read_text().replace("class_count = 1000", "class_count = 1001"))
    done = run_assay("compile", colour_onnx, tmp_path / "compiled", "--model", record)
    assert done.returncode == 5
    assert "output" in done.stderr


def test_case_83_failed_images_take_no_row_and_padding_none() -> None:
    source = LabelledImage(relative_path="a", label=1, size_bytes=1, read_bytes=bytes)
    batch = [
        PreprocessedImage(source=source, image=PIXELS),
        PreprocessedImage(source=source, image=None, status="bad"),
        PreprocessedImage(source=source, image=PIXELS),
    ]
    logits = np.array([[0, 1], [1, 0]], dtype=np.float32)
    predictions = make_predictions(batch, logits, keep_logits=False)
    assert [row.top_classes for row in predictions] == [(1, 0), (), (0, 1)]
    assert measure_accuracy(predictions).top1.hits == 1
    with pytest.raises(ValueError, match="a row of logits for each of 2 images, found 3"):
        make_predictions(batch, np.zeros((3, 2), dtype=np.float32), keep_logits=False)
