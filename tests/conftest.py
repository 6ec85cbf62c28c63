"""What several test folders use: golden data, a tiny classifier, images, the command, results by hand."""

from __future__ import annotations

import logging
import os
import runpy
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from assay.convert.parity import LogitParity
from assay.engine_contract.plugin import colour_checkpoint as colour_checkpoint
from assay.engine_contract.plugin import colour_onnx as colour_onnx
from assay.engine_contract.plugin import colour_record as colour_record
from assay.engine_contract.plugin import pytest_addoption as pytest_addoption
from assay.engines.openvino import tuning
from assay.images.forms.object_store import open_url
from assay.images.pixel_check import PixelCheck
from assay.inference.predictions import Prediction
from assay.measure.accuracy.accuracy import measure_accuracy, measure_class_accuracy
from assay.measure.accuracy.agreement import Agreement
from assay.measure.accuracy.paired import measure_paired_accuracy
from assay.measure.environment import Machine
from assay.measure.speed.throughput import Latency, Spread, ThroughputRow
from assay.models.read_record import read_model_record
from assay.models.record import ModelRecord
from assay.runs.results_file import Benchmark, ImageSet, Manifest, Metrics
from assay_command import RunAssay as RunAssay
from assay_command import run_here, run_in_its_own_process
from built_once import build_once
from failing_store import FailingStore

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
DOUBLES = Path(__file__).resolve().parent / "doubles"
collect_ignore = ["doubles"]
# torchvision's operators, for this process and those it starts; see tests/doubles
TORCHVISION_OPERATORS = DOUBLES / "torchvision_operators"
_DECLARED = runpy.run_path(str(TORCHVISION_OPERATORS / "sitecustomize.py"))  # they go when it goes
os.environ["PYTHONPATH"] = f"{TORCHVISION_OPERATORS}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
# test modules are rewritten once, not by every worker of every session; processes find assay compiled
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
torch.set_num_threads(1)  # workers share the processors: threads would only wait for one another
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that they start
settings.register_profile("assay", deadline=None)  # no test times anything
settings.load_profile("assay")
tuning.TURNS, tuning.TURN_CALLS = 1, 1  # nor does it tell which inner batch is the fastest
MakeRow = Callable[..., ThroughputRow]


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of real images and reference outputs; a user's clone has none."""
    if not GOLDEN.is_dir():
        pytest.skip("the golden data is not on this machine")
    return GOLDEN


@pytest.fixture(scope="session")
def facts_data() -> Path:
    """The folder of the published label and synset tables; a user's clone has none."""
    folder = GOLDEN.parent / "data"
    if not folder.is_dir():
        pytest.skip("the published tables are not on this machine")
    return folder


@pytest.fixture(scope="session")
def se_resnext50() -> ModelRecord:
    return read_model_record("se_resnext50_32x4d")


def give_colour_order(record: ModelRecord, colour_order: str) -> ModelRecord:
    """The record of a network that takes its planes in that order."""
    tensor = msgspec.structs.replace(record.input, colour_order=colour_order)
    return msgspec.structs.replace(record, input=tensor)


