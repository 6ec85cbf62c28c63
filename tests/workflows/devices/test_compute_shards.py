"""`--devices`: one run on several devices of a machine, a process for each; some are lost on the way."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq
import pytest

from assay.engines.catalog import find_engine
from assay.engines.engine import CompileChoice
from assay.errors import AssayError, EngineError, MissingRuntimeError, SourceError, UsageError
from assay.images.request import ImageRequest
from assay.measure.gates import parse_gate
from assay.measure.speed.repeats import RepeatPlan
from assay.models.record import ModelRecord
from assay.runs.listener import Listener, Progress
from assay.runs.place import RunPlace
from assay.workflows.devices import compute_shards, measure_speed
from assay.workflows.devices.choose import Device, choose_devices
from assay.workflows.devices.compute_shards import SeveralDevices
from assay.workflows.devices.process import DeviceProcess
from assay.workflows.evaluate.evaluate import EvaluateOptions
from assay.workflows.evaluate.run_evaluation import run_evaluation
from assay.workflows.full_run import RunRequest, run_all
from assay.workflows.results.compare import compare_runs
from compiling import compile_with
from conftest import RunAssay


def read_rows(run: Path) -> list[dict[str, Any]]:
    return [
        row for part in sorted((run / "predictions").iterdir()) for row in pq.read_table(part).to_pylist()
    ]


def find_workers(parent: int) -> list[int]:
    """The processes of devices that a process has started."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes()
            status = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # none, or it has ended
            continue
        if b"devices.worker" in command and int(status[1]) == parent and status[0] != "Z":
            found.append(int(folder.name))
    return found


class Hearing(Listener):
    """Keeps what it hears; once some images are done, kills one of this process's workers, if it is to."""

    def __init__(self, *, kills: bool = False) -> None:
        self.lines: list[str] = []
        self.kills = kills

    def announce(self, text: str) -> None:
        self.lines.append(text)

    def advance(self, progress: Progress) -> None:
        if self.kills and progress.done >= 4:
            self.kills = False
            os.kill(find_workers(os.getpid())[0], signal.SIGKILL)


def evaluate(
    compiled: Path, images: Path, run: Path, devices: str = "", listener: Listener | None = None, **place: Any
) -> dict[str, Any]:
    """Evaluate in shards of two; returns the manifest."""
    options = EvaluateOptions(shard_size=2)
    if devices:
        several = SeveralDevices(group=choose_devices(devices, compiled))
        options = dataclasses.replace(options, compute_shards=several.compute_shards)
    place = {"mode": "new", **place}
    run_evaluation(
        compiled, ImageRequest(path=images), options, RunPlace(path=run, **place), listener or Hearing()
    )
    manifest: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return manifest


def add_photographs(folder: Path, count: int) -> None:
    """Fill a folder of twelve photographs up to so many with links to them."""
    originals = sorted(folder.iterdir())
    for number in range(13, count + 1):
        os.link(originals[number % 12], folder / f"ILSVRC2012_val_{number:08d}.JPEG")


