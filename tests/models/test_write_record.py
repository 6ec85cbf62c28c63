"""A record written as TOML is the same record when it is read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from assay.models.read_record import list_model_names, read_model_record
from assay.models.record import ModelRecord
from assay.models.write_record import write_record_toml


def read_back(record: ModelRecord, folder: Path) -> ModelRecord:
    path = folder / "record.toml"
    path.write_text(write_record_toml(record), encoding="utf-8")
    return read_model_record(str(path))


@pytest.mark.parametrize("name", list_model_names())
def test_a_record_of_assays_own_is_the_same_after_writing_and_reading(name: str, tmp_path: Path) -> None:
    record = read_model_record(name)
    assert read_back(record, tmp_path) == record


def test_text_with_quotes_controls_and_other_scripts_comes_back(
    se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    names = tuple(f'{number} "a"\\ \n\t\x7f\x00 Straße 猫' for number in range(1000))
    output = msgspec.structs.replace(se_resnext50.output, class_names=names, name="")
    record = msgspec.structs.replace(se_resnext50, output=output)
    assert read_back(record, tmp_path) == record


def test_small_and_whole_numbers_come_back(lite0_record: ModelRecord, tmp_path: Path) -> None:
    preprocessing = msgspec.structs.replace(lite0_record.preprocessing, mean=(1e-05, 0.0, 1 / 3))
    record = msgspec.structs.replace(lite0_record, preprocessing=preprocessing)
    assert read_back(record, tmp_path) == record


def test_options_of_an_architecture_come_back(se_resnext50: ModelRecord, tmp_path: Path) -> None:
    options = {"transform_input": True, "depths": [1, 2], "odd key": {"a": 1.5}, "act": "gelu"}
    record = msgspec.structs.replace(se_resnext50, architecture_options=options)
    assert read_back(record, tmp_path) == record
