from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from assay.diagnose.finding import RecordFinding
from assay.diagnose.label_maps import list_label_maps
from assay.diagnose.view import Change
from assay.images.classes import read_classes
from assay.images.label_files import LabelOptions
from assay.images.request import ImageRequest
from assay.images.sources import index_images
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord, OutputTensor
from assay.workflows.diagnose.diagnose import Correction, Diagnosis
from assay.workflows.diagnose.write import write_correction
from pattern_network import RECORD

FIVE = msgspec.structs.replace(RECORD, output=OutputTensor(name="class", class_count=5))


def take_photographs(folder: Path, labels: list[int]) -> ImageRequest:
    """Photographs 0.png, 1.png, …, their label file, and a request for one of them."""
    lines = []
    for number, label in enumerate(labels):
        Image.fromarray(np.full((9, 9, 3), 20 * number, np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png {label}\n")
    (folder / "labels.txt").write_text("".join(lines))
    return ImageRequest(path=folder, labels=LabelOptions(path=folder / "labels.txt", unbounded=True), limit=1)


def find_change(record: ModelRecord, old: int, new: int) -> Diagnosis:
    change = Change(factor="label_offset", old=old, new=new)
    found = RecordFinding(
        outcome="explained",
        changes=(change,),
        image_count=1,
        has_labels=True,
        before=None,
        after=None,
        paired=None,
    )
    return Diagnosis(model=record.name, record=found)


def test_labels_from_one_are_written_from_zero_for_every_image_of_the_data_set(tmp_path: Path) -> None:
    request = take_photographs(tmp_path, [1, 5, 3, 2])
    correction = Correction(record=FIVE, label_map=list_label_maps(6, FIVE.output).shift(-1))
    lines = write_correction(find_change(FIVE, 0, -1), correction, request, tmp_path / "fixed.toml")
    assert read_model_record(str(tmp_path / "fixed.toml")) == FIVE
    written = LabelOptions(path=tmp_path / "fixed.labels.csv")
    index = index_images(tmp_path, read_classes(FIVE), written)
    assert {image.name: image.label for image in index.images} == {
        "0.png": 0,
        "1.png": 4,
        "2.png": 2,
        "3.png": 1,
    }
    assert "give it with --labels" in lines[1]


def test_an_offset_that_a_record_can_hold_goes_into_the_record_alone(tmp_path: Path) -> None:
    request = take_photographs(tmp_path, [0, 3])
    correction = Correction(record=FIVE, label_map=list_label_maps(5, FIVE.output).shift(1))
    lines = write_correction(find_change(FIVE, 0, 1), correction, request, tmp_path / "fixed.toml")
    assert len(lines) == 1
    assert read_model_record(str(tmp_path / "fixed.toml")).output.label_offset == 1


def test_images_of_which_the_order_does_not_tell_the_class_are_left_out_and_counted(tmp_path: Path) -> None:
    request = take_photographs(tmp_path, [0, 3])
    correction = Correction(record=FIVE, label_map=list_label_maps(5, FIVE.output).shift(-1))
    lines = write_correction(find_change(FIVE, 0, -1), correction, request, tmp_path / "fixed.toml")
    with (tmp_path / "fixed.labels.csv").open() as file:
        assert list(csv.reader(file)) == [["name", "label"], ["1.png", "2"]]
    assert "without 1 of which" in lines[1]
