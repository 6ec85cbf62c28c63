"""Checkpoints with several sets of weights, with harmless company, and the advice for those refused."""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import os
import pathlib
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from assay.checkpoint.load import load_checkpoint
from assay.checkpoint.network import ARCHITECTURES
from assay.errors import BadCheckpointError
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord

Weights = dict[str, Tensor]
Save = Callable[..., Path]


class SmallNetwork(nn.Module):
    """Which weights of a file are taken does not hang on the network: this one is built in no time."""

    def __init__(self, class_count: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.last_linear = nn.Linear(4, class_count)

    def forward(self, images: Tensor) -> Tensor:
        return self.last_linear(self.bn1(self.conv1(images)).mean(dim=(2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def record() -> Iterator[ModelRecord]:
    published = read_model_record("se_resnext50_32x4d")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "small", SmallNetwork)
        yield msgspec.structs.replace(published, architecture="small")


@pytest.fixture(scope="module")
def thin_weights() -> Weights:
    torch.manual_seed(1)
    return SmallNetwork(1000).state_dict()


@pytest.fixture(scope="module")
def average(thin_weights: Weights) -> Weights:
    """The same names with zeros: not the plain weights."""
    return {key: torch.zeros_like(tensor) for key, tensor in thin_weights.items()}


def is_average(path: Path, record: ModelRecord, key: str | None = None) -> bool:
    network = load_checkpoint(path, record, key).network
    return not network.state_dict()["last_linear.bias"].any()


def refuse(path: Path, record: ModelRecord, key: str | None = None) -> BadCheckpointError:
    with pytest.raises(BadCheckpointError) as caught:
        load_checkpoint(path, record, key)
    return caught.value


# Several sets of weights.


@pytest.mark.parametrize("other", ["state_dict_ema", "model_ema", "ema", "teacher", "shadow params"])
def test_the_plain_weights_are_taken_and_the_other_set_is_named_and_can_be_chosen(
    other: str, thin_weights: Weights, average: Weights, save: Save, record: ModelRecord
) -> None:
    path = save({other: average, "state_dict": thin_weights, "epoch": 3})
    checkpoint = load_checkpoint(path, record)
    assert (checkpoint.weights_key, checkpoint.other_keys) == ("state_dict", (other,))
    assert not is_average(path, record)
    assert is_average(path, record, other)
    assert load_checkpoint(path, record, other).other_keys == ("state_dict",)


def test_a_set_inside_another_dict_is_chosen_by_keys_with_dots(
    thin_weights: Weights, average: Weights, save: Save, record: ModelRecord
) -> None:
    path = save({"model": {"state_dict": thin_weights}, "ema": {"module": average, "decay": 0.999}})
    assert load_checkpoint(path, record).weights_key == "model.state_dict"
    assert is_average(path, record, "ema.module")


def test_a_set_in_a_flat_file_is_chosen_by_the_first_part_of_its_names(
    thin_weights: Weights, average: Weights, save: Save, record: ModelRecord
) -> None:
    """As Lightning writes a module that holds the network and its average."""
    flat = {f"net.{key}": tensor for key, tensor in thin_weights.items()}
    flat |= {f"net_ema.{key}": tensor for key, tensor in average.items()}
    path = save({"state_dict": flat})
    error = refuse(path, record)
    assert "several sets of weights" in error.message
    assert error.hint == "--weights-key state_dict.net or --weights-key state_dict.net_ema"
    assert not is_average(path, record, "state_dict.net")
    assert is_average(path, record, "state_dict.net_ema")


def test_the_only_set_is_found_under_any_key(thin_weights: Weights, save: Save, record: ModelRecord) -> None:
    path = save({"classifier weights": thin_weights, "optimizer": {"state": {0: {"step": torch.ones(1)}}}})
    assert load_checkpoint(path, record).weights_key == "classifier weights"


def test_sets_under_unknown_keys_are_not_chosen_between(
    thin_weights: Weights, average: Weights, save: Save, record: ModelRecord
) -> None:
    path = save({"a": thin_weights, "b": average})
    assert refuse(path, record).hint == "--weights-key a or --weights-key b"
    assert is_average(path, record, "b")


def test_a_key_that_is_not_there_is_refused_with_those_that_are(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    error = refuse(save({"state_dict": thin_weights}), record, "ema")
    assert "nothing is at the key 'ema'" in error.message
    assert error.hint == "--weights-key state_dict"


def test_a_key_of_something_else_than_weights_is_refused(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    error = refuse(save({"state_dict": thin_weights, "epoch": 3}), record, "epoch")
    assert "expected a state_dict, found int" in error.message


def test_the_counter_of_an_averaged_model_is_passed_over(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    averaged = {f"module.{key}": tensor for key, tensor in thin_weights.items()}
    assert not is_average(save({"n_averaged": torch.tensor(5), **averaged}), record)


# Harmless company.


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "company",
    [
        argparse.Namespace(lr=0.1, output=pathlib.Path("/tmp/run"), nested=argparse.Namespace(a=1)),
        types.SimpleNamespace(lr=0.1),
        np.float64(79.07),
        np.float32(0.5),
        np.int64(3),
        np.bool_(True),
        np.arange(3.0),
        np.array(["a", "b"]),
        np.datetime64("2024-01-01T00:00:00"),
        pathlib.PurePosixPath("/tmp"),
        pathlib.PureWindowsPath("C:/run"),
        datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        datetime.date(2024, 1, 1),
        datetime.timedelta(days=1),
        collections.OrderedDict(a=1),
        collections.defaultdict(list, {1: [2]}),
        collections.Counter("aab"),
        {1, 2},
        range(3),
        torch.device("cpu"),
        torch.float16,
    ],
    ids=lambda company: type(company).__name__,
)
def test_harmless_values_beside_the_weights_do_not_stop_it(
    company: object, legacy: bool, thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    path = save({"args": company, "state_dict": thin_weights}, legacy=legacy)
    assert load_checkpoint(path, record).weights_key == "state_dict"


class CallsHarmless:
    """Asks for a call of a function with arguments of the file's choice, when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, os.system, eval, getattr, __import__, np.load, np.fromfile])
def test_nothing_that_does_something_became_harmless(
    function: object, thin_weights: Weights, save: Save, record: ModelRecord, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    content = {"args": argparse.Namespace(a=CallsHarmless(function, str(trap))), "state_dict": thin_weights}
    assert "wants to run code" in refuse(save(content), record).message
    assert not trap.exists()


def test_a_factory_of_a_harmless_dict_cannot_be_any_function(
    thin_weights: Weights, save: Save, record: ModelRecord
) -> None:
    content = {"args": collections.defaultdict(os.getcwd), "state_dict": thin_weights}
    assert "getcwd" in refuse(save(content), record).message


# The advice that is printed.


class Config:
    """A class of a training script."""


class Network(nn.Module):
    """A pickled network, of the shapes that the record's has."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.weights = weights

    def state_dict(self, *_: object, **__: object) -> Weights:  # type: ignore[override]
        return self.weights


def read_advice(error: BadCheckpointError) -> str:
    """The Python line of the hint."""
    return error.hint[error.hint.index("import torch") :]


def follow_advice(error: BadCheckpointError, folder: Path) -> Path:
    """Run the Python line of the hint where the file's classes are installed."""
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(read_advice(error), {})
    return folder / "NEW_FILE.pth"


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("form", ["beside", "flat", "network", "wrapped network", "ema"])
def test_the_advice_for_a_refused_file_makes_one_that_is_read(
    form: str, legacy: bool, thin_weights: Weights, save: Save, record: ModelRecord, tmp_path: Path
) -> None:
    network = Network(dict(thin_weights))
    contents: dict[str, object] = {
        "beside": {"config": Config(), "state_dict": thin_weights},
        "flat": {"config": Config(), **thin_weights},
        "network": network,
        "wrapped network": {"config": Config(), "model": network, "layer": nn.Linear(1, 1)},
        "ema": {"config": Config(), "epoch": 3, "ema": thin_weights},
    }
    error = refuse(save(contents[form], legacy=legacy), record)
    assert not is_average(follow_advice(error, tmp_path), record)


def test_the_advice_is_a_line_for_a_users_own_python(
    thin_weights: Weights, save: Save, record: ModelRecord, tmp_path: Path
) -> None:
    content = {"config": Config(), "model": Network(dict(thin_weights)), "layer": nn.Linear(1, 1)}
    error = refuse(save(content), record)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", read_advice(error)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not is_average(tmp_path / "NEW_FILE.pth", record)


def test_the_advice_for_a_newer_pickle_protocol_works(
    thin_weights: Weights, save: Save, record: ModelRecord, tmp_path: Path
) -> None:
    error = refuse(save(thin_weights, pickle_protocol=4), record)
    assert not is_average(follow_advice(error, tmp_path), record)


def test_the_advice_for_a_torchscript_program_works(tmp_path: Path, record: ModelRecord) -> None:
    path = tmp_path / "scripted.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and files of it are still about
        torch.jit.script(SmallNetwork(1000)).save(str(path))
    error = refuse(path, record)
    assert "TorchScript" in error.message
    assert not is_average(follow_advice(error, tmp_path), record)