@pytest.fixture
def chips(
    ascend_tools: Path,
    colour_onnx: Path,
    se_resnext50: ModelRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A model for a card with four chips, of which doubles take the part."""
    assert ascend_tools
    monkeypatch.setenv("ASSAY_DOUBLE_DEVICES", "4")
    folder = tmp_path / "chips"
    folder.mkdir()
    compile_with(find_engine("ascend"), colour_onnx, folder, se_resnext50, batch_size=2)
    return folder


@pytest.fixture
def constant(colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path) -> Path:
    """A model of the constant engine for four stand-ins of chips."""
    folder = tmp_path / "constant"
    folder.mkdir()
    settings = {"devices": "4", "images_per_second": "20"}
    compile_with(find_engine("constant"), colour_onnx, folder, se_resnext50, settings=settings)
    return folder


@pytest.mark.slow
def test_four_devices_of_which_one_is_killed_give_the_rows_of_one_device(
    chips: Path, photographs: Path, tmp_path: Path
) -> None:
    add_photographs(photographs, 200)
    alone = evaluate(chips, photographs, tmp_path / "alone")
    hearing = Hearing(kills=True)
    together = evaluate(chips, photographs, tmp_path / "together", "all", hearing)
    assert read_rows(tmp_path / "together") == read_rows(tmp_path / "alone")
    for name in ("identity", "hashes"):
        assert together[name] == alone[name]
    metrics = [(tmp_path / run / "metrics.json").read_text() for run in ("together", "alone")]
    assert metrics[0] == metrics[1]
    failures = [use["failure"] for use in together["devices"].values() if use["failure"]]
    assert [failure.partition(", ")[0] for failure in failures] == ["its process was ended by SIGKILL"]
    assert sum(use["image_count"] for use in together["devices"].values()) == 200
    assert len([line for line in hearing.lines if "the others go on without it" in line]) == 1
    assert find_workers(os.getpid()) == []


@pytest.mark.slow
def test_a_device_that_hangs_is_ended_and_named_and_the_others_compute_its_shard(
    chips: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_photographs(photographs, 60)  # so many shards that a device which starts late gets one too
    alone = evaluate(chips, photographs, tmp_path / "alone")
    monkeypatch.setenv("ASSAY_DOUBLE_HANGING_DEVICE", "1")
    several = SeveralDevices(group=choose_devices("all", chips, timeout_s=25))
    options = EvaluateOptions(shard_size=2, compute_shards=several.compute_shards)
    place = RunPlace(path=tmp_path / "run")
    result = run_evaluation(chips, ImageRequest(path=photographs), options, place)
    assert result.manifest.devices
    use = result.manifest.devices["npu:1"]
    assert use.failure.startswith("has not answered for 25 s (--device-timeout), and was ended, in part-")
    assert read_rows(tmp_path / "run") == read_rows(tmp_path / "alone")
    assert result.manifest.hashes == alone["hashes"]
    assert find_workers(os.getpid()) == []


def test_a_process_that_is_silent_for_too_long_is_ended() -> None:
    with DeviceProcess(Device(kind="npu", number=1), timeout_s=0.5) as process:
        with pytest.raises(EngineError, match=r"has not answered for 0\.5 s") as caught:
            process.ask(partial(time.sleep, 3600))
        assert caught.value.exit_status == 4
        assert find_workers(os.getpid()) == []


class InThisProcess:
    """Stands in for the process of a device; the first shard of those in `failing` ends with its error."""

    failing: ClassVar[dict[int, Exception]] = {}
    has_failed: ClassVar[threading.Event]

    def __init__(self, device: Device, _timeout_s: float) -> None:
        self.device, self.killed = device, False
        self._answerer: Any = None

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.killed = True

    def ask(self, request: Any, _more_s: float = 0) -> Any:
        assert not self.killed
        if self._answerer is None:
            self._answerer, first = request()
            return first
        error = self.failing.pop(self.device.number, None)
        if error is not None:
            self.has_failed.set()
            raise error
        while self.failing:  # others fail first, so that a test knows who computes what
            assert self.has_failed.wait(20)
            self.has_failed.clear()
        return self._answerer.answer(request, lambda: None)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[int, Exception]:
    """What the first shard of devices ends with, by their numbers."""
    for module in (compute_shards, measure_speed):
        monkeypatch.setattr(module, "DeviceProcess", InThisProcess)
    monkeypatch.setattr(InThisProcess, "has_failed", threading.Event(), raising=False)
    monkeypatch.setattr(InThisProcess, "failing", {})
    return InThisProcess.failing


def test_the_shard_of_a_device_that_fails_is_computed_by_another(
    constant: Path, photographs: Path, tmp_path: Path, failing: dict[int, Exception]
) -> None:
    evaluate(constant, photographs, tmp_path / "alone")
    failing[1] = EngineError("the device was lost")
    hearing = Hearing()
    manifest = evaluate(constant, photographs, tmp_path / "together", "0-2", hearing)
    assert read_rows(tmp_path / "together") == read_rows(tmp_path / "alone")
    (lost,) = [line for line in hearing.lines if line.startswith("Device none:1 failed: the device was lost")]
    assert lost.endswith("the others go on without it")
    assert manifest["devices"]["none:1"]["image_count"] == 0
    assert sum(manifest["devices"][f"none:{number}"]["image_count"] for number in (0, 2)) == 12
    assert (
        "none:1 0 images until it failed (the device was lost"
        in (tmp_path / "together" / "report.md").read_text()
    )


def test_a_second_device_that_fails_ends_the_run(
    constant: Path, photographs: Path, tmp_path: Path, failing: dict[int, Exception]
) -> None:
    failing.update({1: EngineError("the first is lost"), 2: MissingRuntimeError("the second is lost")})
    with pytest.raises(EngineError) as caught:
        evaluate(constant, photographs, tmp_path / "run", "all")
    assert "device none:1 failed: the first is lost" in caught.value.message
    assert "device none:2 failed: the second is lost" in caught.value.message
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "failed"


@pytest.fixture
def whole_run(colour_onnx: Path, photographs: Path) -> RunRequest:
    """The whole chain on two of four stand-ins of chips, in six shards."""
    return RunRequest(
        weights=colour_onnx,
        images=ImageRequest(path=photographs),
        compile=CompileChoice(engine="constant", settings={"devices": "4", "images_per_second": "4000"}),
        evaluation=EvaluateOptions(shard_size=2, gates=(parse_gate("throughput>=1@bs2"),)),
        speed=RepeatPlan(batch_sizes=(2,), seconds=0.01),
        devices="1-2",
    )


@pytest.mark.usefixtures("failing")
def test_a_whole_run_predicts_and_is_measured_on_all_its_devices(
    whole_run: RunRequest, tmp_path: Path
) -> None:
    done = run_all(whole_run, RunPlace(path=tmp_path / "run"))
    assert done.manifest.devices
    assert sorted(done.manifest.devices) == ["none:1", "none:2"]
    assert sum(use.image_count for use in done.manifest.devices.values()) == 12
    assert done.benchmark is not None
    assert [row.device for row in done.benchmark.rows] == ["none:1", "none:2"]
    assert [list(row.at_once) for row in done.benchmark.devices] == [["none:1", "none:2"]]
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Computed by several devices: none:1" in report
    assert "Several devices: constant, fp32" in report
    assert "was not measured" not in done.gates[0].reason, "the gate finds the speeds of the devices"


def test_a_run_that_lost_its_devices_is_resumed_without_and_says_the_same_as_one_that_did_not(
    whole_run: RunRequest, tmp_path: Path, failing: dict[int, Exception]
) -> None:
    alone = run_all(dataclasses.replace(whole_run, devices=""), RunPlace(path=tmp_path / "alone"))
    failing.update({1: EngineError("lost"), 2: EngineError("lost too")})
    with pytest.raises(EngineError, match="device none:2 failed: lost too"):
        run_all(whole_run, RunPlace(path=tmp_path / "run"))
    place = RunPlace(path=tmp_path / "run", mode="resume")
    resumed = run_all(dataclasses.replace(whole_run, devices="3"), place)
    assert resumed.manifest.identity == alone.manifest.identity
    assert read_rows(tmp_path / "run") == read_rows(tmp_path / "alone")
    compared = compare_runs(tmp_path / "alone", tmp_path / "run")
    assert compared.verdict.sentence.startswith("Same answer as A on all 12 images")


def test_images_that_cannot_be_read_fail_their_shard_and_no_device(
    constant: Path, photographs: Path, tmp_path: Path, failing: dict[int, Exception]
) -> None:
    failing[0] = SourceError("the share is gone")
    with pytest.raises(SourceError, match="1 shards failed; the others are kept"):
        evaluate(constant, photographs, tmp_path / "run", "0-1")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert list(manifest["failed_shards"].values()) == ["the share is gone"]
    assert {use["failure"] for use in manifest["devices"].values()} == {""}
    assert len(list((tmp_path / "run" / "predictions").iterdir())) == 5


def test_a_run_whose_devices_are_all_lost_ends_and_is_resumed_on_another(
    chips: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_DOUBLE_LOST_DEVICE", "3")
    with pytest.raises(EngineError, match=r"device npu:3 failed: .*lost heartbeat.*part-00001") as caught:
        evaluate(chips, photographs, tmp_path / "run", "3")
    assert caught.value.exit_status == 4
    assert "--resume" in caught.value.hint
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert manifest["devices"]["npu:3"]["image_count"] == 2
    manifest = evaluate(chips, photographs, tmp_path / "run", "2", mode="resume")
    assert manifest["status"] == "finished"
    assert manifest["devices"]["npu:2"]["image_count"] == 10
    assert len(read_rows(tmp_path / "run")) == 12


@pytest.mark.slow
def test_no_process_of_a_device_outlives_the_command(
    constant: Path, photographs: Path, tmp_path: Path
) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        run = tmp_path / number.name
        workers, process, errors = end_in_the_middle(constant, photographs, run, number)
        assert len(workers) == 2, errors
        deadline = time.monotonic() + 20
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [worker for worker in workers if is_alive(worker)] == []
        assert process.returncode == (130 if number == signal.SIGINT else -number), errors
        assert evaluate(constant, photographs, run, mode="resume")["status"] == "finished"
        assert len(read_rows(run)) == 12


def end_in_the_middle(
    compiled: Path, images: Path, run: Path, number: signal.Signals
) -> tuple[list[int], subprocess.Popen[str], str]:
    """Send a signal to the command after its first shard; returns its workers, itself, and what it said."""
    command = ["evaluate", compiled, "--images", images, "-o", run, "--shard-size", "2", "--devices", "0,1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "assay", *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((run / "predictions").glob("part-*")) and process.poll() is None:
        time.sleep(0.01)
    workers = find_workers(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return workers, process, errors


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_devices_are_named_by_number_by_kind_and_by_all(constant: Path) -> None:
    named = {"all": [0, 1, 2, 3], "2,0": [2, 0], "none:1-3": [1, 2, 3], "0-1,NONE:3": [0, 1, 3]}
    for text, numbers in named.items():
        assert [str(device) for device in choose_devices(text, constant).devices] == [
            f"none:{n}" for n in numbers
        ]


def test_what_names_no_devices_is_refused(constant: Path) -> None:
    unreadable = dict.fromkeys(("", "0,,1", "3-1", "0-99999", "-1", "x"), (2, "expected numbers such as"))
    for text, (status, message) in {
        **unreadable,
        "0,1,0-2": (2, "none:0 is named twice"),
        "cuda:0": (2, "the model was compiled for none"),
        "2,4": (4, "no none:4; this machine has none:0 to none:3"),
    }.items():
        with pytest.raises(AssayError, match=message) as caught:
            choose_devices(text, constant)
        assert caught.value.exit_status == status


def test_the_command_takes_devices_and_refuses_them_beside_what_excludes_them(
    run_assay: RunAssay, constant: Path, photographs: Path, tmp_path: Path
) -> None:
    command = ["evaluate", constant, "--images", photographs, "-o", tmp_path / "run", "--devices"]
    done = run_assay(*command, "5")
    assert (done.returncode, "no none:5" in done.stderr) == (4, True)
    done = run_assay(*command, "all", "--ray")
    assert (done.returncode, "--devices and --ray exclude each other" in done.stderr) == (2, True)
    assert not (tmp_path / "run").exists()
    done = run_assay(*command, "1")
    assert done.returncode == 0, done.stderr
    assert "Shards to compute: 1, on none:1" in done.stderr


def test_an_engine_whose_devices_have_no_numbers_is_refused(
    colour_onnx: Path, se_resnext50: ModelRecord, tmp_path: Path
) -> None:
    folder = tmp_path / "compiled"
    folder.mkdir()
    compile_with(find_engine("onnxruntime"), colour_onnx, folder, se_resnext50)
    with pytest.raises(UsageError, match="engine onnxruntime does not tell several cpu apart"):
        choose_devices("0", folder)
