"""Who may write to a run behind a URL: an S3 bucket of a server that the test starts."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.errors import SourceError, UsageError
from assay.runs import remote_store
from assay.runs.place import RunPlace
from assay.runs.remote import stage_run
from assay.runs.remote_store import RemoteStore
from failing_store import ERROR_IN_200, FailingStore

URL = "s3://bucket/run?region=us-east-1"
PLACE = RunPlace(path=Path(URL), mode="resume")


def list_keys(store: FailingStore) -> list[str]:
    listed = store.client.list_objects_v2(Bucket="bucket").get("Contents", [])
    return [each["Key"] for each in listed if not each["Key"].endswith("/")]  # pyarrow's folders


def test_of_two_machines_that_begin_a_run_at_once_one_goes_on_and_one_is_refused(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_store, "_LOOKS_S", 0.05)
    have_asked, is_refused = threading.Barrier(2), threading.Event()
    asked: set[int] = set()
    write = RemoteStore.write

    def write_and_meet(store: RemoteStore, name: str, content: bytes) -> None:
        write(store, name, content)
        if threading.get_ident() not in asked:
            asked.add(threading.get_ident())
            have_asked.wait(10)

    def begin(machine: str) -> str:
        try:
            with stage_run(PLACE, tmp_path / machine):
                assert is_refused.wait(10)
                return "goes on"
        except UsageError as error:
            is_refused.set()
            return error.message

    monkeypatch.setattr(RemoteStore, "write", write_and_meet)
    with ThreadPoolExecutor(2) as machines:
        found = sorted(machines.map(begin, ("one", "two")))
    assert found == [f"-o {URL}: another process works on this run", "goes on"]
    assert list_keys(store) == []


def test_a_second_process_of_a_machine_is_refused_and_the_first_keeps_its_claim(
    store: FailingStore, tmp_path: Path
) -> None:
    with stage_run(PLACE, tmp_path):
        before = list_keys(store)
        assert [name.partition("-")[0] for name in before] == ["run/.claim"]
        second = stage_run(PLACE, tmp_path)
        with pytest.raises(UsageError, match="another process of this machine works on this run"), second:
            pass
        assert list_keys(store) == before
    assert list_keys(store) == []


def test_a_run_that_was_finished_while_its_place_was_asked_for_is_not_begun_again(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = remote_store.RemoteRun.claim

    def claim_late(remote: remote_store.RemoteRun, listener: object) -> None:
        store.client.put_object(Bucket="bucket", Key="run/manifest.json", Body=b"{}")
        claim(remote, listener)  # type: ignore[arg-type]

    monkeypatch.setattr(remote_store.RemoteRun, "claim", claim_late)
    with stage_run(PLACE, tmp_path) as staged:
        assert staged.path is not None
        assert (staged.path / "manifest.json").read_bytes() == b"{}"


def test_an_upload_that_ends_with_200_and_an_error_is_not_taken_for_written(store: FailingStore) -> None:
    store.fails_writing = True
    store.fail(ERROR_IN_200, times=3)  # the upload's beginning and its content pass, its end is answered so
    RemoteStore(URL).write("part", b"content")
    assert store.client.get_object(Bucket="bucket", Key="run/part")["Body"].read() == b"content"


@pytest.mark.parametrize("failure", [429, 403])
def test_a_store_that_refuses_to_be_written_to_for_a_while_is_tried_again(
    store: FailingStore, failure: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.images.read.PAUSES_S", (0.01, 0.01, 0.01))
    store.fails_writing = True
    store.fail(failure, times=2)
    RemoteStore(URL).write("part", b"content")
    assert store.client.get_object(Bucket="bucket", Key="run/part")["Body"].read() == b"content"


def test_what_a_server_that_went_away_never_got_is_kept_and_copied_when_it_is_back(
    store: FailingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_store: RemoteStore, name: str, _content: bytes) -> None:
        raise ConnectionRefusedError(name)

    work = b"ten hours of work"
    with (
        monkeypatch.context() as gone,
        pytest.raises(SourceError, match="part-00000") as caught,
        stage_run(PLACE, tmp_path) as staged,
    ):
        assert staged.path is not None
        gone.setattr(RemoteStore, "write", refuse)
        (staged.path / "predictions").mkdir()
        (staged.path / "predictions" / "part-00000.parquet").write_bytes(work)
    assert "--resume copies them" in caught.value.hint
    assert not any(name.endswith(".parquet") for name in list_keys(store))
    with stage_run(PLACE, tmp_path) as staged:
        assert staged.path is not None
        assert (staged.path / "predictions" / "part-00000.parquet").read_bytes() == work
    assert list_keys(store) == ["run/predictions/part-00000.parquet"]
