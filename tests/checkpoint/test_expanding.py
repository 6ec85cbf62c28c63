"""Small checkpoints that unpack to far more than they hold are refused before they take the memory."""

from __future__ import annotations

import collections
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from assay.checkpoint import read_weights
from assay.checkpoint.choose_weights import choose_weights, list_tensor_names
from assay.checkpoint.read_weights import FileFormat, read_content
from assay.errors import BadCheckpointError


class Calls:
    """Is pickled as a call of a function with arguments."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def refuse(path: Path, file_format: FileFormat = "torch zip") -> str:
    with pytest.raises(BadCheckpointError) as caught:
        read_content(path, file_format)
    return caught.value.message


def test_strides_that_repeat_one_element_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(60_000, 60_000)}, tmp_path / "a.pth")
    assert "14,400,000,000 bytes in a file of" in refuse(tmp_path / "a.pth")


def test_one_memory_under_many_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_weights, "SPARE_BYTES", 10_000)
    memory = torch.zeros(2**12)
    torch.save({f"{n}": memory[n:] for n in range(300)}, tmp_path / "a.pth")
    assert "bytes in a file of" in refuse(tmp_path / "a.pth")


def test_a_compressed_member_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_weights, "SPARE_BYTES", 10_000)
    torch.save({"a": torch.zeros(2**16)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as plain,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert "bytes in a file of" in refuse(tmp_path / "b.pth")


LONG = [None] * 3000


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [Calls(set, LONG) for _ in range(500)],
        lambda: [Calls(collections.Counter, LONG) for _ in range(500)],
        lambda: Calls(bytearray, 2**30),
        lambda: Calls(torch.Tensor, [LONG] * 3000),
    ],
    ids=["sets", "counters", "bytearray", "tensor of lists"],
)
def test_calls_that_multiply_what_the_pickle_holds_are_refused(
    make: Callable[[], object], legacy: bool, tmp_path: Path
) -> None:
    content = {"state_dict": {"a": torch.zeros(1)}, "beside": make()}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    assert "would unpack to" in refuse(tmp_path / "a.pth", "torch legacy" if legacy else "torch zip")


def test_a_range_beside_the_weights_takes_no_memory(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1), "b": Calls(list, range(2**40))}, tmp_path / "a.pth")
    content = read_content(tmp_path / "a.pth", "torch zip")
    assert isinstance(content, dict)
    assert content["a"].tolist() == [0.0]


def make_network() -> Iterator[tuple[str, torch.Tensor]]:
    yield from nn.Linear(2, 2).state_dict().items()


def test_dicts_that_hold_one_another_many_times_are_walked_once(tmp_path: Path) -> None:
    """Four levels of 3,000 names each: 8.1e13 ways through them."""
    inner: dict[str, object] = dict(make_network())
    for _ in range(4):
        inner = {f"{n}": inner for n in range(3000)}
    assert list_tensor_names(inner) == ["weight", "bias"] or list_tensor_names(inner) == []
    with pytest.raises(BadCheckpointError):
        choose_weights(inner, ["weight", "bias"], tmp_path / "a.pth")


def test_names_of_as_many_first_parts_are_sorted_out_in_one_pass(tmp_path: Path) -> None:
    tensor = torch.zeros(1)
    content = {f"{n}.a": tensor for n in range(20_000)}  # 4e8 comparisons, one part after the other
    chosen = choose_weights(content, ["a"], tmp_path / "a.pth", "7")
    assert list(chosen.tensors) == ["a"]