@pytest.fixture(scope="session")
def lite0_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own model record: EfficientNet-Lite0, as described in the golden folder's README."""
    path = tmp_path_factory.mktemp("record") / "efficientnet_lite0.toml"
    path.write_text(
        """
schema_version = 1
name = "efficientnet_lite0"
architecture = "onnx only"

[input]
name = "image"
channels = 3
height = 224
width = 224
colour_order = "RGB"

[preprocessing]
resize_side = 256
resize_filter = "bicubic"
crop_size = 224
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]

[output]
name = "class"
class_count = 1000
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="session")
def lite0_record(lite0_toml: Path) -> ModelRecord:
    return read_model_record(str(lite0_toml))


@pytest.fixture(scope="session")
def lite0_compiled(
    run_assay: RunAssay, golden: Path, lite0_toml: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """EfficientNet-Lite0 compiled for OpenVINO, for all tests: they read it alone."""

    def build(folder: Path) -> None:
        onnx_path = golden / "efficientnet_lite0" / "model.onnx"
        done = run_assay("compile", onnx_path, folder, "--model", lite0_toml, "-q")
        assert done.returncode == 0, done.stderr

    return build_once(tmp_path_factory, "lite0", build)


@pytest.fixture(scope="session")
def colour_compiled(run_assay: RunAssay, colour_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour classifier compiled for OpenVINO, for one thread, for all tests: they read it alone."""

    def build(folder: Path) -> None:
        done = run_assay("compile", colour_onnx, folder, "--set", "threads=1", "-q")
        assert done.returncode == 0, done.stderr

    return build_once(tmp_path_factory, "colour", build)


@pytest.fixture
def ascend_tools(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Doubles of Huawei's tools, where this process and those it starts find them; see tests/doubles."""
    home = tmp_path_factory.mktemp("cann")
    (home / "bin").mkdir()
    for name in ("atc", "npu_smi"):
        wrapper = home / "bin" / name.replace("_", "-")
        # nothing of this process's Python reaches a double, whose start is most of what it costs
        isolated = f"unset COVERAGE_PROCESS_START COVERAGE_PROCESS_CONFIG; exec {sys.executable} -I"
        wrapper.write_text(f'#!/bin/sh\n{isolated} {DOUBLES / f"{name}_double.py"} "$@"\n')
        wrapper.chmod(0o755)
    (home / "version.cfg").write_text("# version\ntoolkit_running_version=[7.6.0.1.220:8.0.0]\n")
    monkeypatch.setenv("PATH", f"{home / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{DOUBLES / 'python'}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("ASCEND_TOOLKIT_HOME", str(home))
    monkeypatch.setenv("ASSAY_DOUBLE_CHIP", "Ascend310P3")
    monkeypatch.syspath_prepend(DOUBLES / "python")
    for module in [name for name in sys.modules if name.partition(".")[0] == "ais_bench"]:
        monkeypatch.delitem(sys.modules, module)  # the double reads its generation when it is imported
    return home


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of 12 JPEGs with the names of ImageNet validation images, so that labels are known."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(1, 13):
        pixels = rng.integers(0, 256, size=(240 + number, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"ILSVRC2012_val_{number:08d}.JPEG", quality=80)
    return folder


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FailingStore]:
    """An S3 server with an empty bucket `bucket`, which the environment leads to; it can be made to fail."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    port = server.get_host_and_port()[1]
    proxy = FailingStore(port)
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": proxy.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    open_url.cache_clear()  # its clients know the server of another test
    proxy.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/reset", data=b"").close()
    proxy.client.create_bucket(Bucket="bucket")
    yield proxy
    proxy.close()
    server.stop()


@pytest.fixture(scope="session")
def run_assay() -> RunAssay:
    """Run the real command line, in this process; it measures speed for a moment only."""
    return run_here


@pytest.fixture(scope="session")
def start_assay() -> RunAssay:
    """The same in a process of its own, where the process is what is tested: it costs seconds."""
    return run_in_its_own_process


@pytest.fixture
def manifest(se_resnext50: ModelRecord) -> Manifest:
    return Manifest(
        status="finished",
        arguments=("run", "--images", "val"),
        started="2026-01-02T03:04:05Z",
        machine=Machine(
            system="Linux 6.1 x86_64",
            processor="Example CPU",
            processors=4,
            processor_quota=1.5,
            memory_bytes=8 * 2**30,
            load_average=0.25,
            python="3.11.9",
            packages={"numpy": "2.4.6", "onnx": "not installed"},
        ),
        pixel_check=PixelCheck(
            pillow="13.0.0", pillow_jpeg="libjpeg-turbo 3.2.0", simplejpeg="1.9.0", differing=()
        ),
        model=se_resnext50,
        hashes={"weights.pth": "ab" * 32},
        opset=18,
        logit_parity=LogitParity(image_count=4, max_difference=2.5e-6, top1_agreement_count=4),
        engine="openvino",
        engine_version="2026.0",
        device="CPU",
        precision="fp32",
        image_set=ImageSet(
            path="val",
            form="one folder",
            label_source="label file val_label.txt",
            image_count=4,
            ignored_count=0,
            unlabelled_count=0,
            sha256="cd" * 32,
        ),
    )


@pytest.fixture
def metrics() -> Metrics:
    """Two of four images right at Top-1, three at Top-5, one not decodable."""
    labels_and_classes = [(1, (1, 2, 3, 4, 5)), (2, (2, 1, 3, 4, 5)), (3, (1, 2, 3, 4, 5))]
    predictions = [
        Prediction(name="a", relative_path=f"{n}", label=label, status="ok", top_classes=classes)
        for n, (label, classes) in enumerate(labels_and_classes)
    ]
    predictions.append(
        Prediction(name="b", relative_path="3", label=1, status="not decodable: a | pipe and a * star")
    )
    return Metrics(
        accuracy=measure_accuracy(predictions),
        agreement=Agreement(
            reference="torch",
            image_count=3,
            same_top1_count=2,
            max_logit_difference=0.5,
            differing_images=("2",),
            paired=measure_paired_accuracy(both=1, lost=1, won=0, neither=1),
        ),
        per_class=measure_class_accuracy(predictions),
    )


@pytest.fixture(scope="session")
def make_row() -> MakeRow:
    """Return a function that makes a row of the median rate, with two other values around it."""

    def make(batch_size: int, rate: float, **changes: str) -> ThroughputRow:
        values = {"engine": "openvino", "device": "CPU", "precision": "fp32", "clock": "call", **changes}
        return ThroughputRow(
            **values,  # type: ignore[arg-type]  # the clock is one of three
            batch_size=batch_size,
            caller_count=2,
            images_per_second=Spread(median=rate, values=(rate - 1, rate, rate + 1, rate, rate)),
            latency_ms=Latency(p50=10.0, p90=20.0, p99=30.0),
            warm_up_ms=(50.0,),
            call_ms=((10.0,), (20.0,), (30.0,), (10.0,), (10.0,)),
        )

    return make


@pytest.fixture
def benchmark(make_row: MakeRow) -> Benchmark:
    return Benchmark(rows=[make_row(1, 40.0), make_row(4, 90.0), make_row(8, 80.0)])
