"""Models found by a word of their names; every one of them is a record that can be written, or refused."""

from __future__ import annotations

from pathlib import Path

from assay.models.find_models import find_models
from assay.models.read_record import read_model_record
from assay.models.write_record import write_record_toml


def test_case_and_signs_between_letters_make_no_difference() -> None:
    found = [entry.name for entry in find_models("se_resnext")]
    assert found == [entry.name for entry in find_models("SE-ResNeXt")]
    assert found[0] == "se_resnext50_32x4d"
    assert {"timm/legacy_seresnext50_32x4d.in1k", "ascend/SE-ResNeXt50_32x4d"} < set(found)


def test_all_models_are_found_without_a_word() -> None:
    entries = find_models("")
    counts = [
        sum(entry.source == source for entry in entries)
        for source in ("assay", "torchvision", "timm", "ascend")
    ]
    assert counts == [1, 129, 1826, 97]
    assert len({entry.name for entry in entries}) == len(entries)


def test_every_record_comes_back_from_toml_as_it_was(tmp_path: Path) -> None:
    path, written = tmp_path / "record.toml", 0
    for entry in find_models(""):
        if entry.refused:
            continue
        record = read_model_record(entry.name)
        path.write_text(write_record_toml(record), encoding="utf-8")
        assert read_model_record(str(path)) == record
        written += 1
    assert written == 1 + 128 + 1441 + 81


def test_a_model_without_a_record_says_why() -> None:
    (entry,) = find_models("vgg16:IMAGENET1K_FEATURES")
    assert (entry.height, entry.published_accuracy) == (None, ())
    assert "no trained classifier" in entry.refused
