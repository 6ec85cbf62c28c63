"""A run whose images' source fails: nothing of it becomes a result, and --resume computes what is missing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from assay.images import read, sources
from assay.images.forms import recognise
from assay.images.listing import Listing
from assay_command import run_here
from failing_store import FailingStore

PATIENT = (
    "import sys; from assay.images import read; read.PAUSES_S = (1000.0,);"
    "from assay.command_line.app import main; sys.exit(main(sys.argv[1:]))"
)
SHARDS = [f"part-{number:05d}.parquet" for number in range(4)]
URL = "s3://bucket/val?region=us-east-1"


@pytest.fixture
def compiled(colour_compiled: Path) -> Path:
    return colour_compiled


def evaluate(
    compiled: Path, images: Path | str, run: Path, *more: object, harm: Callable[[], object] = lambda: None
) -> subprocess.CompletedProcess[str]:
    """Evaluate the twelve images in four shards, with short pauses; do harm after they are listed."""
    list_images = recognise.list_images

    def list_and_harm(*arguments: Any) -> Listing:
        listing = list_images(*arguments)
        harm()
        return listing

    options = ["--images", images, "-o", run, "--shard-size", 3, *more]
    with patch.object(read, "PAUSES_S", (0.01, 0.01)), patch.object(sources, "list_images", list_and_harm):
        return run_here("evaluate", compiled, *options)


def read_shards(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "predictions").iterdir())}


def read_manifest(run: Path) -> dict[str, object]:
    manifest: dict[str, object] = json.loads((run / "manifest.json").read_text())
    return manifest


def upload(store: FailingStore, photographs: Path) -> None:
    for file in photographs.iterdir():
        store.client.put_object(Bucket="bucket", Key=f"val/{file.name}", Body=file.read_bytes())


def expect_shards(run: Path, expected: dict[str, bytes], names: Sequence[str]) -> None:
    assert read_shards(run) == {name: expected[name] for name in names}


def test_a_file_that_is_gone_fails_its_shard_alone_and_resume_computes_it(
    compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    assert evaluate(compiled, photographs, tmp_path / "whole").returncode == 0
    whole = read_shards(tmp_path / "whole")
    hidden = tmp_path / "hidden"
    lost = photographs / "ILSVRC2012_val_00000005.JPEG"
    run = tmp_path / "run"
    done = evaluate(compiled, photographs, run, harm=lambda: lost.rename(hidden))
    assert done.returncode == 4, done.stderr
    assert "1 shards failed; the others are kept. part-00001.parquet: " in done.stderr
    assert (
        "ILSVRC2012_val_00000005.JPEG: its source failed: No such file or directory (3 tries" in done.stderr
    )
    assert "--resume computes what is missing" in done.stderr
    expect_shards(run, whole, [SHARDS[0], SHARDS[2], SHARDS[3]])
    assert read_manifest(run)["status"] == "failed"
    assert not (run / "metrics.json").exists()
    hidden.rename(lost)
    done = evaluate(compiled, photographs, run, "--resume")
    assert done.returncode == 0, done.stderr
    assert "3 of 4 shards are there already" in done.stderr
    assert read_shards(run) == whole
    assert read_manifest(run)["status"] == "finished"


def test_a_store_that_recovers_in_time_changes_nothing(
    store: FailingStore, compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    assert evaluate(compiled, photographs, tmp_path / "near").returncode == 0
    upload(store, photographs)
    store.fail(403, after=4, times=2)
    done = evaluate(compiled, URL, tmp_path / "far")
    assert done.returncode == 0, done.stderr
    assert store.failed_count == 2
    assert read_shards(tmp_path / "far") == read_shards(tmp_path / "near")


@pytest.mark.parametrize("share", [[], ["--shard", "1/1"]])
def test_a_store_that_denies_one_object_fails_its_shard(
    store: FailingStore, compiled: Path, photographs: Path, tmp_path: Path, share: list[str]
) -> None:
    assert evaluate(compiled, photographs, tmp_path / "near").returncode == 0
    near = read_shards(tmp_path / "near")
    upload(store, photographs)
    store.wanted = "00000008.JPEG"
    store.fail(403)
    run = tmp_path / "far"
    done = evaluate(compiled, URL, run, *share)
    assert done.returncode == 4, done.stderr
    assert "ACCESS_DENIED" in done.stderr
    expect_shards(run, near, [SHARDS[0], SHARDS[1], SHARDS[3]])
    assert read_manifest(run)["status"] != "finished"
    assert not (run / "metrics.json").exists()
    store.recover()
    done = evaluate(compiled, URL, run, *(share or ["--resume"]))
    assert done.returncode == 0, done.stderr
    assert read_shards(run) == near


def test_a_store_that_is_gone_for_good_ends_the_run(
    store: FailingStore, compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    upload(store, photographs)
    store.wanted = ".JPEG"  # the place is there, its images cannot be read
    store.fail(403)
    done = evaluate(compiled, URL, tmp_path / "far")
    assert done.returncode == 4, done.stderr
    assert "3 shards failed, 1 were not tried" in done.stderr
    assert not list((tmp_path / "far").glob("predictions/part-*"))


def test_ctrl_c_ends_a_pause(store: FailingStore, compiled: Path, photographs: Path, tmp_path: Path) -> None:
    upload(store, photographs)
    store.wanted = ".JPEG"  # the place is there, its images cannot be read
    store.fail(403)
    command = ["evaluate", compiled, "--images", URL, "-o", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, "-c", PATIENT, *map(str, command)], stderr=subprocess.PIPE, text=True
    )
    while not store.failed_count and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)  # a thousand seconds, had the pause not ended
    assert process.returncode == 130, errors
    assert read_manifest(tmp_path / "run")["status"] == "interrupted"


def test_an_archive_that_is_written_over_while_it_is_read_is_never_scored(
    compiled: Path, photographs: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "val.tar"
    subprocess.run(["tar", "cf", archive, "-C", photographs, "."], check=True)
    assert evaluate(compiled, archive, tmp_path / "whole").returncode == 0
    content = archive.read_bytes()
    run = tmp_path / "run"
    done = evaluate(compiled, archive, run, harm=lambda: archive.write_bytes(b"x" * 100))
    assert done.returncode == 4, done.stderr
    assert f"changed since it was listed: expected {len(content):,} bytes, found 100" in done.stderr
    assert not list(run.glob("predictions/part-*"))
    archive.write_bytes(content)
    assert evaluate(compiled, archive, run, "--resume").returncode == 0
    assert read_shards(run) == read_shards(tmp_path / "whole")
