"""Which kind a model file or folder is, by its content, and the way out of those that are not taken."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from assay.errors import BadModelError
from assay.models.inspection.form import recognise_form, refuse_unreadable


def write_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def write_torchscript(path: Path) -> Path:
    with pytest.warns(DeprecationWarning):
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    return path


def write_folder(path: Path, name: str, config: object) -> Path:
    path.mkdir()
    (path / name).write_text(json.dumps(config))
    return path


FORMS: dict[str, Callable[[Path], Path]] = {
    "TorchScript": write_torchscript,
    "torch.export archive": lambda path: write_zip(path, "m/models/model.json", "m/archive_format"),
    "Keras model": lambda path: write_zip(path, "config.json", "model.weights.h5"),
    "Keras HDF5 file": lambda path: write_bytes(path, b"\x89HDF\r\n\x1a\n"),
    "TFLite model": lambda path: write_bytes(path, b"\x20\0\0\0TFL3"),
    "TensorFlow SavedModel": lambda path: write_folder(path, "saved_model.pb", {}),
    "Hugging Face folder": lambda path: write_folder(path, "config.json", {"model_type": "vit"}),
    "timm folder": lambda path: write_folder(path, "config.json", {"architecture": "resnet18"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_content_tells_the_form(tmp_path: Path, form: str) -> None:
    assert recognise_form(FORMS[form](tmp_path / "model")) == form


@pytest.mark.parametrize("form", [form for form in FORMS if "folder" not in form])
def test_forms_that_are_not_taken_are_refused_with_the_way_to_one_that_is(tmp_path: Path, form: str) -> None:
    with pytest.raises(BadModelError, match=f"is a {form}") as caught:
        refuse_unreadable(tmp_path, form)
    assert "onnx" in caught.value.hint.casefold()


def test_a_checkpoint_of_tensors_and_a_whole_module_are_told_apart_without_loading_them(
    tmp_path: Path,
) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    for is_zip in (True, False):
        torch.save(network.state_dict(), tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
        torch.save(network, tmp_path / "m.pth", _use_new_zipfile_serialization=is_zip)
        assert recognise_form(tmp_path / "w.pth") == "checkpoint (state dict)"
        assert recognise_form(tmp_path / "m.pth") == "pickled PyTorch module"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS pointer"),
        (b"not a model", "is no model that assay knows"),
        (b"PK\x03\x04 and no more", "is no model that assay knows"),
    ],
)
def test_what_is_no_model_is_refused_in_one_message(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BadModelError, match=said):
        recognise_form(write_bytes(tmp_path / "model.pt", content))


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{// comment")
    with pytest.raises(BadModelError, match="cannot be read as JSON"):
        recognise_form(tmp_path)
