"""Which kind of model file or folder this is, by its content; no code of it runs."""

from __future__ import annotations

import io
import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

from assay.errors import BadModelError, blame_file
from assay.models.onnx_file import check_onnx_path

ONNX, OPENVINO_IR = "ONNX", "OpenVINO IR"
STATE_DICT, SAFETENSORS = "checkpoint (state dict)", "checkpoint (safetensors)"
HUGGING_FACE, TIMM_FOLDER = "Hugging Face folder", "timm folder"
TORCHSCRIPT, WHOLE_MODULE, EXPORTED = "TorchScript", "pickled PyTorch module", "torch.export archive"
KERAS, KERAS_H5, SAVED_MODEL, TFLITE = (
    "Keras model",
    "Keras HDF5 file",
    "TensorFlow SavedModel",
    "TFLite model",
)
_RUNS_CODE = "it would run code when it is loaded, so assay does not load it"
_HOW = {
    TORCHSCRIPT: (
        _RUNS_CODE,
        "where you trust the file: torch.onnx.export(torch.jit.load(FILE).eval(), (image,), 'model.onnx', "
        "dynamo=False), in your own Python",
    ),
    WHOLE_MODULE: (
        _RUNS_CODE,
        "where you trust the file, save its weights alone: torch.save(torch.load(FILE, weights_only=False)"
        ".state_dict(), 'weights.pth'), or export it to ONNX, in your own Python",
    ),
    EXPORTED: (
        "assay does not read this form",
        "export it: torch.onnx.export(torch.export.load(FILE).module(), (image,), 'model.onnx', dynamo=True)",
    ),
    KERAS: ("assay does not read this form", "export it: model.export('model.onnx', format='onnx') in Keras"),
    KERAS_H5: (
        "assay does not read this form",
        "export it: model.export('model.onnx', format='onnx') in Keras",
    ),
    SAVED_MODEL: (
        "assay does not read this form",
        "export it: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx",
    ),
    TFLITE: (
        "assay does not read this form",
        "export it: python -m tf2onnx.convert --tflite FILE --output model.onnx",
    ),
}
_MAX_PICKLE_BYTES = 2**26
_PICKLES = 5  # in a file of torch before 1.6: its version, the machine, the object, the storages
_MODULE_PACKAGES = (
    "torch.nn.modules.",
    "torch.nn.parallel.",
    "torch.fx.",
    "timm.",
    "torchvision.models.",
    "transformers.",
)


def recognise_form(path: Path) -> str:
    """What the file or folder is, by its content.

    Raises:
        BadModelError: It does not exist, or is nothing that is known here.
    """
    if not path.exists():
        raise BadModelError(f"{path} does not exist")
    form = _recognise_folder(path) if path.is_dir() else _recognise_file(path)
    if form:
        return form
    raise BadModelError(
        f"{path} is no model that assay knows",
        hint="expected an ONNX file, OpenVINO IR (.xml beside its .bin), a checkpoint (.pth, .safetensors), "
        "or a folder as Hugging Face and timm write it",
    )


def refuse_unreadable(path: Path, form: str) -> None:
    """Refuse forms that assay cannot take, with the safe way out of them.

    Raises:
        BadModelError: It is one of those.
    """
    if form in _HOW:
        reason, hint = _HOW[form]
        raise BadModelError(f"{path} is a {form}: {reason}", hint=hint)


def _recognise_folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return SAVED_MODEL
    config = read_json_file(path / "config.json")
    if config is None:
        return ""
    return TIMM_FOLDER if "pretrained_cfg" in config or "architecture" in config else HUGGING_FACE


def read_json_file(path: Path) -> dict[str, object] | None:
    """The JSON object in a file; None where there is no file.

    Raises:
        BadModelError: It holds no JSON object.
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadModelError(f"{path}: expected a JSON object")
    return found


def _recognise_file(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise BadModelError(f"{path} is empty", hint="download or export it again")
    if head.startswith(b"version https://git-lfs"):
        raise BadModelError(f"{path} is a git-LFS pointer, not the model", hint="run `git lfs pull`")
    if path.suffix.lower() == ".onnx":
        check_onnx_path(path)
        return ONNX
    if head[4:8] == b"TFL3":
        return TFLITE
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return KERAS_H5
    if _is_zip(path):
        return _recognise_zip(path)
    if head[:1] == b"<" or path.suffix.lower() == ".xml":
        return OPENVINO_IR if b"<net" in head else ""
    if path.suffix.lower() == ".safetensors" or (len(head) > 9 and head[8:9] == b"{"):
        return SAFETENSORS
    if path.suffix.lower() in {".pth", ".pt", ".bin", ".tar", ".ckpt"} and head[:1] == b"\x80":
        with path.open("rb") as file:
            return WHOLE_MODULE if _holds_module(file.read(_MAX_PICKLE_BYTES)) else STATE_DICT
    return ""


def _is_zip(path: Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # of several disks, says the file: not of this one
        return False


def _recognise_zip(path: Path) -> str:
    with (
        blame_file(BadModelError, f"{path} cannot be read as a zip archive", hint="copy it again"),
        zipfile.ZipFile(path) as archive,
    ):
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl") or name == "data.pkl"]
        content = b""
        if pickles:
            with archive.open(pickles[0]) as file:  # never more of it than a pickle has
                content = file.read(_MAX_PICKLE_BYTES)
    if any("/code/__torch__/" in f"/{name}" for name in names):
        return TORCHSCRIPT
    if any(name.endswith(("models/model.json", "archive_format")) for name in names):
        return EXPORTED
    if any(name.endswith("model.weights.h5") for name in names):
        return KERAS
    if pickles:
        return WHOLE_MODULE if _holds_module(content) else STATE_DICT
    return ""


def _holds_module(content: bytes) -> bool:
    """Whether a pickle, which is read and not run, names classes of layers; a damaged one does not."""
    try:
        stream = io.BytesIO(content)
        return any(
            name.startswith(_MODULE_PACKAGES) for _ in range(_PICKLES) for name in _list_globals(stream)
        )
    except (ValueError, IndexError, KeyError, EOFError, UnicodeDecodeError, AttributeError):
        return False


def _list_globals(content: io.BytesIO) -> Iterator[str]:
    """Yield what the next pickle would import, as `module name`."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in {"GLOBAL", "INST"}:
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(texts[-2:])
        elif isinstance(argument, str) and "UNICODE" in opcode.name:
            texts.append(argument)
        elif opcode.name == "STOP":
            return
