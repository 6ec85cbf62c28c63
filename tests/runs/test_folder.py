"""The run folder: what its manifest says when, and what it never touches."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from filelock import FileLock

from assay.engines.engine import SessionDescription
from assay.errors import BadImagesError, EngineError, UsageError
from assay.inference.identity import RunIdentity
from assay.measure.gates import GateResult
from assay.runs.folder import open_run_folder
from assay.runs.listener import SILENT
from assay.runs.locks import lock_run
from assay.runs.place import Mode, RunPlace
from assay.runs.results_file import Manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def place(folder: Path, mode: Mode = "new") -> RunPlace:
    return RunPlace(path=folder, mode=mode, arguments=("evaluate", "x"))


def test_the_manifest_is_there_first_and_says_running(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        manifest = read_manifest(tmp_path / "run")
    assert manifest["schema_version"] == 1
    assert manifest["status"] == "running"
    assert manifest["arguments"] == ["evaluate", "x"]
    assert manifest["machine"]["packages"]["numpy"]


def test_a_record_by_a_librarys_name_makes_one_folder() -> None:
    path = RunPlace(path=None, mode="new").choose_path("torchvision/resnet50:IMAGENET1K_V2", "openvino")
    assert path.parent == Path("runs")
    assert path.name.endswith("-torchvision-resnet50-IMAGENET1K_V2-openvino")


def test_the_manifest_says_finished_at_the_end(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        pass
    assert read_manifest(tmp_path / "run")["status"] == "finished"
    assert read_manifest(tmp_path / "run")["finished"]


@pytest.mark.parametrize(
    ("problem", "status", "error"),
    [
        (BadImagesError("no images there"), "failed", "no images there"),
        (ZeroDivisionError("oh"), "failed", "ZeroDivisionError: oh"),
        (KeyboardInterrupt(), "interrupted", ""),
    ],
)
def test_the_manifest_says_how_else_it_ended(
    tmp_path: Path, problem: BaseException, status: str, error: str
) -> None:
    with pytest.raises(type(problem)), open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        (tmp_path / "run" / "model.onnx").write_bytes(b"work that was done")
        raise problem
    manifest = read_manifest(tmp_path / "run")
    assert (manifest["status"], manifest["error"]) == (status, error)


def test_steps_are_logged_with_their_time(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT) as run:
        run.announce("Compiling")
    events = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["Compiling", "finished"]
    assert all(event["time"].startswith("20") for event in events)


def test_a_folder_without_a_name_is_made_under_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_run_folder(RunPlace(), "net", "openvino", SILENT) as run:
        pass
    assert run.path.parent.name == "runs"
    assert run.path.name.endswith("-net-openvino")


def test_a_run_that_is_there_is_not_touched_without_a_word(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        pass
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    with (
        pytest.raises(UsageError, match="holds a run already"),
        open_run_folder(place(tmp_path / "run"), "m", "e", SILENT),
    ):
        pass
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_overwrite_deletes_the_old_results(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        (tmp_path / "run" / "metrics.json").write_text("{}")
    with open_run_folder(place(tmp_path / "run", "overwrite"), "m", "e", SILENT):
        assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("mode", ["new", "resume", "overwrite"])
def test_a_run_that_fails_before_any_work_leaves_no_folder_that_it_made(tmp_path: Path, mode: Mode) -> None:
    path = tmp_path / "made" / "too" / "run"
    with pytest.raises(BadImagesError), open_run_folder(place(path, mode), "m", "e", SILENT) as run:
        run.announce("Exporting")
        (path / "compiled").mkdir()  # empty: nothing was compiled
        raise BadImagesError("no")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(BadImagesError), open_run_folder(place(tmp_path), "m", "e", SILENT):
        raise BadImagesError("no")
    assert list(tmp_path.iterdir()) == []


def list_files(folder: Path) -> dict[str, bytes]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.parametrize("problem", [BadImagesError("no"), ZeroDivisionError(), KeyboardInterrupt()])
def test_overwrite_gives_back_the_old_run_where_the_new_one_fails_before_any_work(
    tmp_path: Path, problem: BaseException
) -> None:
    with open_run_folder(place(tmp_path), "m", "e", SILENT):
        (tmp_path / "predictions").mkdir()
        (tmp_path / "predictions" / "part-00000.parquet").write_bytes(b"old")
    before = list_files(tmp_path)
    with pytest.raises(type(problem)), open_run_folder(place(tmp_path, "overwrite"), "m", "e", SILENT):
        assert not (tmp_path / "predictions").exists()
        raise problem
    assert list_files(tmp_path) == before


def test_overwrite_does_not_give_back_the_old_run_once_work_was_done(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path), "m", "e", SILENT):
        (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(BadImagesError), open_run_folder(place(tmp_path, "overwrite"), "m", "e", SILENT):
        (tmp_path / "model.onnx").write_bytes(b"new")
        raise BadImagesError("no")
    assert set(list_files(tmp_path)) == {"manifest.json", "log.jsonl", "model.onnx"}


def test_a_run_that_is_resumed_keeps_what_it_has_when_it_fails(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path), "m", "e", SILENT):
        pass
    with pytest.raises(BadImagesError), open_run_folder(place(tmp_path, "resume"), "m", "e", SILENT):
        raise BadImagesError("no")
    assert read_manifest(tmp_path)["status"] == "failed"


@pytest.mark.parametrize("mode", ["new", "resume", "overwrite"])
def test_a_folder_with_anything_else_is_refused_and_left(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(UsageError, match=r"no run of assay: thesis\.tex"),
        open_run_folder(place(tmp_path, mode), "m", "e", SILENT),
    ):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_a_killed_run_left_half_written_does_not_stop_its_resumption(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        pass
    (tmp_path / "run" / ".metrics.json.4711.part").write_bytes(b"{")
    with open_run_folder(place(tmp_path / "run", "resume"), "m", "e", SILENT):
        pass
    assert read_manifest(tmp_path / "run")["status"] == "finished"


def test_a_resumption_that_is_refused_leaves_the_manifest_as_it_was(
    tmp_path: Path, manifest: Manifest
) -> None:
    assert manifest.image_set is not None
    identity = RunIdentity(
        compiled_model="a", preprocessing="b", images="c", labels="d", shard_size=4, keep_logits=False
    )
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT) as run:
        run.claim_evaluation(identity, manifest.image_set, 4)
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    other = msgspec.structs.replace(identity, labels="e")
    with (
        pytest.raises(UsageError, match="the labels changed"),
        open_run_folder(place(tmp_path / "run", "resume"), "m", "e", SILENT) as run,
    ):
        run.claim_evaluation(other, manifest.image_set, 4)
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_every_change_of_the_manifest_is_on_disk_at_once(tmp_path: Path) -> None:
    session = SessionDescription(runtime="r", device_name="d", computed_in={})
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT) as run:
        run.record_remark("made up")
        assert read_manifest(run.path)["remark"] == "made up"
        run.record_session("e fp32", session)
        run.record_session("torch", session)
        assert read_manifest(run.path)["sessions"].keys() == {"e fp32", "torch"}
        run.record_failed_shards({"part-00003.parquet": EngineError("the device was lost")})
        assert read_manifest(run.path)["failed_shards"] == {"part-00003.parquet": "the device was lost"}
        run.record_gates([GateResult(gate="smoke", outcome="pass", reason="r")])
        assert read_manifest(run.path)["gates"][0]["gate"] == "smoke"
        with pytest.raises(AttributeError):
            run.manifest.remark = "changed"  # type: ignore[misc]  # it is frozen


def test_drafts_of_killed_commands_are_cleaned_away(tmp_path: Path) -> None:
    with open_run_folder(place(tmp_path / "run"), "m", "e", SILENT):
        pass
    drafts = [tmp_path / "run" / ".model.onnx.4711.part", tmp_path / "run/predictions/.part-00000.0.part"]
    for draft in drafts:
        draft.mkdir(parents=True)
        (draft / "model.onnx").write_bytes(b"half")
    with open_run_folder(place(tmp_path / "run", "resume"), "m", "e", SILENT):
        pass
    assert not any(draft.exists() for draft in drafts)


@pytest.mark.parametrize("moved", [1, 2, 3])
def test_a_run_that_was_set_aside_comes_back_when_the_process_was_killed_before_any_work(
    tmp_path: Path, moved: int
) -> None:
    run = tmp_path / "run"
    with open_run_folder(place(run), "m", "e", SILENT):
        (run / "predictions").mkdir()
        (run / "predictions" / "part-00000.parquet").write_bytes(b"ten hours of work")
    aside = run / ".replaced.part"
    aside.mkdir()
    for name in ("predictions", "log.jsonl", "manifest.json")[:moved]:
        (run / name).rename(aside / name)  # as --overwrite does
    with open_run_folder(place(run, "resume"), "m", "e", SILENT):
        pass
    assert (run / "predictions" / "part-00000.parquet").read_bytes() == b"ten hours of work"


def test_two_runs_that_begin_in_one_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        open_run_folder(RunPlace(), "m", "e", SILENT) as one,
        open_run_folder(RunPlace(), "m", "e", SILENT) as other,
        open_run_folder(RunPlace(), "m", "e", SILENT) as third,
    ):
        assert len({one.path, other.path, third.path}) == 3


@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(errno.ENOLCK, "no locks")])
def test_a_file_system_without_locks_is_named(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_lock: FileLock) -> None:
        raise error

    monkeypatch.setattr(FileLock, "__enter__", refuse)
    with pytest.raises(UsageError, match="has no locks"), lock_run(tmp_path, None):
        pass


def test_credentials_in_a_command_or_a_step_are_not_stored(tmp_path: Path) -> None:
    given = "s3://me:s3cret@bucket/val?secret_key=s3cret"
    command = RunPlace(path=tmp_path, arguments=("evaluate", given), supplied=(f"--images {given}",))
    with open_run_folder(command, "m", "e", SILENT) as run:
        run.announce(f"Reading {given}")
    assert [name for name, content in list_files(tmp_path).items() if b"s3cret" in content] == []
    assert "s3://…@bucket/val?secret_key=…" in read_manifest(tmp_path)["arguments"]
