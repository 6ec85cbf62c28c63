from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import UsageError
from assay.files import (
    hash_file,
    is_unfinished,
    make_temporary_folder,
    refuse_same_file,
    write_file,
    write_folder_in_place_of,
    write_in_place_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one old file."""
    folder = tmp_path / "result"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    return folder


def list_tree(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@given(content=st.binary() | st.integers(0, 3_000_000).map(bytes))
def test_the_hash_of_a_file_is_that_of_its_bytes(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(content)
    assert hash_file(path) == hashlib.sha256(content).hexdigest()


def test_a_file_is_written_into_folders_that_are_made(tmp_path: Path) -> None:
    write_file(tmp_path / "a" / "b" / "c.json", b"content")
    assert list_tree(tmp_path) == {"a/b/c.json": b"content"}


def test_a_file_of_that_name_is_replaced(folder: Path) -> None:
    write_file(folder / "old", b"new")
    assert list_tree(folder) == {"old": b"new"}


def test_the_old_file_stands_until_the_new_one_is_whole(folder: Path) -> None:
    with write_in_place_of(folder / "old") as temporary:
        temporary.write_bytes(b"new")
        assert (folder / "old").read_bytes() == b"old"
        assert is_unfinished(temporary.name)
        assert temporary.parent == folder  # a rename between file systems would not be whole or nothing
    assert list_tree(folder) == {"old": b"new"}


@pytest.mark.parametrize("name", ["old", "new"])
def test_a_block_that_raises_leaves_the_files_as_they_were(folder: Path, name: str) -> None:
    with pytest.raises(ZeroDivisionError), write_in_place_of(folder / name) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert list_tree(folder) == {"old": b"old"}


@pytest.mark.parametrize("write", [write_in_place_of, write_folder_in_place_of])
def test_a_block_that_raises_leaves_no_folder_that_was_made_for_it(
    tmp_path: Path, write: Callable[[Path], AbstractContextManager[Path]]
) -> None:
    (tmp_path / "here").mkdir()
    with pytest.raises(ZeroDivisionError), write(tmp_path / "here" / "made" / "too" / "result"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_block_that_writes_nothing_leaves_the_old_file(folder: Path) -> None:
    with pytest.raises(FileNotFoundError), write_in_place_of(folder / "old"):
        pass
    assert list_tree(folder) == {"old": b"old"}


def test_a_killed_process_leaves_the_old_file_and_an_unfinished_one(folder: Path) -> None:
    code = (
        "import os, pathlib, sys, assay.files\n"
        "with assay.files.write_in_place_of(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder / "old"], check=False, timeout=60)
    assert done.returncode == 9
    assert (folder / "old").read_bytes() == b"old"
    (left,) = (file for file in folder.iterdir() if file.name != "old")
    assert is_unfinished(left.name)


def test_a_folder_is_replaced_whole(folder: Path) -> None:
    with write_folder_in_place_of(folder) as temporary:
        (temporary / "new").write_bytes(b"new")
        assert list_tree(folder) == {"old": b"old"}
        assert is_unfinished(temporary.name)
    assert list_tree(folder.parent) == {"result/new": b"new"}


def test_a_folder_is_made_where_there_was_none(tmp_path: Path) -> None:
    with write_folder_in_place_of(tmp_path / "a" / "result") as temporary:
        (temporary / "new").write_bytes(b"new")
    assert list_tree(tmp_path) == {"a/result/new": b"new"}


def test_a_block_that_raises_leaves_the_folder_as_it_was(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), write_folder_in_place_of(folder) as temporary:
        (temporary / "new").write_bytes(b"half")
        raise ZeroDivisionError
    assert list_tree(folder.parent) == {"result/old": b"old"}


@pytest.mark.parametrize(
    ("name", "unfinished"),
    [(".a.json.17.part", True), ("a.part", False), (".a", False), ("a.json", False)],
)
def test_only_hidden_names_with_the_suffix_are_unfinished(name: str, unfinished: bool) -> None:
    assert is_unfinished(name) is unfinished


@pytest.mark.parametrize(
    "spelling",
    ["model.onnx", "./model.onnx", "folder/../model.onnx", "link.onnx", "hard.onnx", "linked/model.onnx"],
)
def test_an_output_that_is_the_input_is_refused_however_it_is_spelled(tmp_path: Path, spelling: str) -> None:
    model = tmp_path / "real" / "model.onnx"
    (tmp_path / "real" / "folder").mkdir(parents=True)
    model.write_bytes(b"weights")
    (tmp_path / "real" / "link.onnx").symlink_to("model.onnx")
    (tmp_path / "real" / "hard.onnx").hardlink_to(model)
    (tmp_path / "real" / "linked").symlink_to(tmp_path / "real")
    with pytest.raises(UsageError, match="is the input"):
        refuse_same_file(tmp_path / "real" / spelling, model)


def test_an_output_beside_the_input_is_taken(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    refuse_same_file(tmp_path / "other.onnx", tmp_path / "model.onnx", None)
    refuse_same_file(tmp_path / "folder", tmp_path / "model.onnx")


def test_a_folder_that_holds_the_input_is_refused_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "model.onnx").write_bytes(b"weights")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    for output in (tmp_path / "out", tmp_path / "link"):
        with pytest.raises(UsageError, match="holds the input"):
            refuse_same_file(output, tmp_path / "out" / "deep" / "model.onnx")


def test_an_input_that_is_not_there_is_compared_by_its_path(tmp_path: Path) -> None:
    refuse_same_file(tmp_path / "a.onnx", tmp_path / "b.onnx")
    with pytest.raises(UsageError):
        refuse_same_file(tmp_path / "a.onnx", tmp_path / "x" / ".." / "a.onnx")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that this process takes for the system's temporary one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_temporary_folder_is_empty_and_goes_with_the_block(temporary: Path) -> None:
    with make_temporary_folder("parity") as folder:
        assert list(folder.iterdir()) == []
        assert folder.parent.name.startswith("assay-parity-")
        assert folder.parent.parent == temporary
    with pytest.raises(ValueError, match="mine"), make_temporary_folder("parity") as folder:
        (folder / "file").touch()
        raise ValueError("mine")
    assert list(temporary.iterdir()) == []


def test_a_killed_processs_temporary_folder_goes_with_the_next_and_one_in_use_stays(temporary: Path) -> None:
    kill = "import os; from assay.files import make_temporary_folder as make\n"
    kill += f"with make('x') as folder: (folder / 'a').touch(); os.kill(os.getpid(), {signal.SIGKILL})"
    subprocess.run([sys.executable, "-c", kill], env=os.environ | {"TMPDIR": str(temporary)}, check=False)
    (left,) = temporary.glob("assay-x-*/files/a")
    with make_temporary_folder("used") as used:
        for held in temporary.glob("*/.held"):
            os.utime(held, (0, 0))
        assert left.exists()
        with make_temporary_folder("next"):
            assert not left.parent.parent.exists()
            assert used.exists()


def test_a_temporary_folder_goes_where_the_process_is_ended_without_waiting(temporary: Path) -> None:
    leave = "from assay import interrupts; from assay.files import make_temporary_folder as make\n"
    leave += (
        "import os\nwith make('x'):\n for callback in interrupts._exit_callbacks: callback()\n os._exit(130)"
    )
    done = subprocess.run(
        [sys.executable, "-c", leave], env=os.environ | {"TMPDIR": str(temporary)}, check=False
    )
    assert done.returncode == 130
    assert list(temporary.iterdir()) == []
