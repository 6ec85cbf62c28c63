"""`assay models`: what is known by name."""

from __future__ import annotations

import json
from pathlib import Path

import assay
from assay.models.read_record import read_model_record
from conftest import RunAssay


def test_a_word_shows_ours_timms_and_the_originals_with_their_published_accuracy(run_assay: RunAssay) -> None:
    done = run_assay("models", "se_resnext")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if " 224 " in line}
    assert rows["se_resnext50_32x4d"] == ["224", "79.08", "94.43"]
    assert rows["timm/legacy_seresnext50_32x4d.in1k"] == ["224", "79.08", "94.43"]
    assert rows["ascend/SE-ResNeXt50_32x4d"] == ["224", "79.05", "94.44"]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_without_a_word_the_models_are_counted_by_source(run_assay: RunAssay) -> None:
    done = run_assay("models")
    assert done.returncode == 0, done.stderr
    assert "1,826" in done.stdout
    assert "se_resnext50_32x4d" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_document_holds_what_python_gives(run_assay: RunAssay) -> None:
    done = run_assay("models", "volo", "--json")
    models = json.loads(done.stdout)["models"]
    assert [model["name"] for model in models] == [entry.name for entry in assay.list_models("volo")]
    assert models[-1]["published_accuracy"][0]["top1_percent"] == 82.532


def test_a_record_is_shown_and_written_and_can_be_given_again(run_assay: RunAssay, tmp_path: Path) -> None:
    shown = run_assay("models", "torchvision/resnet50", "--toml")
    assert shown.returncode == 0, shown.stderr
    done = run_assay("models", "torchvision/resnet50", "-o", tmp_path / "record.toml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "record.toml").read_text() == shown.stdout
    assert read_model_record(str(tmp_path / "record.toml")) == read_model_record("torchvision/resnet50")


def test_what_is_not_there_is_refused_and_nothing_is_written(run_assay: RunAssay, tmp_path: Path) -> None:
    assert run_assay("models", "no_such_word").returncode == 2
    assert run_assay("models", "--toml").returncode == 2
    done = run_assay("models", "timm/vit_small_patch14_dinov2.lvd142m", "-o", tmp_path / "record.toml")
    assert done.returncode == 5
    assert "without a classifier" in done.stderr
    assert not (tmp_path / "record.toml").exists()


def test_weights_on_the_hub_are_not_fetched_but_the_command_that_does_is_said(run_assay: RunAssay) -> None:
    done = run_assay("fetch", "timm/resnet18")
    assert done.returncode == 5
    assert "hf download timm/resnet18.a1_in1k model.safetensors" in done.stderr
    assert "--model timm/resnet18.a1_in1k" in done.stderr
